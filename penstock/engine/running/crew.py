"""How the jobs that a child has claimed are run: the one part in which kinds of children differ.

Whatever the kind, a job runs by the same code, from the same message to the same outcome in the same ring.
"""

from __future__ import annotations

import contextvars
import heapq
import logging
import os
import threading
from collections.abc import Callable
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
        """Jobs that were started and have not ended."""

    @property
    def room(self) -> int | None:
        """How many more may be started now; None: that is for others to judge, for each is over at once."""

    def start(self, job: Job, incarnation: int, run: Run) -> None:
        """Runs a job; it has ended at the return, or goes on beside.

        Args:
            incarnation: number of the one under which it was claimed.
            run: runs it to its end where it is called.
        """

    def ask_for_wake(self, running: int) -> None:
        """Has the child woken when only so many jobs run. Whoever waits for that looks once more after asking."""

    def obey(self) -> None:
        """Looks what is asked of single jobs in their places, for a signal's handler."""

    def is_cancelled(self, id: str) -> bool:
        """Whether the job of this id, which runs here, is cancelled; from any thread."""

    def close(self) -> None:
        """After the last job."""


class Alone:
    """One at a time, in the child's only thread."""

    is_beside = False
    running = 0
    room = None

    def __init__(self, place: Place) -> None:
        self._place = place

    def start(self, job: Job, incarnation: int, run: Run) -> None:
        """See :class:`Crew`."""
        run(job)

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

    def __init__(self, at: int, job: Job, desk: Desk, run: Run) -> None:
        """Args:
        at: number of its place.
        """
        self.at = at
        self.job = job
        self.desk = desk
        self.run = run


class Beside:
    """What crews have in common that run many jobs at once: places, and who waits for one."""

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
        self._errands: dict[int, Any] = {}
        """Those that have begun, by the numbers of their claims."""
        self._free = list(range(len(slot.places)))
        self._started = self._ended = 0
        """The first is the main thread's to count, the second whoever has the lock."""
        self._awaited = NOBODY_WAITS
        self._context = contextvars.copy_context()
        """Each job has a copy of it."""
        for place in slot.places:
            place.put("pid", slot.get("pid"))
            place.put("fork", slot.get("fork"))

    @property
    def running(self) -> int:
        """See :class:`Crew`."""
        return self._started - self._ended

    @property
    def room(self) -> int:
        """See :class:`Crew`."""
        return len(self._slot.places) - self.running

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

    def _seated(self, job: Job, incarnation: int, run: Run) -> Errand:
        """The job with a place. There is a free one: it is free again before its job counts as ended."""
        with self._lock:
            at = heapq.heappop(self._free)
        place = self._slot.places[at]
        place.put("incarnation", incarnation)
        if at >= self._slot.get("used"):
            self._slot.put("used", at + 1)
        self._started += 1
        return self._errand(at, job, Desk(place), run)

    def _errand(self, at: int, job: Job, desk: Desk, run: Run) -> Errand:
        return Errand(at, job, desk, run)

    def _end(self, errand: Errand) -> None:
        del self._errands[errand.job.number]
        errand.desk.place.end(0)
        with self._lock:
            heapq.heappush(self._free, errand.at)
            self._ended += 1
        if self.running <= self._awaited:
            self._awaited = NOBODY_WAITS
            self._wake()
