"""Whoever dies between the end of a body and the end of its claim: the outcome and all that follows from it is there,
once.

The steps are told apart by what they wait for: a commit by a lock on the table of jobs, everything after it by a Redis
that is stopped.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from celery import chain, chord
from sqlalchemy import text

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.session import engine_for, reading
from tests.conftest import NewLedger
from tests.engine.station import QUEUE, Station
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import Worker, wait_for

STEADY = "steady"
"""Queue of the worker that outlives its keepers."""
AGAIN_SECONDS = 40.0
"""A lease, its reaping, and a round of those who look for lost messages."""


@pytest.fixture(scope="module")
def place(folder: Path, new_ledger: NewLedger) -> Iterator[Station]:
    """A Redis for the module, and a ledger on PostgreSQL."""
    with new_ledger("postgresql") as ledger, Station(folder, ledger=ledger) as made:
        yield made


class Flow(NamedTuple):
    """Ids of jobs that follow from each other, or of one that comes again."""

    first: str
    last: str
    gate: Path | None = None
    """What the first one waits for, which has begun then."""


Start = Callable[[Station, str], Flow]
"""Submits a flow to a queue."""


@contextmanager
def closed_books(place: Station) -> Iterator[None]:
    """Nobody can write a job inside of the block."""
    with engine_for(place.ledger).connect() as connection:
        connection.execute(text("LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE"))
        yield
        connection.rollback()


def someone_waits_to_write(place: Station) -> bool:
    with reading(place.ledger) as connection:
        return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


@contextmanager
def not_yet_committed(place: Station, start: Start, queue: str = QUEUE) -> Iterator[Flow]:
    """Inside of the block the first body has ended, and its outcome alone waits for the commit."""
    # Of a chord two outcomes would wait, one after the other: its other part is to be on the books before they close.
    flow = start(place, queue) if start is in_a_chord else None
    with closed_books(place):
        flow = flow or start(place, queue)
        if flow.gate is not None:
            flow.gate.touch()
            place.ended(flow.first)
        place.started(flow.first)
        wait_for(lambda: someone_waits_to_write(place), "the keeper waits for the books")
        yield flow


@contextmanager
def just_committed(place: Station, start: Start, queue: str = QUEUE) -> Iterator[Flow]:
    """Inside of the block the first outcome is committed, and Redis does not know it yet: it answers nobody."""
    try:
        with not_yet_committed(place, start, queue) as flow:
            place.server.pause()
        wait_for(lambda: state_of(place, flow.first), "the outcome is committed")
        yield flow
    finally:
        place.server.resume()


def state_of(place: Station, id: str) -> State | None:
    with reading(place.ledger) as connection:
        row = queries.find_job(connection, id)
    return row.state if row else None


def in_a_chain(place: Station, queue: str) -> Flow:
    steps = [place.app.tasks["engine.touch"].si(number).set(queue=queue) for number in range(2)]
    result = chain(*steps).apply_async()
    return Flow(result.parent.id, result.id)


def with_a_callback(place: Station, queue: str) -> Flow:
    follower = place.app.tasks["engine.touch"].si().set(queue=queue, task_id=f"follower-{os.urandom(4).hex()}")
    result = place.app.tasks["engine.touch"].apply_async(link=follower, queue=queue)
    return Flow(result.id, follower.options["task_id"])


def with_a_retry(place: Station, queue: str) -> Flow:
    id = place.send("again", queue=queue)
    return Flow(id, id)


def with_a_snooze(place: Station, queue: str) -> Flow:
    id = place.send("rest", queue=queue)
    return Flow(id, id)


def in_a_chord(place: Station, queue: str) -> Flow:
    """Of two parts, because Celery makes a chain of one. The other part is on the books before."""
    gate, tasks = place.gate("part"), place.app.tasks
    parts = [tasks["engine.touch"].si().set(queue=queue), tasks["engine.hold"].si(str(gate)).set(queue=queue)]
    other, first = (result := chord(parts)(tasks["engine.collect"].s().set(queue=queue))).parent.results
    wait_for(lambda: state_of(place, other.id) is State.SUCCEEDED, "the other part is on the books")
    place.started(first.id)
    return Flow(first.id, result.id, gate)


FLOWS = [in_a_chain, with_a_callback, with_a_retry, with_a_snooze, in_a_chord]


def assert_done_once(place: Station, flow: Flow, first_starts: int) -> None:
    """The last job has ended once; the first one's body has begun so often."""
    place.ended(flow.last, AGAIN_SECONDS)
    wait_for(lambda: place.quiet() and not place.redis.llen(STEADY), "everything is settled", AGAIN_SECONDS)
    wait_for(lambda: state_of(place, flow.last) is State.SUCCEEDED, "the last one is on the books")
    assert len(place.effects(flow.last, "end")) == 1
    if flow.first == flow.last:
        assert [start["retries"] for start in place.starts(flow.first)] == [0] * first_starts + [1]
    else:
        assert len(place.starts(flow.first)) == first_starts
        assert len(place.starts(flow.last)) == 1
        assert state_of(place, flow.first) is State.SUCCEEDED


