"""Bodies that are coroutines, run for a caller that is none."""

import asyncio
import contextlib
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from penstock import coroutines
from penstock.coroutines import run
from penstock.errors import BodyCancelled
from tests.live import wait_for

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="nothing")


class Limit(Exception):
    """Comes from outside."""


async def loop_of() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_a_thread_keeps_one_loop_for_all_bodies() -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: loops.append(run(loop_of())))
    thread.start()
    thread.join()
    assert run(loop_of()) is run(loop_of())
    assert loops[0] is not run(loop_of())


def test_a_body_sees_the_context_of_its_caller_and_leaves_nothing_in_it() -> None:
    async def body() -> str:
        seen = MARK.get()
        MARK.set("inside")
        return seen

    mark = MARK.set("outside")
    try:
        assert (run(body()), MARK.get()) == ("outside", "outside")
    finally:
        MARK.reset(mark)


def test_what_a_body_has_started_and_not_awaited_ends_with_it() -> None:
    ended: list[str] = []

    async def beside() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("beside")

    async def body() -> asyncio.Task[None]:
        task = asyncio.create_task(beside())
        await asyncio.sleep(0)
        return task

    assert run(body()).cancelled()
    assert ended == ["beside"]


def test_a_body_that_ends_as_cancelled_fails_and_leaves_its_thread_alive() -> None:
    async def body() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(BodyCancelled, match="something that it awaited was cancelled"):
        run(body())


def test_where_a_loop_runs_the_error_says_what_to_do() -> None:
    async def outer() -> None:
        run(loop_of())

    with pytest.raises(RuntimeError, match="await the body, or enqueue the job"):
        run(outer())


# -- exceptions from outside -----------------------------------------------------------------------------------------


@contextmanager
def struck(by: Callable[[FrameType | None], None]) -> Iterator[None]:
    """A signal arrives after a moment."""
    before = signal.signal(signal.SIGALRM, lambda _number, frame: by(frame))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def told(frame: FrameType | None) -> None:
    """As a worker's child has it."""
    error = Limit("enough")
    if not coroutines.interrupt(error, frame):
        raise error


def rudely(_frame: FrameType | None) -> None:
    """As the pools of Celery's have it: wherever the process is."""
    raise Limit("enough")


async def waits() -> None:
    await asyncio.sleep(60)


async def waits_in_a_task() -> None:
    await asyncio.create_task(waits())


async def waits_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(waits())
        group.create_task(waits())


async def waits_in_a_timeout() -> None:
    async with asyncio.timeout(60):
        await waits()


async def computes() -> None:
    while True:
        pass


BODIES = [waits, waits_in_a_task, waits_in_a_group, waits_in_a_timeout, computes]


@pytest.mark.parametrize("by", [told, rudely])
@pytest.mark.parametrize("body", BODIES)
def test_a_limit_is_an_exception_in_the_body(body: Callable[[], Any], by: Callable[[FrameType | None], None]) -> None:
    seen: list[BaseException] = []

    async def watched() -> str:
        try:
            await body()
        except Limit as error:
            seen.append(error)
        return "went on"

    with struck(by):
        assert run(watched()) == "went on"
    assert [str(error) for error in seen] == ["enough"]


@pytest.mark.parametrize("by", [told, rudely])
@pytest.mark.parametrize("body", BODIES)
def test_a_limit_that_a_body_lets_pass_is_what_its_caller_sees(
    body: Callable[[], Any], by: Callable[[FrameType | None], None]
) -> None:
    with struck(by), pytest.raises(Limit, match="enough") as found:
        run(body())
    assert type(found.value) is Limit
    assert run(loop_of())


def test_a_body_that_was_interrupted_can_wait_for_its_last_things() -> None:
    async def body() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(60), 0.01)
            os.environ["PENSTOCKS_LAST_THINGS"] = "done"
        return "not here"

    with struck(told), pytest.raises(Limit):
        run(body())
    assert os.environ.pop("PENSTOCKS_LAST_THINGS") == "done"


def test_an_interruption_of_a_body_that_has_ended_changes_nothing() -> None:
    bodies: list[coroutines.Body[str]] = []

    async def main() -> str:
        body = coroutines.Body(asyncio.sleep(0, "done"))
        body.task = asyncio.get_running_loop().create_task(body)
        bodies.append(body)
        result = await body.task
        body.interrupt(Limit())
        return result

    assert run(main()) == "done"
    wait_for(lambda: bodies[0].task is not None and bodies[0].task.done(), "it has ended")
