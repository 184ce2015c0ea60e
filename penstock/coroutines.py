"""Running the body of an ``async def`` task for a caller that is no coroutine: Celery's tracer, in whatever pool.

Where a thread runs one job at a time it keeps one event loop for all of them, so that a client that belongs to a loop
outlives a job. A child of kind asyncio, whose loop runs already, puts a driver of its own in place of that.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import cache
from types import FrameType
from typing import Any, TypeVar

from penstock.errors import BodyCancelled, JobCancelled

T = TypeVar("T")
Driver = Callable[[Coroutine[Any, Any, Any]], Any]
LAST_SECONDS = 5.0
"""How long a body may take over an exception that was raised in its loop, before both are given up."""
INSIDE = ("asyncio", "selectors", __name__)
"""Modules between the loop and a body: an exception in them would cost the loop a step that somebody waits for."""


class Interruption(asyncio.CancelledError):
    """A cancellation that says why: it is an instance of the error's class as well, so that a body can catch that, and
    all of asyncio treats it as the cancellation that it is (task groups, timeouts, locks).
    """

    error: BaseException


@cache
def _interruption_by(kind: Any) -> type[Interruption]:
    return type(kind.__name__, (kind, Interruption), {"__module__": kind.__module__})


class Body(Coroutine[Any, Any, T]):
    """A coroutine that can be cancelled with an error instead of a bare ``CancelledError``. The top of its task."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._pending: BaseException | None = None
        self.is_cancelled = False
        """Whether it has heard that its job is cancelled."""
        self.task: asyncio.Task[T] | None = None

    def interrupt(self, error: BaseException) -> None:
        """Raises the error where the body waits. In the loop's thread."""
        if self.task is not None and not self.task.done():
            self._pending = error
            self.is_cancelled = self.is_cancelled or isinstance(error, JobCancelled)
            self.task.cancel()

    def send(self, value: Any) -> Any:
        """A coroutine's."""
        return self._coroutine.send(value)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """A coroutine's; in place of the cancellation that was asked for comes the error that it was asked for with."""
        error, given = self._pending, value if value is not None else kind
        is_cancellation = isinstance(given, asyncio.CancelledError) or given is asyncio.CancelledError
        if error is None or not is_cancellation:
            return self._coroutine.throw(given if isinstance(given, BaseException) else given())
        self._pending = None
        if self.task is not None:
            self.task.uncancel()  # What the body awaits afterwards is not cancelled.
        interruption = _interruption_by(type(error))(*error.args)  # type: ignore[arg-type]
        interruption.error = error
        return self._coroutine.throw(interruption)

    def close(self) -> None:
        """A coroutine's."""
        self._coroutine.close()

    def __await__(self) -> Any:
        """A coroutine's."""
        return self._coroutine.__await__()


def as_seen_outside(error: BaseException, body: Body[Any] | None = None) -> BaseException:
    """What a tracer is to see of an error that ended a body: a cancellation would end its process.

    Args:
        body: which it ended. Of one whose job is cancelled, any cancellation is that one: what is between the two may
            have made another of it.
    """
    if isinstance(error, Interruption):
        return error.error.with_traceback(error.__traceback__)
    if isinstance(error, asyncio.CancelledError):
        if body is not None and body.is_cancelled:
            return JobCancelled().with_traceback(error.__traceback__)
        return BodyCancelled(
            "the body ended as cancelled, and nobody has cancelled the job: something that it awaited was cancelled "
            "elsewhere; catch asyncio.CancelledError around that"
        ).with_traceback(error.__traceback__)
    return error


# -- one at a time in a thread ---------------------------------------------------------------------------------------


class _Here(threading.local):
    loop: asyncio.AbstractEventLoop | None = None
    body: Body[Any] | None = None


_here = _Here()
_everywhere: dict[int, tuple[asyncio.AbstractEventLoop, Body[Any]]] = {}
"""What runs in each thread that has a loop of its own, by the thread's number."""
_driver: Driver | None = None


def set_driver(driver: Driver | None) -> None:
    """Has this process run bodies by ``driver`` from now on; None: each thread by a loop of its own."""
    global _driver
    _driver = driver


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a body to its end; what it returns, or raises.

    Raises:
        BodyCancelled: it ended as cancelled, and nobody had cancelled it.
        RuntimeError: a loop runs in this thread already, so that waiting here would stop what it waits for.
    """
    if _driver is not None:
        return _driver(coroutine)  # type: ignore[no-any-return]
    if _is_greened():
        return _run_beside(coroutine)
    return run_here(coroutine)


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """By this thread's own loop; see :func:`run`."""
    if asyncio._get_running_loop() is not None:
        coroutine.close()
        raise RuntimeError("an event loop runs in this thread; await the body, or enqueue the job")
    loop = _here.loop = _here.loop or asyncio.new_event_loop()
    body = Body(coroutine)
    # A task's context is a copy of ours already, which asyncio makes.
    task = body.task = loop.create_task(body)
    _here.body = body
    _everywhere[threading.get_ident()] = loop, body
    try:
        return loop.run_until_complete(task)
    except BaseException as error:
        if task.done():
            raise as_seen_outside(error, body) from error.__cause__
        return _deliver(loop, task, body, error)
    finally:
        _here.body = None
        del _everywhere[threading.get_ident()]
        _cancel_rest(loop)


def _deliver(loop: asyncio.AbstractEventLoop, task: asyncio.Task[T], body: Body[T], error: BaseException) -> T:
    """A signal has raised in the loop, between two steps of the body, which has to hear of it."""
    if isinstance(error, (Exception, JobCancelled)):
        body.interrupt(error)
        loop.run_until_complete(asyncio.wait([task], timeout=LAST_SECONDS))
    # Whatever the loop was about to do may be lost: the next body gets another one.
    _here.loop = None
    if not task.done():
        raise error
    try:
        return task.result()
    except BaseException as ended:
        raise as_seen_outside(ended, body) from ended.__cause__


def _cancel_rest(loop: asyncio.AbstractEventLoop) -> None:
    """What the body has started and not awaited ends with it, as with ``asyncio.run``: nobody would turn the loop."""
    if rest := asyncio.all_tasks(loop):
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))


def interrupt(error: BaseException, frame: FrameType | None) -> bool:
    """Has a body that runs in this thread hear of an error, for a signal's handler; False: raise it where you are.

    Args:
        frame: what the signal has interrupted.
    """
    body, loop = _here.body, _here.loop
    if body is None or loop is None:
        return False
    module = str(frame.f_globals.get("__name__", "")) if frame is not None else ""
    if asyncio.current_task(loop) is body.task and not module.startswith(INSIDE):
        return False  # It computes, or has called something that blocks.
    loop.call_soon_threadsafe(body.interrupt, error)
    return True


def interrupt_in(thread: int, error: BaseException) -> bool:
    """Has a body that runs in another thread hear of an error where it waits; False: none does."""
    loop, body = _everywhere.get(thread, (None, None))
    if loop is None or body is None:
        return False
    loop.call_soon_threadsafe(body.interrupt, error)
    return True


# -- gevent ----------------------------------------------------------------------------------------------------------


def _is_greened() -> bool:
    """Whether gevent has patched this process: then all jobs share a thread, which has room for one loop only."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def _run_beside(coroutine: Coroutine[Any, Any, T]) -> T:
    """In a thread of gevent's, while other jobs go on."""
    import gevent

    context = contextvars.copy_context()
    return gevent.get_hub().threadpool.apply(context.run, (run_here, coroutine))  # type: ignore[no-any-return]