def kill_all_of(worker: Worker) -> None:
    """Parent, keeper and children, as the death of their host does."""
    keeper = worker.keeper
    for pid in (keeper, worker.pid):
        os.kill(pid, signal.SIGKILL)
    worker.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def surviving(place: Station) -> Iterator[Worker]:
    """A worker that outlives its keepers."""
    with place.worker("-Q", STEADY) as started:
        wait_for(lambda: started.keeper, "there is a keeper")
        yield started


@pytest.fixture
def dying(place: Station) -> Iterator[Worker]:
    """A worker for one test."""
    with killed_at_the_end(place.worker()) as started:
        wait_for(lambda: started.keeper, "there is a keeper")
        yield started


@pytest.mark.parametrize("start", FLOWS)
def test_a_keeper_that_dies_before_the_commit_costs_nothing(place: Station, surviving: Worker, start: Start) -> None:
    first = surviving.keeper
    with not_yet_committed(place, start, STEADY) as flow:
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: surviving.keeper not in (0, first), "there is another keeper")
    assert_done_once(place, flow, first_starts=1)


@pytest.mark.parametrize("start", FLOWS)
def test_a_keeper_that_dies_after_the_commit_costs_nothing(place: Station, surviving: Worker, start: Start) -> None:
    first = surviving.keeper
    with just_committed(place, start, STEADY) as flow:
        os.kill(first, signal.SIGKILL)
    assert_done_once(place, flow, first_starts=1)


def test_a_worker_that_dies_before_the_commit_runs_the_body_again(place: Station, dying: Worker) -> None:
    with not_yet_committed(place, in_a_chain) as flow:
        kill_all_of(dying)
    with place.worker():
        assert_done_once(place, flow, first_starts=2)


@pytest.mark.parametrize("start", [in_a_chain, in_a_chord])
def test_a_worker_that_dies_after_the_commit_does_not_run_the_body_again(
    place: Station, dying: Worker, start: Start
) -> None:
    with just_committed(place, start) as flow:
        kill_all_of(dying)
    with place.worker():
        assert_done_once(place, flow, first_starts=1)


def test_a_worker_that_ends_while_sql_is_away_leaves_its_outcomes_to_others(place: Station, dying: Worker) -> None:
    with not_yet_committed(place, with_a_retry) as flow:
        dying.stop(signal.SIGTERM)
        wait_for(lambda: place.redis.hlen(place.keys.spool) == 1, "the outcome waits in Redis")
        assert place.quiet()
    with place.worker():
        assert_done_once(place, flow, first_starts=1)
    assert not place.redis.exists(place.keys.spool)
    assert not place.redis.exists(place.keys.outbox)
