"""The demo's reconciliation: it adds up after a real run, and notices what is missing afterwards."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, text

from demo.accounts import Accounts
from demo.plan import Effect
from demo.reconcile import FOLDER, Balance, reconcile
from penstock.ledger.session import writing
from penstock.ledger.tables import jobs
from tests.conftest import DATABASES, NewLedger
from tests.live import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Run:
    """A finished run of the demo, and a copy of its books to tamper with."""

    def __init__(self, output: str, folder: Path, database_url: str) -> None:
        self.output = output
        self.folder = folder
        self.database_url = database_url

    def tampered_accounts(self, copy: Path, without: str) -> Accounts:
        """Its books without the first line that contains ``without``."""
        shutil.copytree(self.folder, copy, dirs_exist_ok=True)
        effects = copy / "effects.jsonl"
        lines = effects.read_text().splitlines(keepends=True)
        lines.remove(next(line for line in lines if without in line))
        effects.write_text("".join(lines))
        return Accounts(copy)

    def balance(self) -> Balance:
        return reconcile(Accounts(self.folder), self.database_url)


@pytest.fixture(scope="module", params=DATABASES)
def live(
    request: pytest.FixtureRequest, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """One run of `python -m demo` on an embedded broker, with its ledger on each database."""
    var = tmp_path_factory.mktemp("demo") / "var"
    with socket.socket() as probe, new_ledger(request.param) as database_url:
        probe.bind(("127.0.0.1", 0))
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "PENSTOCK_VAR": str(var),
            "FLOWER_PORT": str(probe.getsockname()[1]),
        }
        done = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=220,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield Run(done.stdout, var / FOLDER, database_url)


def test_the_demo_accounts_for_every_job(live: Run) -> None:
    last = live.output.splitlines()[-1]
    assert last == "500 submitted = 464 succeeded + 24 failed as planned + 12 cancelled, 0 unaccounted"


def test_pages_were_fetched_by_one_process_many_at_a_time(live: Run) -> None:
    (at_once,) = re.findall(r"^fetched: up to (\d+) slow pages at once by one process$", live.output, re.MULTILINE)
    assert int(at_once) > 20


def test_the_last_run_can_be_reconciled_again(live: Run) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": live.database_url,
        "PENSTOCK_VAR": str(live.folder.parent),
    }
    command = [sys.executable, "-m", "demo.reconcile"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, live.output.splitlines()[-1]), done.stderr


def test_retries_have_happened(live: Run) -> None:
    """Some webhooks are refused at first; each of them is taken once in the end."""
    hooks = [effect for effect in Accounts(live.folder).effects() if effect.effect is Effect.HOOK]
    assert sum(not effect.counts for effect in hooks) > 10


def test_the_report_is_where_the_demo_says(live: Run) -> None:
    shown = [line.removeprefix("report: ") for line in live.output.splitlines() if line.startswith("report: ")]
    assert shown
    assert all("<svg" in (ROOT / page).read_text() for page in shown)


def test_a_deleted_effect_is_noticed(live: Run, tmp_path: Path) -> None:
    for kind in ('"page"', '"hook"', '"command"'):
        balance = reconcile(live.tampered_accounts(tmp_path / kind[1:-1], kind), live.database_url)
        assert not balance.is_even
        assert len(balance.unaccounted) == 1


def test_a_deleted_report_is_noticed(live: Run, tmp_path: Path) -> None:
    shutil.copytree(live.folder, tmp_path / "copy")
    for kind in ("html", "csv"):
        (tmp_path / f"copy/reports/sold-by-product.{kind}").unlink()
    problems = reconcile(Accounts(tmp_path / "copy"), live.database_url).unaccounted
    assert [problem.rpartition(": ")[2] for problem in problems] == [
        "its report sold-by-product.html is missing",
        "its report sold-by-product.csv is missing",
    ]


def test_a_command_that_ran_twice_is_noticed(live: Run, tmp_path: Path) -> None:
    shutil.copytree(live.folder, tmp_path / "copy")
    with (tmp_path / "copy" / "effects.jsonl").open("a") as effects:
        effects.write('{"effect": "command", "key": "3", "counts": true}\n')
    (problem,) = reconcile(Accounts(tmp_path / "copy"), live.database_url).unaccounted
    assert problem.endswith("took effect 2 times outside, must be 1")


def test_a_job_that_failed_otherwise_than_planned_is_noticed(live: Run) -> None:
    job = next(job for job in Accounts(live.folder).accepted() if job.label == "commands, failing")
    change = text("UPDATE jobs SET error_type = :error WHERE id = :id")
    for error, noticed in (("builtins.OSError", True), (job.error, False)):
        with writing(live.database_url) as connection:
            connection.execute(change, {"id": job.id, "error": error})
        complaint = f"{job.id}: failed with builtins.OSError, must fail with tasks.shell.CommandFailed"
        assert any(complaint in problem for problem in live.balance().unaccounted) is noticed


def test_a_deleted_row_is_noticed(live: Run) -> None:
    (job, *_) = Accounts(live.folder).accepted()
    with writing(live.database_url) as connection:
        connection.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": job.id})
    balance = live.balance()
    assert not balance.is_even
    assert balance.unaccounted == [f"{job.label} {job.id}: the ledger has no row"]


def test_a_changed_outcome_is_noticed(live: Run) -> None:
    job = next(job for job in Accounts(live.folder).accepted() if job.label == "URL checks")
    with writing(live.database_url) as connection:
        # No UPDATE does it: the database lets no final state change.
        row = connection.execute(select(jobs).where(jobs.c.id == job.id)).mappings().one()
        connection.execute(delete(jobs).where(jobs.c.id == job.id))
        connection.execute(insert(jobs), {**row, "state": "failed"})
    assert any(f"{job.id}: is failed, must be succeeded" in problem for problem in live.balance().unaccounted)


def test_an_effect_that_nobody_submitted_is_noticed(live: Run, tmp_path: Path) -> None:
    shutil.copytree(live.folder, tmp_path / "copy")
    with (tmp_path / "copy" / "effects.jsonl").open("a") as effects:
        effects.write('{"effect": "hook", "key": "stranger", "counts": true}\n')
    balance = reconcile(Accounts(tmp_path / "copy"), live.database_url)
    assert "webhook stranger: took effect, and nobody submitted it" in balance.unaccounted


def test_no_process_of_the_demo_is_left(live: Run) -> None:
    """Each process of a run carries the run's folder in its environment."""
    mark = f"PENSTOCK_VAR={live.folder.parent}".encode()
    left = [pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and mark in _environment(pid)]
    assert left == []


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
