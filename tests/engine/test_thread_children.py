"""Children of kind threads: many jobs at once in one process, each in a thread with its own context, limits and end."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.job import Reason, State
from tests.conftest import NewLedger
from tests.engine.contexts import play
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import Worker, wait_for

THREADS: dict[str, Any] = {"penstock_kind": "threads", "penstock_size": 20}
TIMEOUT = "billiard.exceptions.TimeLimitExceeded"


@pytest.fixture(autouse=True)
def _empty(booked: Station) -> None:
    booked.redis.flushdb()


@pytest.fixture
def worker(booked: Station) -> Iterator[Worker]:
    with killed_at_the_end(booked.worker(**THREADS)) as worker:
        yield worker


def held(station: Station, count: int) -> tuple[list[str], Any]:
    """So many jobs that run until there is a file."""
    end = station.gate("end")
    ids = [station.send("plain", str(end)) for _ in range(count)]
    for id in ids:
        station.started(id)
    return ids, end


def test_many_jobs_block_at_once_in_one_process(booked: Station, worker: Worker) -> None:
    ids, end = held(booked, 20)
    assert {booked.starts(id)[0]["pid"] for id in ids} == set(booked.children(worker))
    last = booked.send("plain", str(end))
    wait_for(lambda: booked.ready() == [last], "there is no room for one more, and it is nobody's")
    end.touch()
    for id in (*ids, last):
        row = ended(booked, id)
        assert (row.state, row.attempts, len(booked.starts(id))) == (State.SUCCEEDED, 1, 1)
    wait_for(booked.quiet, "everything is settled")


def test_contexts_are_never_mixed_up(booked: Station, worker: Worker) -> None:
    results = [booked.app.tasks["engine.mixed"].apply_async((number, number % 7 / 1000)) for number in range(125)]
    for number, result in enumerate(results):
        assert result.get(timeout=60) == [[result.id, result.id, str(number)]] * 2


def test_nothing_of_another_job_is_found_by_thousands_at_once(new_ledger: NewLedger, tmp_path: Path) -> None:
    """Job, request, arguments, logging and context variables; `make contexts` has a hundred thousand."""
    with new_ledger("sqlite") as ledger, Station(tmp_path / "station", ledger=ledger) as station:
        ended, switched = play(station, "threads", 2000)
    assert ended == {"succeeded, attempt 1": 2000}
    assert switched > 1000, "others have run in between"


def test_two_thousand_jobs_leave_a_row_each(booked: Station, worker: Worker) -> None:
    """Many threads hand over to one ring."""
    ids = [booked.send("nothing") for _ in range(2000)]
    for id in ids:
        row = ended(booked, id)
        assert (row.state, row.attempts) == (State.SUCCEEDED, 1)
    wait_for(booked.quiet, "everything is settled")


def test_retries_failures_and_exits_are_their_own(booked: Station, worker: Worker) -> None:
    (child,) = booked.children(worker)
    (beside,), end = held(booked, 1)
    assert ended(booked, booked.send("retried")).attempts == 3
    assert ended(booked, booked.send("again")).attempts == 2
    assert ended(booked, booked.send("fall")).error_type == "ValueError"
    assert ended(booked, booked.send("leave", 9)).error_type == "penstock.errors.BodyLeft"
    end.touch()
    assert ended(booked, beside).attempts == 1
    assert booked.children(worker) == [child]


@pytest.mark.parametrize("task", ["plain", "await"])
def test_limits_meet_their_job_alone(booked: Station, worker: Worker, task: str) -> None:
    (child,) = booked.children(worker)
    (beside,), end = held(booked, 1)
    never = str(booked.gate("never"))
    for limit, error in (("soft_time_limit", "billiard.exceptions.SoftTimeLimitExceeded"), ("time_limit", TIMEOUT)):
        row = ended(booked, booked.send(task, never, **{limit: 0.5}))
        assert (row.state, row.reason, row.attempts, row.error_type) == (State.FAILED, Reason.TIMEOUT, 1, error)
        assert "0.5" in row.error_message
    end.touch()
    assert ended(booked, beside).attempts == 1
    assert booked.children(worker) == [child]
    wait_for(booked.quiet, "everything is settled")


def test_a_limit_that_strikes_at_the_end_of_a_body_hits_nothing_else(booked: Station, worker: Worker) -> None:
    (child,) = booked.children(worker)
    ids = [booked.send("nap", 0.09 + 0.002 * number, soft_time_limit=0.1) for number in range(60)]
    rows = [ended(booked, id) for id in ids]
    states = {(row.state, row.error_type, row.attempts) for row in rows}
    late = (State.FAILED, "billiard.exceptions.SoftTimeLimitExceeded", 1)
    assert states <= {(State.SUCCEEDED, None, 1), late}
    assert late in states
    assert booked.children(worker) == [child]


@pytest.mark.parametrize("task", ["plain", "await"])
def test_a_job_that_is_revoked_ends_and_its_neighbours_go_on(booked: Station, worker: Worker, task: str) -> None:
    (beside,), end = held(booked, 1)
    id = booked.send(task, str(booked.gate("never")))
    booked.started(id)
    booked.app.control.revoke(id, terminate=True)
    row = ended(booked, id)
    assert (row.state, row.attempts) == (State.CANCELLED, 1)
    others, other_end = held(booked, 19)  # Its place is free again.
    for file in (end, other_end):
        file.touch()
    for each in (beside, *others):
        assert (ended(booked, each).state, len(booked.starts(each))) == (State.SUCCEEDED, 1)
    wait_for(booked.quiet, "everything is settled")


def test_a_child_that_is_killed_loses_none_of_its_jobs(booked: Station, worker: Worker) -> None:
    ids, end = held(booked, 15)
    (child,) = booked.children(worker)
    struck = time.time()
    os.kill(child, signal.SIGKILL)
    for id in ids:
        again = booked.started(id, 2)
        assert (again["deliveries"], again["at"] - struck < 3) == (1, True)
    end.touch()
    for id in ids:
        row = ended(booked, id)
        assert (row.state, row.attempts, row.deliveries) == (State.SUCCEEDED, 2, 1)
    wait_for(booked.quiet, "everything is settled")


def test_a_worker_that_ends_finishes_what_runs_and_claims_no_more(booked: Station, worker: Worker) -> None:
    ids, end = held(booked, 10)
    os.kill(worker.pid, signal.SIGTERM)
    wait_for(lambda: "Warm shutdown" in worker.log, "it is about to end")
    late = booked.send("plain", str(end))
    end.touch()
    assert worker.process is not None
    assert worker.process.wait(20) == 0
    for id in ids:
        assert (ended(booked, id).state, len(booked.starts(id))) == (State.SUCCEEDED, 1)
    assert (booked.ready(), booked.starts(late)) == ([late], [])
