"""Jobs that run in the process of the tests."""

import asyncio
import sys

import pytest
from celery import chain, chord
from shop import tasks
from shop.tasks import BankBusy, Order, charge, count_down, refuse, thank, welcome
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from penstock import JobFailed, State
from penstock.testing import Jobs, StillWaiting


@pytest.fixture
def _busy_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers at the third call."""
    calls = iter([BankBusy, BankBusy])

    def ask(order: Order) -> None:
        for error in calls:
            raise error(order.number)

    monkeypatch.setattr(tasks, "ask_bank", ask)


# -- inline -----------------------------------------------------------------------------------------------------------


def test_an_inline_job_has_run_when_enqueue_returns(jobs: Jobs) -> None:
    with jobs.inline():
        assert welcome.enqueue(7, template="new").result(0) == "new to 7"
        assert welcome.options(delay=3600).enqueue(8).refresh().state is State.SUCCEEDED
    assert welcome.enqueue(9).refresh().state is State.QUEUED


@pytest.mark.usefixtures("_busy_bank")
def test_it_is_tried_again_without_its_pauses(jobs: Jobs) -> None:
    with jobs.inline():
        assert charge.enqueue(Order(1, 250)).result(0) == 250
    assert [attempt.pause for attempt in jobs.attempts if attempt.task == charge.name] == [10, 20, None]
    jobs.assert_enqueued(thank, 1)


def test_its_error_is_raised_where_it_is_enqueued(jobs: Jobs) -> None:
    with jobs.inline(), pytest.raises(ValueError, match="no money for 3"):
        refuse.enqueue(3)


def test_or_is_kept(jobs: Jobs) -> None:
    with jobs.inline(raises=False):
        job = refuse.enqueue(3)
    with pytest.raises(JobFailed, match="no money for 3"):
        job.result(0)


def test_a_coroutine_runs_inline_inside_of_a_loop(jobs: Jobs) -> None:
    async def view() -> int:
        job = await count_down.aenqueue(3)
        assert count_down.enqueue(1).refresh().state is State.SUCCEEDED
        return await job.aresult(0)

    with jobs.inline():
        assert asyncio.run(view()) == 3


def test_what_follows_runs_inline_as_well(jobs: Jobs) -> None:
    with jobs.inline():
        result = chain(welcome.si(1), thank.si(2)).apply_async()
    assert result.get(timeout=1) == "thank you for 2"


def test_an_inline_job_of_a_session_runs_when_that_has_committed(jobs: Jobs) -> None:
    engine = create_engine(jobs.database_url)
    with Session(engine) as session, jobs.inline():
        job = welcome.options(session=session).enqueue(7)
        assert not jobs.attempts
        session.commit()
    assert job.result(0) == "default to 7"
    engine.dispose()


def test_jobs_that_waited_before_go_on_waiting(jobs: Jobs) -> None:
    first, second = welcome.enqueue(1), welcome.enqueue(2)
    with jobs.inline():
        welcome.enqueue(3)
    assert [attempt.id for attempt in jobs.drain().attempts] == [first.id, second.id]


# -- drain ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("books_path")
def test_a_drain_runs_what_waits_and_what_follows(jobs: Jobs) -> None:
    jobs_of_orders = [charge.enqueue(Order(number, 100)) for number in (1, 2)]
    drained = jobs.drain()
    assert sorted(attempt.task for attempt in drained.succeeded) == [charge.name] * 2 + [thank.name] * 2
    assert [job.result(0) for job in jobs_of_orders] == [100, 100]
    assert drained.waiting == []


def test_a_drain_runs_coroutines_inside_of_a_loop(jobs: Jobs) -> None:
    async def view() -> int:
        job = await count_down.aenqueue(0)
        jobs.drain(raises=True)
        return await job.aresult(0)

    assert asyncio.run(view()) == 0


@pytest.mark.usefixtures("books_path")
def test_a_drain_of_one_queue_leaves_the_others(jobs: Jobs) -> None:
    charge.enqueue(Order(1, 100))
    drained = jobs.drain("money")
    assert [attempt.task for attempt in drained.attempts] == [charge.name]
    assert [attempt.task for attempt in jobs.drain("mail").attempts] == [thank.name]


def test_a_queue_that_nobody_knows_is_refused(jobs: Jobs) -> None:
    with pytest.raises(ValueError, match=r"'mial'.*did you mean 'mail'\?"):
        jobs.drain("mial")
    with pytest.raises(ValueError, match=r"'x'.*there are celery, default, mail, money"):
        jobs.drain("mail", "x")


def test_a_queue_that_is_known_may_be_empty(jobs: Jobs) -> None:
    assert not jobs.drain("mail").attempts
    welcome.options(queue="only-asked-for").enqueue(7)
    assert [len(jobs.drain("only-asked-for").succeeded) for _ in range(2)] == [1, 0]
    engine = create_engine(jobs.database_url)
    with Session(engine) as session:
        welcome.options(session=session, queue="only-kept").enqueue(7)
        assert len(jobs.drain("only-kept").waiting) == 1
    engine.dispose()


def test_a_drain_raises_when_it_is_asked_to(jobs: Jobs) -> None:
    refuse.enqueue(1)
    refuse.enqueue(2)
    with pytest.raises(ExceptionGroup, match="2 jobs have failed") as raised:
        jobs.drain(raises=True)
    assert [str(error) for error in raised.value.exceptions] == ["no money for 1", "no money for 2"]
    refuse.enqueue(3)
    assert [str(attempt.error) for attempt in jobs.drain().failed] == ["no money for 3"]


def test_a_drain_says_what_still_waits_and_why(jobs: Jobs) -> None:
    welcome.options(delay=60).enqueue(1)
    jobs.app.send_task("shop.unknown", queue="mail")
    said = str(jobs.drain())
    assert "mail: shop.tasks.welcome is due in 60 s" in said
    assert "mail: 1 wait for a worker that knows the task shop.unknown" in said


def test_a_drain_that_takes_too_long_says_what_is_left(jobs: Jobs) -> None:
    for number in range(3):
        welcome.enqueue(number)
    with pytest.raises(StillWaiting, match=r"not over after 0 s and 1 attempts[^$]*mail: 2 are ready"):
        jobs.drain(timeout=0)


def test_a_drain_waits_for_no_transaction_that_only_the_test_can_end(jobs: Jobs) -> None:
    engine = create_engine(jobs.database_url)
    welcome.enqueue(1)
    with Session(engine) as session:
        welcome.options(session=session).enqueue(7)
        with pytest.raises(StillWaiting, match=r"a transaction with shop\.tasks\.welcome is open, and SQLite"):
            jobs.drain()
        session.rollback()
    assert len(jobs.drain().succeeded) == 1
    engine.dispose()


def test_a_revoked_job_does_not_start(jobs: Jobs) -> None:
    job = welcome.enqueue(7)
    jobs.app.control.revoke(job.id)
    drained = jobs.drain()
    assert (drained.attempts, drained.cancelled, job.refresh().state) == ([], [job.id], State.CANCELLED)


def test_a_body_that_exits_comes_back_until_it_is_buried(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "ask_bank", lambda _: sys.exit(3))
    job = charge.enqueue(Order(1, 1))
    assert len(jobs.drain().attempts) == 3
    assert job.refresh().state is State.FAILED


def test_a_chord_is_counted(jobs: Jobs) -> None:
    result = chord([welcome.si(1), welcome.si(2)])(thank.si(3))
    jobs.drain(raises=True)
    assert result.get(timeout=1) == "thank you for 3"
