"""Asynchronous sessions: their rows can only be inserted by awaiting them. PostgreSQL has the driver for it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import NullPool

import penstock
from penstock import client, enqueue_many
from penstock.app import PenstockApp
from penstock.errors import ArgumentError, OutboxError
from penstock.ledger.session import reading
from penstock.ledger.tables import outbox as table
from tests import jobs
from tests.conftest import deployment, producer
from tests.outbox.ground import Ground

InEngine = Callable[[AsyncEngine], Awaitable[None]]


@pytest.fixture
def app(postgresql_ground: Ground, tmp_path: Any) -> Iterator[PenstockApp]:
    """A producer's app on PostgreSQL."""
    with producer(deployment(postgresql_ground.broker_url, postgresql_ground.database_url, tmp_path)) as made:
        yield made


@pytest.fixture
def run(app: PenstockApp, postgresql_ground: Ground) -> Callable[[InEngine], list[str]]:
    """Runs a coroutine with the application's engine; the ids of the jobs that are in the outbox afterwards."""

    def run(body: InEngine) -> list[str]:
        async def main() -> None:
            engine = create_async_engine(postgresql_ground.database_url, poolclass=NullPool)
            await body(engine)
            await engine.dispose()

        asyncio.run(main())
        with reading(postgresql_ground.database_url) as connection:
            return list(connection.execute(select(table.c.job_id).order_by(table.c.number)).scalars())

    return run


Run = Callable[[InEngine], list[str]]


def test_a_job_goes_with_the_commit(run: Run) -> None:
    async def body(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            await jobs.add.options(session=session).aenqueue(1, 2)
            await session.commit()
            await jobs.add.options(session=session).aenqueue(3, 4)
            await session.rollback()

    assert len(run(body)) == 1


def test_a_connection_is_as_good_as_a_session(run: Run) -> None:
    async def body(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await jobs.add.options(session=connection).aenqueue(1, 2)

    assert len(run(body)) == 1


def test_so_is_a_registry_of_sessions(run: Run) -> None:
    async def body(engine: AsyncEngine) -> None:
        registry = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
        await jobs.add.options(session=registry).aenqueue(1, 2)
        await registry.commit()
        await registry.remove()

    assert len(run(body)) == 1


def test_a_block_takes_celerys_calls_and_ours_and_many(run: Run, app: PenstockApp) -> None:
    made: list[str] = []

    async def body(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            async with penstock.outbox(session):
                made.append(app.tasks["tests.jobs.add"].delay(1, 2).id)
                made.append(jobs.add.enqueue(3, 4).id)
                made.append((await jobs.add.aenqueue(5, 6)).id)
                made.extend(job.id for job in enqueue_many(jobs.add.bind(number, 0) for number in range(3)))
            await session.commit()

    assert run(body) == made


def test_a_block_that_fails_inserts_nothing(run: Run) -> None:
    async def block(session: AsyncSession) -> None:
        async with penstock.outbox(session):
            jobs.add.enqueue(1, 2)
            jobs.add.enqueue(1)  # type: ignore[call-arg]

    async def body(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            with pytest.raises(ArgumentError):
                await block(session)
            await session.commit()

    assert run(body) == []


def test_a_synchronous_session_may_be_used_by_a_coroutine(run: Run) -> None:
    async def body(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:

            def enqueue(inner: Any) -> None:
                jobs.add.options(session=inner).enqueue(1, 2)

            await session.run_sync(enqueue)
            await session.commit()

    assert len(run(body)) == 1


@pytest.mark.parametrize(
    "way",
    [
        lambda session: jobs.add.options(session=session).enqueue(1, 2),
        lambda session: enqueue_many([jobs.add.bind(1, 2)], session=session),
        lambda session: penstock.outbox(session).__enter__(),
    ],
    ids=["enqueue", "enqueue_many", "block"],
)
def test_what_cannot_await_says_what_can(run: Run, way: Callable[[AsyncSession], Any]) -> None:
    async def body(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            with pytest.raises(OutboxError, match=r"aenqueue.*async with penstock.outbox"):
                way(session)

    assert run(body) == []


def test_two_coroutines_have_blocks_of_their_own(run: Run) -> None:
    async def one(engine: AsyncEngine, entered: asyncio.Event, left: asyncio.Event) -> None:
        async with AsyncSession(engine) as session:
            async with penstock.outbox(session):
                entered.set()
                await left.wait()
                jobs.add.enqueue(1, 2)
            await session.rollback()

    async def other(engine: AsyncEngine, entered: asyncio.Event, left: asyncio.Event) -> None:
        await entered.wait()
        async with AsyncSession(engine) as session:
            await jobs.add.options(session=session).aenqueue(3, 4)
            await session.commit()
        left.set()

    async def body(engine: AsyncEngine) -> None:
        events = asyncio.Event(), asyncio.Event()
        await asyncio.gather(one(engine, *events), other(engine, *events))

    assert len(run(body)) == 1


def test_without_a_session_aenqueue_reaches_redis_and_does_not_hold_up_the_loop(
    broker_url: str, postgresql_ground: Ground, app: PenstockApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def main() -> None:
        publish = client.Publisher.publish
        loop = asyncio.get_running_loop()

        def publish_when_the_loop_has_turned(*arguments: Any) -> None:
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10)
            publish(*arguments)

        monkeypatch.setattr(client.Publisher, "publish", publish_when_the_loop_has_turned)
        waiting = asyncio.create_task(jobs.add.aenqueue(1, 2))
        await asyncio.sleep(0)
        released.set()
        await waiting

    asyncio.run(main())
    assert postgresql_ground.client.llen("default") == 1
