"""Threads that wait for servers in place of event loops.

asyncio's own threads are the application's: a handful, and a server that is silent would take them all from it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

T = TypeVar("T")
LINGER_SECONDS = 30.0
"""How long a thread stays that has nothing to do."""
SIZE = 4
"""Threads for calls that nobody carries out together with others."""


class Crew:
    """At most so many threads, begun when there is work, for all event loops of the process; a forked child has none.

    No exit of the process waits for them.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self.forget()
        forget_after_fork(self)

    def forget(self) -> None:
        """Begins anew in a forked child: the threads are not here, and what they had to do is the parent's."""
        self._has_work = threading.Condition(threading.Lock())
        self._work: deque[Callable[[], None]] = deque()
        self._idle = self._count = 0

    def do(self, work: Callable[[], None]) -> None:
        """Has a thread call ``work``, which raises nothing; after what others have asked for."""
        with self._has_work:
            if len(self._work) >= self._idle and self._count < self._size:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._count += 1
            self._work.append(work)
            self._has_work.notify()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work  # Or it would be kept, with all that it holds, until there is more to do.

    def _next(self) -> Callable[[], None] | None:
        with self._has_work:
            self._idle += 1
            has_work = self._has_work.wait_for(lambda: self._work, LINGER_SECONDS)
            self._idle -= 1
            if has_work:
                return self._work.popleft()
            self._count -= 1
            return None


@contextmanager
def noted(say: Callable[[], str]) -> Iterator[None]:
    """Adds a note to a cancellation that passes, or whatever else is no Exception, so that nobody has to guess what has
    become of what was going on.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            error.add_note(say())
        raise


async def in_a_thread(call: Callable[..., T], *args: Any) -> T:
    """Awaits what waits for a server. Cancelled, it goes on in its thread unless it has not begun."""
    import asyncio  # Whoever awaits this has imported it; others save its 20 ms.

    loop = asyncio.get_running_loop()
    answer: Future[T] = loop.create_future()
    _common.do(partial(_carry_out, loop, answer, partial(copy_context().run, call, *args)))
    return await answer


def _carry_out(loop: AbstractEventLoop, answer: Future[T], call: Callable[[], T]) -> None:
    if answer.cancelled():
        return
    try:
        tell(loop, [(answer, call())])
    except BaseException as error:
        tell(loop, [(answer, error)])


def tell(loop: AbstractEventLoop, answers: list[tuple[Future[Any], Any]]) -> None:
    """Hands answers, and errors, to those who await them in a loop."""
    with contextlib.suppress(RuntimeError):  # It is closed: nobody waits any more.
        loop.call_soon_threadsafe(_take, answers)


def _take(answers: list[tuple[Future[Any], Any]]) -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


class Forgetful(Protocol):
    """What a forked child must not share with its parent."""

    def forget(self) -> None:
        """Begins anew."""


def forget_after_fork(thing: Forgetful) -> None:
    """Has ``thing`` begin anew in forked children, for as long as it is kept."""
    _forgetful.add(thing)


def _begin_anew() -> None:
    for thing in _forgetful:
        thing.forget()


_forgetful: weakref.WeakSet[Forgetful] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_anew)
_common = Crew("penstock", SIZE)
