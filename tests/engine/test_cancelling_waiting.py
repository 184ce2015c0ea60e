"""Cancelling jobs that wait, wherever they do: they end as cancelled soon, never start, and leave nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from celery import chain, chord
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from penstock import Job
from penstock.cancelling import Meaning
from penstock.client.publishing import publisher
from penstock.errors import JobFailed
from penstock.job import Reason, State
from penstock.ledger import outbox, queries
from penstock.ledger.session import reading
from penstock.operations.books.account import Verdict
from penstock.operations.books.auditing import audit
from tests.conftest import DATABASES, NewLedger, deployment, producer
from tests.engine.cancelled_bodies import attentive, failing, unmoved
from tests.engine.coroutine_bodies import fall
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import Worker, wait_for

WEEK = 7 * 86_400.0


class Place(Station):
    """A station whose books can be audited, and that submits as an application does."""

    app_of_ours: ClassVar[Any]

    def row(self, id: str) -> Any:
        with reading(self.ledger) as connection:
            return queries.find_job(connection, id)

    def in_outbox(self, id: str) -> Any:
        with reading(self.ledger) as connection:
            return outbox.find_waiting(connection, id)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        engine = create_engine(self.ledger)
        with Session(engine) as session:
            yield session
        engine.dispose()

    def noted(self, id: str) -> list[str]:
        """Where Redis still has anything of a job, but for that it is revoked."""
        keys, client = self.keys, self.redis
        found = [key for key in client.scan_iter(f"{keys.waiting('')}*") if client.zscore(key, id) is not None]
        found += [key for key in (keys.cancelling, keys.blocked, keys.outbox) if client.hexists(key, id)]
        for key in client.scan_iter(f"{keys.parked('')}*"):
            found += [key for member in client.zrange(key, 0, -1) if id.encode() in member]
        return found


@pytest.fixture(scope="module", params=DATABASES)
def place(request: pytest.FixtureRequest, folder: Any, new_ledger: NewLedger) -> Iterator[Place]:
    with (
        new_ledger(request.param) as ledger,
        Place(folder / request.param, ledger=ledger, appendonly="yes") as made,
        producer(deployment(made.server.url, ledger, folder)) as app,
    ):
        Place.app_of_ours = app
        yield made


@pytest.fixture(scope="module")
def worker(place: Place) -> Iterator[Worker]:
    with killed_at_the_end(place.worker()) as worker:
        yield worker


def cancelled(place: Place, job: Job[Any], starts: int = 0) -> Any:
    """Its row, once it has ended; it has not started since."""
    row = wait_for(lambda: it if (it := place.row(job.id)) and it.state.is_final else None, "it has ended")
    assert (row.state, row.reason, len(place.starts(job.id))) == (State.CANCELLED, Reason.REVOKED, starts)
    assert job.refresh().state is State.CANCELLED
    return row


def gone(place: Place, job: Job[Any]) -> None:
    """Nothing is left of it but its row, and the books balance."""
    wait_for(lambda: not place.in_outbox(job.id), "its message is done with")
    wait_for(lambda: not place.noted(job.id), "nothing is left")
    report = audit(place.app_of_ours, (), deep=True, limit=5)
    assert report.verdict is Verdict.BALANCED, report.sentence


@pytest.mark.usefixtures("worker")
def test_a_job_for_next_week_is_cancelled_now_and_its_message_is_dropped(place: Place) -> None:
    job = attentive.options(delay=WEEK).enqueue()
    assert job.cancel(reason="not needed") is Meaning.NEVER_STARTS
    assert cancelled(place, job).task == "engine.attentive"
    gone(place, job)


@pytest.mark.usefixtures("worker")
def test_a_job_of_a_stock_producer_for_next_week_is_found_as_well(place: Place) -> None:
    id = place.send_stock("touch", countdown=WEEK)
    wait_for(place.parked, "it is parked")
    job: Job[Any] = Job(id, "engine.touch")
    job.cancel()
    wait_for(lambda: not place.parked(), "its message is dropped", 15)
    cancelled(place, job)
    gone(place, job)


@pytest.mark.usefixtures("worker")
def test_a_job_on_a_queue_that_nobody_serves_is_cancelled(place: Place) -> None:
    job = attentive.options(queue="elsewhere").enqueue()
    job.cancel()
    assert cancelled(place, job).queue == "elsewhere"
    gone(place, job)
    assert place.ready("elsewhere") == []


@pytest.mark.usefixtures("worker")
def test_a_job_in_the_middle_of_a_long_queue_is_cancelled_and_dropped_when_it_is_claimed(place: Place) -> None:
    before = [attentive.options(queue="long").enqueue() for _ in range(5)]
    job = attentive.options(queue="long").enqueue()
    # As if there were thousands: what is looked at ends before this one.
    place.redis.rpush("long", *[b'{"properties": {}, "body": "e30="}'] * 1100)
    place.redis.lpush("long", *[b'{"properties": {}, "body": "e30="}'] * 1100)
    job.cancel()
    cancelled(place, job)
    assert place.redis.zscore(place.keys.waiting("long"), job.id)
    place.redis.ltrim("long", 1100, -1101)
    for each in before:
        each.cancel()
    for each in (*before, job):
        cancelled(place, each)
    with place.worker("-Q", "long"):
        gone(place, job)
    assert place.row(job.id).queue == "long"


@pytest.mark.usefixtures("worker")
def test_a_job_of_a_paused_queue_is_cancelled(place: Place) -> None:
    place.close_queue()
    job = attentive.enqueue()
    job.cancel()
    cancelled(place, job)
    gone(place, job)
    place.open_queue()


@pytest.mark.usefixtures("worker")
def test_a_job_of_an_unknown_task_is_cancelled(place: Place) -> None:
    id = place.app.send_task("engine.of_tomorrow").id
    job: Job[Any] = Job(id, "engine.of_tomorrow")
    wait_for(lambda: (row := place.row(id)) and row.state is State.BLOCKED, "it is put aside")
    job.cancel()
    cancelled(place, job)
    gone(place, job)
    assert not place.redis.hlen(place.keys.unknown)


@pytest.mark.usefixtures("worker")
def test_a_job_behind_an_open_breaker_is_cancelled_at_once_and_leaves_nothing(place: Place) -> None:
    place.scripts.switch(attentive.name, "open", "ann", "")

    def put_aside() -> Job[Any] | None:
        job = attentive.enqueue()
        wait_for(lambda: place.row(job.id), "it was claimed")
        if place.row(job.id).reason is Reason.BREAKER:
            return job
        job.cancel(grace=0)
        cancelled(place, job, starts=1)
        return None

    job = wait_for(put_aside, "the worker has heard of the breaker")
    assert job.cancel() is Meaning.NEVER_STARTS
    cancelled(place, job)
    gone(place, job)
    assert (place.scripts.client.exists(place.keys.broken), place.starts(job.id)) == (0, [])
    place.scripts.switch(attentive.name, "closed", "ann", "")


@pytest.mark.usefixtures("worker")
def test_a_job_that_waits_for_its_retry_is_cancelled_at_once(place: Place) -> None:
    job = failing.enqueue()
    wait_for(lambda: job.refresh().state is State.SCHEDULED and place.row(job.id), "it waits for its retry")
    assert job.cancel() is Meaning.CANCELLED
    row = cancelled(place, job, starts=1)
    assert row.error_type == "ConnectionError"
    gone(place, job)


def test_a_job_in_the_outbox_is_cancelled_without_redis_and_without_a_worker(place: Place) -> None:
    with place.transaction() as session:
        job = attentive.options(session=session, delay=WEEK).enqueue()
        session.commit()
    place.server.pause()
    try:
        assert job.cancel() is Meaning.CANCELLED
    finally:
        place.server.resume()
    assert cancelled(place, job).task == "engine.attentive"
    with place.worker("-Q", "other"):
        gone(place, job)


@pytest.mark.usefixtures("worker")
def test_a_job_in_the_outbox_for_next_week_is_cancelled_at_once_and_leaves_nothing(place: Place) -> None:
    with place.transaction() as session:
        job = attentive.options(session=session, delay=WEEK).enqueue()
        if place.ledger.startswith("postgresql"):  # SQLite has one writer at a time.
            assert job.cancel() is Meaning.NEVER_STARTS  # Nobody sees the job yet.
        session.commit()
    job.cancel()
    cancelled(place, job)
    gone(place, job)


@pytest.mark.usefixtures("worker")
def test_of_a_transaction_that_is_rolled_back_nothing_stays(place: Place) -> None:
    with place.transaction() as session:
        job = attentive.options(session=session).enqueue()
        if place.ledger.startswith("postgresql"):
            job.cancel()
        session.rollback()
    job.cancel()
    other = attentive.options(delay=WEEK).enqueue()
    other.cancel()
    cancelled(place, other)
    assert place.row(job.id) is None
    assert job.refresh().state is None


def test_a_job_that_is_cancelled_before_any_worker_runs_ends_when_one_does(place: Place) -> None:
    job = attentive.options(queue="later").enqueue()
    assert job.cancel() in (Meaning.CANCELLED_LATER, Meaning.NEVER_STARTS)
    with place.worker("-Q", "later"):
        cancelled(place, job)
    gone(place, job)


def test_a_job_that_waits_in_a_child_behind_another_is_cancelled(place: Place, worker: Worker) -> None:
    end = place.gate("end")
    running, (first, second) = place.hoard(worker, end, 2)
    job: Job[Any] = Job(first, "engine.touch")
    job.cancel()
    cancelled(place, job)
    end.touch()
    place.ended(running)
    place.ended(second)
    gone(place, job)


@pytest.mark.usefixtures("worker")
def test_what_follows_a_cancelled_job_in_a_chain_does_not_start(place: Place) -> None:
    tasks = place.app.tasks
    place.close_queue()
    result = chain(tasks["engine.touch"].si(), tasks["engine.touch"].si()).apply_async()
    job: Job[Any] = Job(result.parent.id, "engine.touch")
    job.cancel()
    cancelled(place, job)
    place.open_queue()
    place.ended(place.send("touch"))
    assert not place.starts(result.id)
    gone(place, job)


@pytest.mark.usefixtures("worker")
def test_a_cancelled_member_of_a_chord_fails_its_body(place: Place) -> None:
    tasks = place.app.tasks
    place.close_queue()
    result = chord([tasks["engine.touch"].si(), tasks["engine.touch"].si()])(tasks["engine.collect"].s())
    job: Job[Any] = Job(result.parent.results[0].id, "engine.touch")
    job.cancel()
    cancelled(place, job)
    place.open_queue()
    assert ended(place, result.id).state is State.FAILED
    assert not place.starts(result.id)


@pytest.mark.usefixtures("worker")
def test_who_waits_for_the_result_hears_of_it(place: Place) -> None:
    job = attentive.options(delay=WEEK).enqueue()
    with publisher().hearing.ear([job.id]) as ear:
        assert ear.wait(20) == {job.id}, "it is not listened for"
        job.cancel()
        assert ear.wait(20) == {job.id}, "its end was not heard of"
    with pytest.raises(JobFailed) as failed:
        job.result(timeout=20)
    assert failed.value.state == "cancelled"


@pytest.mark.usefixtures("worker")
def test_a_job_that_fails_at_once_is_waiting_no_more(place: Place) -> None:
    job = fall.enqueue()
    assert ended(place, job.id).state is State.FAILED
    gone(place, job)


def test_a_request_outlives_a_redis_that_has_lost_it_and_the_worker_that_knew_of_it(place: Place) -> None:
    with place.transaction() as session:
        job = unmoved.options(session=session, queue="losing").enqueue(str(place.gate("never")))
        session.commit()
    with place.worker("-Q", "losing") as doomed:
        place.started(job.id)
        job.cancel(grace=600)
        wait_for(lambda: place.effects(job.id, "heard"), "it is asked")
        doomed.stop(signal.SIGKILL)
        wait_for(lambda: place.ready("losing"), "its claims are given back")
    place.redis.flushall()
    with killed_at_the_end(place.worker("-Q", "losing")):
        row = wait_for(lambda: it if (it := place.row(job.id)).state.is_final else None, "it has ended", 15)
    assert (row.state, len(place.starts(job.id))) == (State.CANCELLED, 1)
