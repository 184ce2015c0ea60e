"""Bodies that are coroutines, as the workers of these tests run them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, current_task
from celery.app.log import TaskFormatter

from penstock import Retry, current_job, task
from penstock.app import TaskTwin
from tests.engine.tasks import PATIENCE, note

LOOKS = 3
FORMATTER = TaskFormatter("%(task_id)s", use_color=False)
"""Of Celery's own lines of a task's logger."""
MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


def declare(app: Celery) -> None:
    """Puts the tasks on the app."""
    for declared in BODIES:
        app.register_task(TaskTwin(declared))


def tell(event: str, **facts: Any) -> None:
    """Notes what the body of the current task does."""
    note(event, current_task, **facts)


@task(queue="celery", name="engine.await")
async def wait(path: str, every: float = 0.02) -> None:
    """Runs until there is a file; looks for it every so many seconds."""
    tell("start")
    try:
        deadline = time.monotonic() + PATIENCE
        while not Path(path).exists() and time.monotonic() < deadline:
            await asyncio.sleep(every)
    except asyncio.CancelledError as error:
        tell("cancelled", error=type(error).__name__)
        raise
    tell("end")


@task(queue="celery", name="engine.pause")
async def pause(seconds: float) -> int:
    """Its process."""
    await asyncio.sleep(seconds)
    return os.getpid()


@task(queue="celery", name="engine.idle")
async def idle() -> None:
    """Nothing."""


@task(queue="celery", name="engine.come_back")
async def come_back(times: int) -> None:
    """Kills its process at the first deliveries."""
    tell("start")
    await asyncio.sleep(0)
    if current_task.request.delivery_info["deliveries"] < times:
        os.kill(os.getpid(), signal.SIGKILL)
    tell("end")


@task(queue="celery", name="engine.retried", retry=Retry(attempts=3, base=0.01, on=(ConnectionError,)))
async def retried() -> int:
    """Succeeds at its third attempt."""
    tell("start")
    await asyncio.sleep(0)
    job = current_job()
    assert job is not None
    if job.attempt < 3:
        raise ConnectionError(f"attempt {job.attempt}")
    tell("end")
    return job.attempt


@task(queue="celery", name="engine.eager", retry=Retry(attempts=3, base=0.01))
async def eager() -> None:
    """Is tried again whatever happens."""
    tell("start")
    await asyncio.sleep(PATIENCE)


@task(queue="celery", name="engine.mixed")
async def mixed(number: int, seconds: float) -> list[Any]:
    """What it finds in its contexts after others have run meanwhile: job, task, number, and the same in a subtask."""
    mark = f"{number}"
    assert MARK.get() == ""
    MARK.set(mark)

    async def look() -> list[Any]:
        await asyncio.sleep(seconds)
        job = current_job()
        return [job.id if job else None, current_task.request.id, MARK.get()]

    first = await look()
    second = await asyncio.create_task(look())
    return [first, second]


class Belonging:
    """What the running body finds of itself, wherever code of a job asks: it has to be the same at each look."""

    last = ""
    """The job that has looked last in this process."""

    def __init__(self, number: int) -> None:
        assert MARK.get() == "", f"the mark of {MARK.get()} is here"
        self._mark = f"{number}"
        MARK.set(self._mark)
        self._id = current_task.request.id
        self.has_switched = False
        self.look()

    def look(self) -> None:
        """Fails when anything of another job is here; notes whether another one has run since the last look."""
        job = current_job()
        line = FORMATTER.format(logging.LogRecord("engine", logging.INFO, __file__, 1, "", None, None))
        # The number came as the argument, so none of the five can be wrong in the same way as all others.
        assert list(current_task.request.args) == [int(self._mark)], "another job's arguments"
        found = (job.id if job else None, current_task.request.id, line, MARK.get())
        assert found == (self._id, self._id, self._id, self._mark), f"{self._id} found {found}"
        self.has_switched |= Belonging.last not in ("", self._id)
        Belonging.last = self._id


@task(queue="celery", name="engine.belong")
async def belong(number: int) -> bool:
    """Looks at its contexts while others run; whether there were any."""
    mine = Belonging(number)
    for _ in range(LOOKS):
        await asyncio.sleep(0)
        mine.look()
    await asyncio.create_task(_look_beside(mine))
    return mine.has_switched


async def _look_beside(mine: Belonging) -> None:
    await asyncio.sleep(number_of_seconds())
    mine.look()


@task(queue="celery", name="engine.belong_in_thread")
def belong_in_thread(number: int) -> bool:
    """The same where each job has a thread."""
    mine = Belonging(number)
    for _ in range(LOOKS):
        time.sleep(0)
        mine.look()
    time.sleep(number_of_seconds())
    mine.look()
    return mine.has_switched


def number_of_seconds() -> float:
    """Up to two milliseconds, so that jobs go on in another order than they began."""
    return random.random() / 500  # noqa: S311


@task(queue="celery", name="engine.stubborn")
async def stubborn(path: str) -> str:
    """Told to stop, it stops and says so."""
    tell("start")
    try:
        await asyncio.sleep(PATIENCE)
    except SoftTimeLimitExceeded:
        Path(path).touch()
        return "told to stop"
    return "nobody minds"


@task(queue="celery", name="engine.cleanly")
async def cleanly(seconds: float) -> None:
    """Takes a while over its last things."""
    tell("start")
    try:
        await asyncio.sleep(PATIENCE)
    finally:
        await asyncio.sleep(seconds)
        tell("last")


@task(queue="celery", name="engine.fall")
async def fall() -> None:
    """Fails."""
    await asyncio.sleep(0)
    raise ValueError("no")


@task(queue="celery", name="engine.cancel_itself")
async def cancel_itself() -> None:
    """Ends as cancelled, though nobody has cancelled it."""
    this = asyncio.current_task()
    assert this is not None
    this.cancel()
    await asyncio.sleep(0)


@task(queue="celery", name="engine.exit")
async def leave() -> None:
    """Would end its process."""
    await asyncio.sleep(0)
    sys.exit(3)


@task(queue="celery", name="engine.block")
async def block(seconds: float) -> None:
    """Holds up its loop."""
    tell("start")
    time.sleep(seconds)
    tell("end")


@task(queue="celery", name="engine.plain")
def plain(path: str) -> None:
    """No coroutine; runs until there is a file."""
    tell("start")
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    tell("end")


BODIES = (
    wait,
    pause,
    idle,
    come_back,
    retried,
    eager,
    mixed,
    belong,
    belong_in_thread,
    stubborn,
    cleanly,
    fall,
    cancel_itself,
    leave,
    block,
    plain,
)
