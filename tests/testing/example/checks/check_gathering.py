"""Jobs that run inline while several coroutines, or threads, enqueue at the same time."""

import asyncio
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop.tasks import welcome
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from penstock import Job, State, task
from penstock.testing import Jobs, StillWaiting

pytestmark = pytest.mark.timeout(30)


@task()
async def tree(name: str, width: int, depth: int) -> int:
    """Has as many branches enqueued at once, each with as many of its own; how many there are with this."""
    if not depth:
        return 1
    branches = await asyncio.gather(*(tree.aenqueue(f"{name}.{n}", width, depth - 1) for n in range(width)))
    return 1 + sum([await branch.aresult(0) for branch in branches])


@task()
async def mixed(name: str) -> str:
    """Enqueues while another job is on its way by the thread for coroutines."""
    first = asyncio.create_task(tree.aenqueue(f"{name}.first", 2, 1))
    await asyncio.sleep(0)
    second = tree.enqueue(f"{name}.second", 2, 1)
    return f"{second.result(0)} {(await first).result(0)}"


@task()
def odd_is_wrong(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


@task()
def leave(code: int) -> None:
    sys.exit(code)


@task()
async def fail_below(numbers: list[int]) -> None:
    await asyncio.gather(*map(odd_is_wrong.aenqueue, numbers))


@task()
def keep_one_more(left: int) -> None:
    """Has a job of a transaction follow, as often."""
    engine = create_engine(os.environ["DATABASE_URL"])
    with Session(engine) as session, session.begin():
        if left:
            keep_one_more.options(session=session).enqueue(left - 1)
    engine.dispose()


@pytest.fixture
def engine(jobs: Jobs) -> Iterator[Engine]:
    made = create_engine(jobs.database_url)
    yield made
    made.dispose()


def names(jobs: Jobs) -> list[str]:
    """First arguments of jobs, in the order of their starts."""
    by_id = {job.id: str(job.args[0]) for job in jobs.enqueued()}
    return [by_id[attempt.id] for attempt in jobs.attempts]


def test_jobs_start_in_the_order_in_which_their_coroutines_began(jobs: Jobs) -> None:
    async def view() -> list[Job[str]]:
        return await asyncio.gather(*map(welcome.aenqueue, range(50)))

    with jobs.inline():
        made = asyncio.run(view())
    assert names(jobs) == [str(number) for number in range(50)]
    assert [attempt.id for attempt in jobs.attempts] == [job.id for job in made]


def test_each_branch_ends_before_the_next_begins(jobs: Jobs) -> None:
    with jobs.inline():
        assert tree.enqueue("1", 2, 2).result(0) == 7
    assert names(jobs) == ["1", "1.0", "1.0.0", "1.0.1", "1.1", "1.1.0", "1.1.1"]


def test_a_wide_tree_grows_to_its_end(jobs: Jobs) -> None:
    async def view() -> list[int]:
        trees = await asyncio.gather(*(tree.aenqueue(str(number), 3, 3) for number in range(3)))
        return [await each.aresult(0) for each in trees]

    with jobs.inline():
        assert asyncio.run(view()) == [40] * 3


def test_coroutines_may_enqueue_in_both_ways_at_once(jobs: Jobs) -> None:
    async def view() -> list[str]:
        made = await asyncio.gather(*(mixed.aenqueue(str(number)) for number in range(8)))
        return [await each.aresult(0) for each in made]

    with jobs.inline():
        assert asyncio.run(view()) == ["3 3"] * 8


def test_threads_may_enqueue_at_once(jobs: Jobs) -> None:
    def enqueue(number: int) -> str:
        return welcome.enqueue(number).result(0)

    with jobs.inline(), ThreadPoolExecutor(8) as threads:
        assert list(threads.map(enqueue, range(60))) == [f"default to {number}" for number in range(60)]
    assert {attempt.state for attempt in jobs.attempts} == {State.SUCCEEDED}


def test_an_error_is_raised_to_the_coroutine_whose_job_has_failed(jobs: Jobs) -> None:
    async def view() -> list[object]:
        return await asyncio.gather(*map(odd_is_wrong.aenqueue, range(6)), return_exceptions=True)

    with jobs.inline():
        answers = asyncio.run(view())
    assert [str(answer) for answer in answers[1::2]] == ["1 is odd", "3 is odd", "5 is odd"]
    assert [job.result(0) for job in answers[::2] if isinstance(job, Job)] == [0, 2, 4]


def test_the_first_error_of_many_comes_out_of_them_all(jobs: Jobs) -> None:
    with jobs.inline(), pytest.raises(ValueError, match="3 is odd"):
        fail_below.enqueue([2, 3, 4, 5])
    assert [attempt.state for attempt in jobs.attempts[1:]] == [
        State.SUCCEEDED,
        State.FAILED,
        State.SUCCEEDED,
        State.FAILED,
    ]


def test_errors_that_are_kept_do_not_stop_whoever_has_enqueued(jobs: Jobs) -> None:
    with jobs.inline(raises=False):
        parent = fail_below.enqueue([2, 3, 4, 5])
    assert parent.refresh().state is State.SUCCEEDED
    assert [str(attempt.error) for attempt in jobs.attempts if attempt.error] == ["3 is odd", "5 is odd"]


def test_a_body_that_exits_leaves_nobody_waiting(jobs: Jobs) -> None:
    async def view() -> object:
        return await leave.aenqueue(3)

    with jobs.inline(), pytest.raises(SystemExit) as raised:
        asyncio.run(view())
    assert raised.value.code == 3
    with jobs.inline(), pytest.raises(SystemExit):
        leave.enqueue(4)


def test_coroutines_of_sessions_have_their_jobs_run_at_the_end(jobs: Jobs, engine: Engine) -> None:
    async def view() -> list[Job[str]]:
        made = []
        for number in range(3):
            with Session(engine) as session:
                made.append(await welcome.options(session=session).aenqueue(number))
                session.commit()
        return [*made, await welcome.aenqueue(3)]

    with jobs.inline():
        made = asyncio.run(view())
        assert names(jobs) == ["3"]
    assert names(jobs) == ["3", "0", "1", "2"]
    assert [job.result(0) for job in made] == [f"default to {number}" for number in range(4)]


def test_what_jobs_of_transactions_keep_runs_as_well(jobs: Jobs, engine: Engine) -> None:
    with jobs.inline(), Session(engine) as session:
        keep_one_more.options(session=session).enqueue(3)
        session.commit()
    assert names(jobs) == ["3", "2", "1", "0"]


def test_inside_of_an_open_transaction_an_inline_job_says_that_it_cannot_be_recorded(
    jobs: Jobs, engine: Engine
) -> None:
    with Session(engine) as session:
        welcome.options(session=session).enqueue(1)
        with jobs.inline(), pytest.raises(StillWaiting, match="is open, and SQLite lets nobody else write"):
            welcome.enqueue(2)
        session.rollback()
