"""Submitting many jobs from a coroutine."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from celery import signals

from penstock import Settings, State, aenqueue_many, as_ended, client
from penstock.app import PenstockApp
from penstock.errors import ArgumentError, BrokerUnavailable
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import writing
from penstock.task import BoundCall
from tests import jobs
from tests.client.loops import heartbeat
from tests.ledger.making import end_attempt

SILENT_PORT = 1


def submitted(broker: redis.Redis, queue: str = "default") -> list[Any]:
    """The first argument of each waiting message, first in line first."""
    raws: Any = broker.lrange(queue, 0, -1)
    return [json.loads(json.loads(raw)["body"])[0][0] for raw in reversed(raws)]


def test_calls_of_an_iterable_reach_their_queues_in_their_order(app: PenstockApp, broker: redis.Redis) -> None:
    def calls() -> Iterator[BoundCall[int]]:
        for number in range(250):
            yield jobs.add.bind(number, 0)
            yield jobs.add.options(queue="other").bind(number, 0)

    made = asyncio.run(aenqueue_many(calls(), chunk=70))
    assert submitted(broker) == submitted(broker, "other") == list(range(250))
    assert [job.queue for job in made[:3]] == ["default", "other", "default"]
    assert len({job.id for job in made}) == 500


def test_calls_of_an_asynchronous_iterable_are_taken_chunk_by_chunk(app: PenstockApp, broker: redis.Redis) -> None:
    ahead = []

    async def calls() -> AsyncIterator[BoundCall[int]]:
        for number in range(105):
            await asyncio.sleep(0)
            ahead.append(number - int(str(broker.llen("default"))))
            yield jobs.add.bind(number, 0)

    assert len(asyncio.run(aenqueue_many(calls(), chunk=10))) == 105
    assert submitted(broker) == list(range(105))
    assert max(ahead) < 30  # a chunk that Redis has, one that is on its way, and one that is being taken


def test_messages_are_made_in_turns_with_the_loop(app: PenstockApp, broker: redis.Redis) -> None:
    async def submit() -> float:
        async with heartbeat() as heart:
            calls = [jobs.echo.bind(["x" * 100] * 1000) for _ in range(400)]
            await asyncio.sleep(0)
            heart.busiest = 0
            await aenqueue_many(calls)
        return heart.busiest

    assert asyncio.run(submit()) < 0.1
    assert broker.llen("default") == 400


def test_a_wrong_call_is_named_and_nothing_of_its_chunk_is_sent(app: PenstockApp, broker: redis.Redis) -> None:
    calls = [jobs.echo.bind(number) for number in range(25)]
    calls[17] = jobs.echo.bind(object())
    with pytest.raises(ArgumentError, match=r"call 18: argument 1 of tests\.jobs\.echo .*calls 1 to 10 were accepted"):
        asyncio.run(aenqueue_many(calls, chunk=10))
    assert submitted(broker) == list(range(10))
    with pytest.raises(ValueError, match="at least 1"):
        asyncio.run(aenqueue_many(calls, chunk=0))


def test_a_redis_that_goes_down_says_which_calls_were_accepted(app: PenstockApp) -> None:
    def calls() -> Iterator[BoundCall[int]]:
        for number in range(30):
            if number == 20:
                client.configure(Settings.load({"REDIS_URL": f"redis://127.0.0.1:{SILENT_PORT}/0"}))
            yield jobs.add.bind(number, 0)

    with pytest.raises(BrokerUnavailable, match="start it or correct REDIS_URL; calls 1 to 20 were accepted"):
        asyncio.run(aenqueue_many(calls(), chunk=10))


def test_tracing_tools_hear_of_each_job_in_the_context_of_its_caller(app: PenstockApp, broker: redis.Redis) -> None:
    seen: list[str] = []

    def note(headers: Any = None, **_: Any) -> None:
        seen.append(f"{headers['id']} by {getattr(asyncio.current_task(), 'get_name', str)()}")

    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.connect(note)

    async def submit() -> list[str]:
        asyncio.current_task().set_name("the caller")  # type: ignore[union-attr]
        made = await aenqueue_many(jobs.add.bind(number, 0) for number in range(3))
        return [*[job.id for job in made] * 2, *[(await jobs.add.aenqueue(1, 2)).id] * 2]

    try:
        ids = asyncio.run(submit())
    finally:
        for signal in (signals.before_task_publish, signals.after_task_publish):
            signal.disconnect(note)
    assert seen == [f"{id} by the caller" for id in ids]


def test_jobs_come_to_a_coroutine_in_the_order_in_which_they_end(app: PenstockApp) -> None:
    async def iterate() -> list[int]:
        first, second, third = made = await aenqueue_many(jobs.add.bind(number, 0) for number in range(3))
        following = {second.id: third, third.id: first}
        end(app, second.id, 0)
        came: list[int] = []
        async for job in as_ended(made, timeout=20):
            came.append(job.result(timeout=0))
            if job.id in following:
                end(app, following[job.id].id, len(came))
        return came

    assert asyncio.run(iterate()) == [0, 1, 2]


def test_of_no_jobs_none_end_and_time_is_bounded(app: PenstockApp) -> None:
    async def iterate(count: int, timeout: float) -> list[Any]:
        made = await aenqueue_many(jobs.add.bind(number, 0) for number in range(count))
        return [job async for job in as_ended(made, timeout)]

    assert asyncio.run(iterate(0, 0)) == []
    with pytest.raises(TimeoutError, match=r"2 of the jobs have not ended within 0.1 s; they go on"):
        asyncio.run(iterate(2, 0.1))


def end(app: PenstockApp, id: str, value: int) -> None:
    with writing(app.settings.database_url) as connection:
        outcome = Outcome(state=State.SUCCEEDED, result=value)
        end_attempt(connection, Delivery(id=id, task="tests.jobs.add"), outcome)
