"""Coroutines that wait no longer: what becomes of their jobs is said, and nothing of them is left behind."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any
from urllib.parse import urlparse

import pytest
import redis

from penstock import Job, Settings, State, aenqueue_many, as_ended, client
from penstock.app import PenstockApp
from penstock.broker.hearing import Hearing
from penstock.cancelling import Meaning
from penstock.client import publishing
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import writing
from tests import jobs
from tests.faults.proxy import Proxy
from tests.ledger.making import end_attempt
from tests.live import wait_for


@pytest.fixture
def proxy(app: PenstockApp, broker_url: str) -> Iterator[Proxy]:
    """Before Redis."""
    with Proxy(urlparse(broker_url).port or 0) as running:
        address = urlparse(broker_url)
        url = f"redis://127.0.0.1:{running.port}{address.path}"
        client.configure(Settings.load({"REDIS_URL": url, "DATABASE_URL": app.settings.database_url}))
        yield running


async def _noted(waiting: "asyncio.Task[Any]") -> str:
    """What a task says that was cancelled."""
    with pytest.raises(asyncio.CancelledError) as raised:
        await waiting
    return "; ".join(raised.value.__notes__)


async def _until(condition: Any) -> None:
    await asyncio.to_thread(wait_for, condition, "the call is on its way")


def test_a_call_that_is_cancelled_says_whether_its_job_was_submitted(proxy: Proxy, broker: redis.Redis) -> None:
    async def submit() -> tuple[str, str]:
        await jobs.add.aenqueue(0, 0)
        proxy.hold_reply_to("EVALSHA")
        on_its_way = asyncio.create_task(jobs.add.aenqueue(1, 0))
        await _until(proxy.holding.is_set)
        behind = asyncio.create_task(jobs.add.aenqueue(2, 0))
        await asyncio.sleep(0)
        for each in (on_its_way, behind):
            each.cancel()
        return await _noted(on_its_way), await _noted(behind)

    on_its_way, behind = asyncio.run(submit())
    assert on_its_way.endswith("on the way to Redis, which may take it all the same; Job(id, task).refresh() tells")
    assert behind.endswith(": not submitted")
    id = on_its_way.split()[1].rstrip(":")
    assert Job(id, "tests.jobs.add").refresh().state is State.QUEUED
    assert broker.llen("default") == 2
    # The thread goes on with what comes next, and what was withdrawn is not sent then.
    asyncio.run(jobs.add.aenqueue(3, 0))
    assert broker.llen("default") == 3


def test_a_time_limit_ends_a_call_at_once(proxy: Proxy, broker: redis.Redis) -> None:
    async def submit() -> float:
        await jobs.add.aenqueue(0, 0)
        proxy.freeze()
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.1):
                await jobs.add.aenqueue(1, 0)
        assert raised.value.__cause__ is not None
        assert "on the way to Redis" in raised.value.__cause__.__notes__[0]
        return loop.time() - started

    assert asyncio.run(submit()) < 2


def test_many_that_are_cancelled_say_which_calls_were_accepted(proxy: Proxy, broker: redis.Redis) -> None:
    async def calls() -> Any:
        for number in range(30):
            if number == 15:
                await _until(lambda: broker.llen("default") == 10)
                proxy.hold_reply_to("EVALSHA")
            yield jobs.add.bind(number, 0)

    async def submit() -> str:
        waiting = asyncio.create_task(aenqueue_many(calls(), chunk=10))
        await _until(proxy.holding.is_set)
        waiting.cancel()
        return await _noted(waiting)

    note = asyncio.run(submit())
    assert note.startswith("calls 1 to 10 were accepted; job ")
    assert "and 9 more of the same call: on the way to Redis, which may take it" in note


def test_many_whose_calls_raise_say_which_were_accepted_when_they_are_cancelled_then(
    proxy: Proxy, broker: redis.Redis
) -> None:
    async def calls() -> Any:
        for number in range(10):
            yield jobs.add.bind(number, 0)
        await _until(lambda: broker.llen("default") == 10)
        proxy.hold_reply_to("EVALSHA")
        for number in range(10):
            yield jobs.add.bind(number, 0)
        await _until(proxy.holding.is_set)
        raise ValueError

    async def submit() -> str:
        waiting = asyncio.create_task(aenqueue_many(calls(), chunk=10))
        await _until(proxy.holding.is_set)
        await _until(lambda: "settle" in _frames(waiting))
        waiting.cancel()
        return await _noted(waiting)

    note = asyncio.run(submit())
    assert note.startswith("calls 1 to 10 were accepted; job ")
    assert "and 9 more of the same call: on the way to Redis, which may take it" in note


def _frames(waiting: "asyncio.Task[Any]") -> list[str]:
    """The names of the coroutines in which a task waits, the innermost last."""
    names, inner = [], waiting.get_coro()
    while inner is not None and hasattr(inner, "cr_await"):
        names.append(inner.__name__)
        inner = inner.cr_await
    return names


def test_a_cancel_that_is_cancelled_itself_says_what_may_become_of_the_job(proxy: Proxy) -> None:
    job = jobs.add.enqueue(1, 0)

    async def cancel() -> str:
        proxy.hold_reply_to("EVALSHA")
        waiting = asyncio.create_task(job.acancel("wrong month"))
        await _until(proxy.holding.is_set)
        waiting.cancel()
        return await _noted(waiting)

    assert asyncio.run(cancel()) == (
        f"job {job.id}: it may be cancelled all the same; call acancel again, or arefresh tells"
    )
    assert job.cancel() is Meaning.CANCELLED_LATER


def test_an_error_in_a_group_leaves_no_listener_and_no_call_behind(app: PenstockApp) -> None:
    made = [jobs.add.enqueue(number, 0) for number in range(5)]

    async def fail() -> None:
        await _until(lambda: len(_hearing()._listeners) == 5)
        raise ValueError

    async def iterate() -> None:
        async for _ in as_ended(made, timeout=30):
            pass

    async def group_of(*waiting: Coroutine[Any, Any, Any]) -> None:
        async with asyncio.TaskGroup() as group:
            for each in waiting:
                group.create_task(each)

    async def wait() -> None:
        with pytest.raises(ExceptionGroup):
            await group_of(*(job.aresult(timeout=30) for job in made), iterate(), fail())
        assert not _hearing()._listeners

    asyncio.run(wait())


def test_an_iteration_that_is_left_early_leaves_no_listener(app: PenstockApp) -> None:
    first, second = jobs.add.enqueue(1, 0), jobs.add.enqueue(2, 0)

    async def iterate() -> list[Job[int]]:
        found = []
        async for job in as_ended([first, second], timeout=30):
            found.append(job)
            break
        return found

    async def wait() -> list[Job[int]]:
        waiting = asyncio.create_task(iterate())
        await _until(lambda: _hearing()._listeners)
        with writing(app.settings.database_url) as connection:
            end_attempt(connection, Delivery(id=second.id, task=second.task), Outcome(state=State.SUCCEEDED))
        found = await waiting
        await _until(lambda: not _hearing()._listeners)
        return found

    assert asyncio.run(wait()) == [second]


def _hearing() -> Hearing:
    return publishing.publisher().hearing
