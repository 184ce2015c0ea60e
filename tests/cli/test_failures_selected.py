"""`failures replay|discard` of all that a filter chooses: failed jobs and messages, at a pace, with other arguments."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import select, update

from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.cli.failures import failures
from penstock.job import Reason
from penstock.ledger import letters
from penstock.ledger.rows import DeadLetter, Delivery
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import Kind, audit, jobs
from penstock.message import REPLAY_OF
from penstock.operations.failures import entries, failed
from tests import jobs as tasks
from tests.broker.messages import raw_message
from tests.cli.conftest import Ledger, Run
from tests.live import ROOT, wait_for

FINGERPRINT = "0123456789ab"


def sent(broker: redis.Redis, queue: str = "default") -> list[tuple[str, Any, Any]]:
    """(the old job, positional and named arguments) of what is on a queue, the first first."""
    found = []
    for raw in reversed(broker.lrange(queue, 0, -1)):
        payload = json.loads(raw)
        args, kwargs, _ = _body(payload)
        found.append((payload["headers"][REPLAY_OF], args, kwargs))
    return found


def _body(payload: dict[str, Any]) -> Any:
    text = payload["body"]
    return json.loads(base64.b64decode(text) if payload["properties"].get("body_encoding") == "base64" else text)


def replayed(run: Run, *arguments: str) -> list[str]:
    """The old jobs that a command has replayed without a question."""
    result = run(failures, "replay", *arguments, "--yes", "--json")
    return [each["entry"] for each in json.loads(result.stdout) if each["done"]]


def noted(ledger: Ledger) -> list[dict[str, Any]]:
    """The audit's details of errands."""
    with reading(ledger.url) as connection:
        rows = connection.execute(select(audit).where(audit.c.job_id.is_(None)).order_by(audit.c.id))
        return [{"actor": row.actor, "action": row.action, **row.details} for row in rows]


def bury(ledger: Ledger, id: str, job: str, task: str = tasks.add.name, queue: str = "default") -> None:
    letter = DeadLetter(
        id=id,
        kind=Kind.BURIED,
        queue=queue,
        step=0,
        reason="its process died 3 times",
        payload=raw_message(job, 1, 2, task=task),
        deliveries=3,
        at=datetime.now(UTC) - timedelta(minutes=5),
        job=Delivery(id=job, task=task, queue=queue, args=[1, 2], kwargs={}),
    )
    with writing(ledger.url) as connection:
        letters.bury(connection, [letter])


@pytest.fixture
def three(ledger: Ledger) -> Ledger:
    """Failed jobs that differ in what one can choose by."""
    ledger.fail("mailed", queue="mail", tags=("nightly",))
    ledger.fail("timed", "too late", reason=Reason.TIMEOUT, task="tests.jobs.later")
    ledger.fail("old")
    with writing(ledger.url) as connection:
        at = datetime.now(UTC) - timedelta(days=2)
        connection.execute(update(jobs).where(jobs.c.id == "old").values(updated_at=at))
    return ledger


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--queue", "mail"], ["mailed"]),
        (["--task", "tests.jobs.later"], ["timed"]),
        (["--tag", "nightly"], ["mailed"]),
        (["--error", FINGERPRINT], ["old", "mailed", "timed"]),
        (["--error", "too late"], ["timed"]),
        (["--reason", "timeout"], ["timed"]),
        (["--since", "1h"], ["mailed", "timed"]),
        (["--until", "1h"], ["old"]),
        (["--kind", "failed", "--queue", "default", "--since", "1h"], ["timed"]),
        (["--error", FINGERPRINT, "--queue", "mail", "--task", "tests.jobs.add"], ["mailed"]),
        (["--kind", "failed", "--limit", "1"], ["old"]),
        (["--kind", "buried"], []),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_failed_jobs_are_chosen_by_what_is_known_of_them(
    run: Run, three: Ledger, broker: redis.Redis, options: list[str], chosen: list[str]
) -> None:
    result = run(failures, "discard", *options, "--dry-run", "--json")
    told = json.loads(result.stdout)
    assert (told["count"], [each["entry"] for each in told["sample"]]) == (len(chosen), chosen)
    assert run(failures, "discard", *options, "--yes").exit_code == 0
    with reading(three.url) as connection:
        gone = connection.execute(select(jobs.c.id).where(jobs.c.reason == Reason.DISCARDED.value)).scalars()
        assert set(gone) == set(chosen)


