"""How the jobs that a child has claimed are run: the one part in which kinds of children differ.

Whatever the kind, a job runs by the same code, from the same message to the same outcome in the same ring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from penstock.engine.place import Place
from penstock.engine.running.opening import Job

Run = Callable[[Job], None]


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

    def ask_for_wake(self) -> None:
        """Has the child woken at the next end of a job. Whoever waits for one looks once more after asking."""

    def obey(self) -> None:
        """Looks what is asked of single jobs in their places, for a signal's handler."""

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

    def ask_for_wake(self) -> None:
        """Nothing: no job ends while the child waits."""

    def obey(self) -> None:
        """Nothing: what is meant for the job comes by a signal of its own, and ends the child otherwise."""

    def close(self) -> None:
        """Nothing is left."""
