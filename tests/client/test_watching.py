"""What the handle of a job knows of it, and who writes that: when it is watched, asked for its log, or waited for."""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock import Job, Settings, State, as_ended, client
from penstock.app import PenstockApp
from penstock.errors import ArgumentError, NotCancellable
from penstock.ledger.reports import write_chunks, write_reports
from penstock.ledger.session import writing
from tests import jobs
from tests.client.loops import mute_server
from tests.ledger.making import delivery, end, running, write

NOWHERE = "redis://127.0.0.1:1/0"


def said(url: str, id: str, done: float, lines: int = 0) -> None:
    """How far a job is, and so many lines: one of each level from DEBUG on."""
    row = {"job_id": id, "began": 1, "token": None, "total": 9.0, "note": None, "at": datetime.now(UTC)}
    told = [(number, 0.0, number * 10, "shop", f"line {number}") for number in range(1, lines + 1)]
    with writing(url) as connection:
        write_reports(connection, [{**row, "done": done, "points": None, "lines": lines}])
        write_chunks(
            connection, [{"job_id": id, "began": 1, "place": 0, "last": lines, "lines": told}] if lines else []
        )


@pytest.fixture
def ended(app: PenstockApp) -> str:
    """A job that has ended, and had said how far it was."""
    write(app.settings.database_url, end(delivery("one")))
    said(app.settings.database_url, "one", 7)
    return "one"


async def collected(found: Any) -> list[Any]:
    return [each async for each in found]


def test_a_job_that_has_ended_comes_with_how_far_it_was(ended: str) -> None:
    (here,) = as_ended([Job[Any](ended, "t")], timeout=10)
    (there,) = asyncio.run(collected(as_ended([Job[Any](ended, "t")], timeout=10)))
    for job in (here, there):
        assert job.progress is not None
        assert job.progress.done == 7


class Written(Job[Any]):
    """A handle that notes which threads write it."""

    threads: set[int] = set()  # noqa: RUF012  a handle has slots

    def __setattr__(self, name: str, value: object) -> None:
        self.threads.add(threading.get_ident())
        super().__setattr__(name, value)


def test_a_handle_is_written_by_the_loop_that_awaits_and_by_no_other_thread(ended: str) -> None:
    async def ask() -> Job[Any]:
        job = Written(ended, "t")
        (news,) = await collected(job.awatch(timeout=10))
        assert news.state is State.SUCCEEDED
        job.row = None
        with pytest.raises(NotCancellable):
            await job.acancel()
        return job

    Written.threads.clear()
    job = asyncio.run(ask())
    assert job.state is State.SUCCEEDED
    assert Written.threads == {threading.get_ident()}


def test_watching_in_a_loop_ends_in_time_while_sql_is_silent(app: PenstockApp) -> None:
    async def ask() -> float:
        started = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError, match="the ledger did not say in time"):
            await anext(aiter(Job[Any]("one", "t").awatch(timeout=0.2)))
        return asyncio.get_running_loop().time() - started

    with mute_server() as port:
        url = f"postgresql://127.0.0.1:{port}/db"
        client.configure(Settings.load({"REDIS_URL": app.settings.redis_url, "DATABASE_URL": url}))
        assert asyncio.run(ask()) < 4  # A connection is waited for longer than that.


ASKING: dict[str, Callable[..., Any]] = {
    "watch": Job.watch,
    "awatch": Job.awatch,
    "logs": Job.logs,
    "alogs": lambda job, **options: asyncio.run(job.alogs(**options)),
}


@pytest.mark.parametrize("after", ["3", 3], ids=["text", "number"])
@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_what_is_no_cursor_is_refused_by_the_call_itself(app: PenstockApp, ask: Any, after: Any) -> None:
    with pytest.raises(ArgumentError, match="is no cursor of a log; take one that was told with its lines"):
        ask(Job[Any]("one", "t"), after=after)


@pytest.mark.parametrize("level", ["warning", "WARNING", logging.WARNING, 25])
def test_a_level_is_named_or_given_as_a_number(app: PenstockApp, level: Any) -> None:
    write(app.settings.database_url, running(delivery("one")))
    said(app.settings.database_url, "one", 1, lines=4)
    assert [line.level for line in Job[Any]("one", "t").logs(level=level)] == ["WARNING", "ERROR"]


@pytest.mark.parametrize("level", ["loud", True, None, 1.5])
def test_what_is_no_level_is_refused_with_those_that_there_are(app: PenstockApp, level: Any) -> None:
    with pytest.raises(ArgumentError, match=r"one of debug, info, .*, or a number as logging\.INFO is"):
        Job[Any]("one", "t").logs(level=level)


def test_a_job_that_was_seen_to_wait_is_told_to_wait_while_redis_is_away(app: PenstockApp) -> None:
    job = jobs.add.enqueue(1, 2)
    assert job.refresh().state is State.QUEUED
    client.configure(Settings.load({"REDIS_URL": NOWHERE, "DATABASE_URL": app.settings.database_url}))
    assert next(job.watch(timeout=10)).state is State.QUEUED
    assert next(Job[int](job.id, job.task).watch(timeout=10)).state is None