def test_one_filter_chooses_failed_jobs_and_messages(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("failed", args=[1, 2])
    bury(ledger, "w:1:0", "buried")
    bury(ledger, "w:2:0", "other", queue="mail")
    result = run(failures, "replay", "--queue", "default")
    assert "1 failed job, 1 buried will be replayed. Go on?" in result.stderr
    assert replayed(run, "--queue", "default") == ["failed", "w:1:0"]
    assert [old for old, _, _ in sent(broker)] == ["failed", "buried"]
    assert replayed(run, "--queue", "default") == []


@pytest.mark.parametrize("verb", ["replay", "discard"])
@pytest.mark.parametrize("kind", ["failed", "buried"])
def test_all_is_well_whichever_kind_was_open_and_when_none_is(
    run: Run, ledger: Ledger, broker: redis.Redis, verb: str, kind: str
) -> None:
    ledger.fail("job", args=[1, 2]) if kind == "failed" else bury(ledger, "w:1:0", "job")
    done = run(failures, verb, "--all", "--yes")
    assert (done.exit_code, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)
    again = run(failures, verb, "--all", "--yes")
    assert (again.exit_code, again.stderr, again.stdout) == (0, "no open failures match\n", "")


def test_an_errand_is_noted_once_with_how_it_was_chosen(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("a", args=[1], kwargs={"right": 2})
    bury(ledger, "w:1:0", "b")
    options = ["--queue", "default", "--rate", "100/s", "--limit", "5", "--set", "right=3", "--rename", "x=y"]
    replayed(run, *options)
    edited = {"set": ["right"], "rename": {"x": "y"}}
    assert noted(ledger) == [
        {
            "actor": actor(),
            "action": "replay",
            "queue": "default",
            "count": 2,
            "limit": 5,
            "rate": "100/s",
            "edited": edited,
        }
    ]


def test_arguments_are_set_left_out_and_renamed_in_each_job(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("named", args=[], kwargs={"links": 1, "right": 2, "old": True})
    ledger.fail("placed", args=[1, 2])
    bury(ledger, "w:1:0", "buried")
    edits = ["--rename", "links=left", "--unset", "old", "--set", "right=7"]
    assert replayed(run, "--task", "tests.jobs.add", *edits) == ["named", "placed", "w:1:0"]
    assert sent(broker) == [("named", [], {"left": 1, "right": 7}), ("placed", [1, 7], {}), ("buried", [1, 7], {})]


def test_what_was_given_by_position_is_left_out_as_well(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("a", task=tasks.read_rows.name, args=[3, "tomorrow", "boom"])
    assert replayed(run, "--all", "--unset", "until") == ["a"]
    bury(ledger, "w:1:0", "b")
    assert replayed(run, "--all", "--unset", "left", "--set", "left=7") == ["w:1:0"]
    assert sent(broker) == [("a", [3], {"error": "boom"}), ("b", [], {"right": 2, "left": 7})]


@pytest.mark.parametrize("last", ["--dry-run", "--yes"])
def test_what_stands_before_a_value_without_a_name_cannot_be_left_out(
    run: Run, ledger: Ledger, broker: redis.Redis, last: str
) -> None:
    ledger.fail("a", args=[1, 2, 3])
    result = run(failures, "replay", "--all", "--unset", "left", last)
    assert result.exit_code == 1
    assert "left was given by position, and what stands behind it has no name" in result.output
    assert sent(broker) == []


def test_a_job_whose_task_does_not_take_the_new_arguments_is_listed_and_left(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    ledger.fail("a", args=[1, 2])
    bury(ledger, "w:1:0", "b")
    result = run(failures, "replay", "--task", "tests.jobs.add", "--set", "wrong=1", "--yes")
    assert result.exit_code == 1
    assert result.stderr.count("these arguments do not fit its task") == 2
    assert (sent(broker), noted(ledger)) == ([], [])
    assert replayed(run, "--task", "tests.jobs.add") == ["a", "w:1:0"]


def test_a_rehearsal_says_how_many_and_what_does_not_fit_and_does_nothing(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    for number in range(7):
        ledger.fail(f"job{number}", args=[1, 2] if number else [1])
    result = run(failures, "replay", "--kind", "failed", "--dry-run")
    lines = result.stdout.splitlines()
    assert lines[0] == "7 failed jobs would be replayed"
    assert "no longer fit its task" in lines[1]
    assert (len(lines), lines[-1], result.exit_code) == (7, "…", 1)
    assert (sent(broker), noted(ledger)) == ([], [])


def test_whole_arguments_are_for_a_single_job(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("a", args=[1, 2])
    assert replayed(run, FINGERPRINT, "--args", "[3, 4]") == ["a"]
    assert sent(broker) == [("a", [3, 4], {})]
    ledger.fail("b")
    ledger.fail("c")
    result = run(failures, "replay", FINGERPRINT, "--args", "[3, 4]", "--yes")
    assert (result.exit_code, len(sent(broker))) == (2, 1)
    assert "use --set" in result.stderr


@pytest.mark.parametrize("option", [["--set", "right=seven"], ["--args", "{}"], ["--kwargs", "[1]"]])
def test_what_is_no_json_of_that_kind_is_refused(run: Run, option: list[str]) -> None:
    result = run(failures, "replay", "--all", *option)
    assert result.exit_code == 2
    assert "is no JSON" in result.stderr


def test_the_rate_holds_over_all_of_an_errand(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    for number in range(3):
        ledger.fail(f"job{number}", args=[1, 2])
        bury(ledger, f"w:{number}:0", f"buried{number}")
    begun = time.monotonic()
    assert len(replayed(run, "--all", "--rate", "10/s")) == 6
    assert time.monotonic() - begun > 0.45


def test_a_queue_that_is_full_is_waited_for(run: Run, app: PenstockApp, ledger: Ledger, broker: redis.Redis) -> None:
    for number in range(4):
        ledger.fail(f"job{number}", args=[1, 2])
    most = 0

    def empty() -> None:
        """A worker that takes a job now and then."""
        nonlocal most
        for _ in range(4):
            wait_for(lambda: broker.llen("default"), "a job is there")
            most = max(most, broker.llen("default"))
            broker.rpop("default")

    worker = threading.Thread(target=empty)
    worker.start()
    assert len(replayed(run, "--all", "--at-most-waiting", "1")) == 4
    worker.join()
    assert most == 1


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_many_are_dealt_with_page_by_page(
    run: Run, ledger: Ledger, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(failed, "PAGE", 2)
    monkeypatch.setattr(entries, "PAGE", 2)
    for number in range(5):
        ledger.fail(f"job{number}", args=[1, 2])
        bury(ledger, f"w:{number}:0", f"buried{number}")
    told = json.loads(run(failures, verb, "--all", "--yes", "--json").stdout)
    assert sum(each["messages"] for each in told if each["done"]) == 10
    assert noted(ledger)[-1]["count"] == 10
    assert run(failures, verb, "--all", "--yes").stderr.startswith("no open failures match")


def test_a_limit_counts_over_failed_jobs_and_messages(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    for number in range(2):
        ledger.fail(f"job{number}", args=[1, 2])
        bury(ledger, f"w:{number}:0", f"buried{number}")
    assert replayed(run, "--all", "--limit", "3") == ["job0", "job1", "w:0:0"]
    assert replayed(run, "--all", "--limit", "3") == ["w:1:0"]


def test_ctrl_c_ends_it_after_a_job_and_says_what_was_done(
    ledger: Ledger, broker: redis.Redis, environment: dict[str, str]
) -> None:
    for number in range(50):
        ledger.fail(f"job{number}", args=[1, 2])
    command = [sys.executable, "-m", "celery", "-A", "tests.worker_app", "failures", "replay", "--all", "--yes"]
    process = subprocess.Popen(
        [*command, "--rate", "5/s"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: broker.llen("default") >= 2, "two are replayed")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    (errand,) = noted(ledger)
    assert 2 <= errand["count"] < 50
    assert errand["count"] == broker.llen("default")
    assert f"stopped: {errand['count']} failures replayed" in errors
    assert process.returncode == 1
