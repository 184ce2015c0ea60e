"""Asynchronous sessions: their rows can only be inserted by awaiting them. PostgreSQL has the driver for it."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import NullPool

import penstock
from penstock import aenqueue_many, enqueue_many
from penstock.app import PenstockApp
from penstock.errors import ArgumentError, OutboxError
from penstock.ledger.session import reading
from penstock.ledger.tables import outbox as table
from penstock.task import BoundCall
from tests import jobs
from tests.conftest import deployment, producer
from tests.live import wait_for
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


def test_calls_that_are_cancelled_while_their_rows_are_inserted_say_what_becomes_of_them(
    run: Run, postgresql_ground: Ground
) -> None:
    notes: list[str] = []

    async def cancelled(submit: Callable[[AsyncSession], Awaitable[Any]], engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session, engine.connect() as other:
            await other.execute(text("LOCK TABLE outbox IN EXCLUSIVE MODE"))
            waiting = asyncio.ensure_future(submit(session))
            await asyncio.to_thread(wait_for, lambda: waits_for_a_lock(postgresql_ground), "its rows wait")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError) as raised:
                await waiting
            notes.extend(raised.value.__notes__)

    async def body(engine: AsyncEngine) -> None:
        await cancelled(lambda session: jobs.add.options(session=session).aenqueue(1, 2), engine)
        calls = [jobs.add.bind(1, 2), jobs.add.bind(3, 4)]
        await cancelled(lambda session: aenqueue_many(calls, session=session), engine)

    assert run(body) == []
    one, two = notes
    unknown = "not submitted, unless the session's transaction has it and is committed"
    assert re.fullmatch(rf"job [0-9a-f-]{{36}}: {unknown}", one)
    assert re.fullmatch(rf"job [0-9a-f-]{{36}} and 1 more of the same block: {unknown}", two)


def waits_for_a_lock(ground: Ground) -> bool:
    """Whether somebody waits for a lock in the ledger's database."""
    with reading(ground.database_url) as connection:
        waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE NOT granted AND "
        return bool(connection.execute(text(f"{waiting} d.datname = current_database()")).scalar())


def test_many_of_an_asynchronous_session_that_end_by_an_error_are_not_said_to_be_in_it(run: Run) -> None:
    call = jobs.add.bind(1, 2)

    async def body(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            with pytest.raises(ArgumentError, match="were kept for the session's transaction, and put there if the"):
                await aenqueue_many([call, call, call._replace(args=())], chunk=2, session=session)
            await session.commit()

    assert run(body) == []


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


@pytest.mark.parametrize("kind", ["session", "connection", "registry"])
def test_many_go_with_the_commit_of_what_has_to_be_awaited(run: Run, kind: str) -> None:
    made: list[str] = []

    async def calls() -> AsyncIterator[BoundCall[int]]:
        for number in range(450):  # more than one statement takes
            yield jobs.add.bind(number, 0)

    async def put(session: Any) -> None:
        made.extend(job.id for job in await aenqueue_many(calls(), chunk=300, session=session))

    async def body(engine: AsyncEngine) -> None:
        if kind == "connection":
            async with engine.begin() as connection:
                await put(connection)
            return
        registry = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
        session = registry() if kind == "session" else registry
        await put(session)
        await session.rollback()
        made.clear()
        await put(session)
        await session.commit()
        await registry.remove()

    assert run(body) == made


def test_what_a_transaction_needs_is_imported_beside_the_loop(app: PenstockApp) -> None:
    code = """
import asyncio, sys, threading
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool
from penstock import Settings, task

@task()
def note(value: int) -> int:
    return value

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith("penstock.ledger") and threading.current_thread() is threading.main_thread():
            print("by the loop:", name)

async def main():
    sys.meta_path.insert(0, Watch)
    engine = create_async_engine(Settings.load().database_url, poolclass=NullPool)
    async with AsyncSession(engine) as session:
        await note.options(session=session).aenqueue(1)
        await session.commit()
    await engine.dispose()
    print("penstock.ledger.outbox" in sys.modules)

asyncio.run(main())
"""
    variables = {**os.environ, "DATABASE_URL": app.settings.database_url, "REDIS_URL": app.settings.redis_url}
    output = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["True"]
