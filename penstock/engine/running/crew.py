"""How the jobs that a child has claimed are run: the one part in which kinds of children differ.

Whatever the kind, a job runs by the same code, from the same message to the same outcome in the same ring.
"""

from __future__ import annotations

import contextvars
import heapq
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from penstock.engine.place import Place
from penstock.engine.running.desk import Desk, ManyDesks
from penstock.engine.running.opening import Job
from penstock.engine.slots import Slot
from penstock.errors import BodyLeft

logger = logging.getLogger(__name__)
Run = Callable[[Job], None]
NOBODY_WAITS = -1


class Terminated(BaseException):
    """A job was revoked while it ran: it leaves its tracer without an outcome, which whoever revoked it records."""


def left(error: BaseException) -> BodyLeft:
    """In place of an exception that would end a process which others share."""
    return BodyLeft(f"the body raised {error!r}, which would have ended the jobs beside it as well")


class Crew(Protocol):
    """Runs jobs of one child. Called by the child's main thread alone, but for :meth:`obey`."""

    is_beside: bool
    """Whether jobs go on while the child claims others."""

    @property
    def running(self) -> int:
        """Jobs that were given to it and have not ended."""

    @property
    def waiting(self) -> int:
        """Those of them that have not begun."""

    @property
    def room(self) -> int | None:
        """How many more would begin now; negative: so many wait. None: each is over at once, and begins at once."""

    def start(self, job: Job, incarnation: int, run: Run) -> None:
        """Runs a job; it has ended at the return, or goes on beside as soon as there is a place for it.

        Args:
            incarnation: number of the one under which it was claimed.
            run: runs it to its end where it is called.
        """

    def take_back(self) -> Sequence[Job]:
        """The jobs that have not begun, and now will not; the last one first."""

    def ask_for_wake(self, running: int) -> None:
        """Has the child woken when only so many jobs run or wait. Whoever waits for it looks once more after asking."""

    def obey(self) -> None:
        """Looks what is asked of single jobs in their places, for a signal's handler."""

    def is_cancelled(self, id: str) -> bool:
        """Whether the job of this id, which runs here, is cancelled; from any thread."""

    def close(self) -> None:
        """After the last job."""


class Alone:
    """One at a time, in the child's only thread."""

    is_beside = False
    running = waiting = 0
    room = None

    def __init__(self, place: Place) -> None:
        self._place = place

    def start(self, job: Job, incarnation: int, run: Run) -> None:
        """See :class:`Crew`."""
        run(job)

    def take_back(self) -> Sequence[Job]:
        """None: whatever was given to it has ended."""
        return ()

    def ask_for_wake(self, running: int) -> None:
        """Nothing: no job ends while the child waits."""

    def obey(self) -> None:
        """Nothing: what is meant for the job comes by a signal of its own, and ends the child otherwise."""

    def is_cancelled(self, id: str) -> bool:
        """See :class:`Crew`. Whatever id a job has that a body runs by itself, it is this one that runs."""
        return self._place.is_cancelled

    def close(self) -> None:
        """Nothing is left."""


class Errand:
    """One job among many."""

    at: int
    """Number of its place, once it has begun."""
    desk: Desk

    def __init__(self, job: Job, incarnation: int, run: Run) -> None:
        self.job = job
        self.incarnation = incarnation
        self.run = run


class Beside:
    """What crews have in common that run many jobs at once: places, and who waits for one.

    What is given goes into an inbox, from which whoever has a place takes it. Each job is taken in one step of the
    deque, either from the left in order to begin or from the right in order to go back, so none does both.
    """

    is_beside = True

    def __init__(self, slot: Slot, desks: ManyDesks, wake: Callable[[], None], let_go: Callable[[Job], object]) -> None:
        """Args:
        wake: wakes the child's main thread.
        let_go: gives up a claim that somebody else ends.
        """
        self._slot = slot
        self._desks = desks
        self._wake = wake
        self._let_go = let_go
        self._lock = threading.Lock()
        self._inbox: deque[Any] = deque()
        self._errands: dict[int, Any] = {}
        """Those that have begun, by the numbers of their claims."""
        self._free = list(range(len(slot.places)))
        self._given = self.ended = 0
        """Jobs so far. The first is the main thread's to count, the second whoever has the lock."""
        self._awaited = NOBODY_WAITS
        self._context = contextvars.copy_context()
        """Each job has a copy of it."""
        for place in slot.places:
            place.put("pid", slot.get("pid"))
            place.put("fork", slot.get("fork"))

    @property
    def running(self) -> int:
        """See :class:`Crew`."""
        return self._given - self.ended

    @property
    def waiting(self) -> int:
        """See :class:`Crew`."""
        return len(self._inbox)

    @property
    def room(self) -> int:
        """See :class:`Crew`."""
        return len(self._slot.places) - self.running

    def start(self, job: Job, incarnation: int, run: Run) -> None:
        """See :class:`Crew`."""
        self._given += 1
        self._inbox.append(self._errand(job, incarnation, run))
        self._call()

    def take_back(self) -> Sequence[Job]:
        """See :class:`Crew`."""
        jobs = []
        while self._inbox:
            with suppress(IndexError):  # Somebody was quicker, and has begun it.
                jobs.append(self._inbox.pop().job)
        self._given -= len(jobs)
        return jobs

    def _call(self) -> None:
        """Has somebody look into the inbox who looks at it after this call."""
        raise NotImplementedError

    def ask_for_wake(self, running: int) -> None:
        """See :class:`Crew`."""
        self._awaited = running

    def is_cancelled(self, id: str) -> bool:
        """See :class:`Crew`."""
        running = [each for each in list(self._errands.values()) if each.job.headers.get("id") == id]
        return any(errand.desk.place.is_cancelled for errand in running)

    def _run(self, errand: Errand) -> None:
        """From the message to the outcome, and out of its place."""
        try:
            errand.run(errand.job)
        except Terminated:
            self._let_go(errand.job)
        except BaseException:
            # As where a job has the process for itself: its claim, and those of the others, are the keeper's now.
            logger.exception("a job cannot be run, or has ended its process; its child ends")
            logging.shutdown()
            os._exit(1)
        self._end(errand)

    def _seat(self, errand: Errand) -> None:
        """Gives it a place, for somebody who knows that there is a free one."""
        with self._lock:
            errand.at = at = heapq.heappop(self._free)
            if at >= self._slot.get("used"):
                self._slot.put("used", at + 1)
        place = self._slot.places[at]
        place.put("incarnation", errand.incarnation)
        errand.desk = Desk(place)
        self._errands[errand.job.number] = errand

    def _errand(self, job: Job, incarnation: int, run: Run) -> Errand:
        return Errand(job, incarnation, run)

    def _end(self, errand: Errand) -> None:
        del self._errands[errand.job.number]
        errand.desk.place.end(0)
        with self._lock:
            heapq.heappush(self._free, errand.at)
            self.ended += 1
        if self.running <= self._awaited:
            self._awaited = NOBODY_WAITS
            self._wake()
