"""Somebody else's code that makes a call: it gets a second, so that no other schedule waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from penstock.errors import PenstockError

T = TypeVar("T")
SECONDS = 1.0


class TooSlow(PenstockError):
    """The call was not made in time; its schedule's fire is missed. Compute what takes long in the task."""


class _Hand:
    """A thread that does one thing after the other, and ends with the process whatever it is at."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        threading.Thread(target=self._run, name="calls", daemon=True).start()

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Has it done."""
        future: Future[T] = Future()
        self._tasks.put((call, future))
        return future

    def _run(self) -> None:
        while True:
            call, future = self._tasks.get()
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


_hand: _Hand | None = None


def within_a_second(call: Callable[[], T]) -> T:
    """What a call returns; one that takes longer goes on by itself, and nobody looks at what becomes of it.

    Raises:
        TooSlow: it has not returned in time.
    """
    global _hand
    _hand = _hand or _Hand()
    begun = _hand.begin(call)
    try:
        return begun.result(SECONDS)
    except TimeoutError:
        if begun.done():
            raise  # The call's own.
        _hand = None
        raise TooSlow(f"it took longer than {SECONDS:g} s; compute in the task what takes so long") from None
