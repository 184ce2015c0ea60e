"""Requests of many coroutines, carried out together: one round trip for all that have come since the last one.

A thread for each of them would be slow, and a thousand coroutines would need a thousand.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Generic, TypeVar

from penstock.threads import Crew, forget_after_fork, tell

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

Q = TypeVar("Q")
A = TypeVar("A")


class Request(Generic[Q, A]):
    """What one coroutine wants."""

    __slots__ = ("answer", "is_begun", "loop", "wanted")

    def __init__(self, wanted: Q, loop: AbstractEventLoop) -> None:
        self.wanted = wanted
        self.loop = loop
        self.answer: Future[A] = loop.create_future()
        """To be awaited."""
        self.is_begun = False
        """Whether a thread has taken it, which takes none that was cancelled before."""


class Gathering(Generic[Q, A]):
    """Takes requests of coroutines, of any loop, and carries out those that have come meanwhile when it is free again.

    For all threads, and anew in a forked child: what was asked for before is its parent's.
    """

    def __init__(
        self, name: str, carry_out: Callable[[list[Q]], Sequence[A | Exception]], *, threads: int, most: int
    ) -> None:
        """Args:
        name: of its threads.
        carry_out: gives an answer, or an error, for each of what is wanted, in this order. It may wait.
        threads: how many wait at once; a single one keeps requests in their order.
        most: requests that are carried out together.
        """
        self._carry_out = carry_out
        self._threads = threads
        self._most = most
        self._crew = Crew(name, threads)
        self.forget()
        forget_after_fork(self)

    def forget(self) -> None:
        """Begins anew in a forked child."""
        self._lock = threading.Lock()
        self._requests: deque[Request[Q, A]] = deque()
        self._busy = 0

    def put(self, wanted: Q) -> Request[Q, A]:
        """Has something carried out; the ``answer`` of what is returned is to be awaited."""
        import asyncio

        request: Request[Q, A] = Request(wanted, asyncio.get_running_loop())
        with self._lock:
            self._requests.append(request)
            is_free = self._busy < self._threads
            self._busy += is_free
        if is_free:
            self._crew.do(self._work)
        return request

    def was_begun(self, request: Request[Q, A]) -> bool:
        """Whether somebody carries a cancelled request out all the same, or has."""
        with self._lock:  # Whoever takes at this moment has looked whether it is cancelled, or will see that it is.
            return request.is_begun

    def _work(self) -> None:
        while taken := self._take():
            try:
                answers = self._carry_out([request.wanted for request in taken])
            except Exception as error:
                answers = [error] * len(taken)
            pairs = zip(taken, answers, strict=True)
            for loop, group in groupby(pairs, lambda pair: pair[0].loop):
                tell(loop, [(request.answer, answer) for request, answer in group])

    def _take(self) -> list[Request[Q, A]]:
        """The next requests; none: the thread is free, and whoever comes from now on wakes it."""
        taken: list[Request[Q, A]] = []
        with self._lock:
            while self._requests and len(taken) < self._most:
                request = self._requests.popleft()
                if not request.answer.cancelled():
                    request.is_begun = True
                    taken.append(request)
            if not taken:
                self._busy -= 1
        return taken
