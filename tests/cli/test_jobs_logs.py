"""`jobs logs` where no worker runs; with one, it is looked at in test_jobs_watch.py."""

import io
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import redis
from rich.console import Console

from penstock.app import PenstockApp
from penstock.cli.job_log import LinePrinter
from penstock.cli.jobs import jobs
from penstock.client import Job
from penstock.ledger.reports import LogLine
from tests import jobs as tasks
from tests.cli.conftest import Ledger, Run
from tests.conftest import NewLedger


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: what it keeps of a log is tested on each."""
    with new_ledger("sqlite") as url:
        yield url


def test_a_job_that_nobody_knows_is_refused(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    result = run(jobs, "logs", id := str(uuid.uuid4()))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"penstock: nobody knows a job {id}: ")


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_a_long_line_goes_on_further_in_and_at_words(
    app: PenstockApp, ledger: Ledger, broker: redis.Redis, width: int
) -> None:
    job = Job[None](ledger.succeed("chatty"), "tests.jobs.add")
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False)
    said = "the price of tea in China " * 10 + "\nTraceback\n  File x"
    line = LogLine(start=1, number=1, at=datetime.now(UTC), level="INFO", logger="shop", text=said, left_out=0)
    LinePrinter(console, UTC, names=True).print(job, [line])
    first, *others = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first.startswith("chatty 2")
    assert all(each.startswith("    ") for each in others)
    assert [each.strip() for each in others[-2:]] == ["Traceback", "File x"]
    assert max(map(len, (first, *others))) <= width
    words = said.split()
    assert " ".join((first, *others)).split()[-len(words) :] == words


def test_a_job_that_has_logged_nothing_so_far_has_an_empty_log(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    for id in (tasks.add.enqueue(1, right=2).id, ledger.succeed("quiet")):
        result = run(jobs, "logs", id)
        assert (result.exit_code, result.output) == (0, "")
