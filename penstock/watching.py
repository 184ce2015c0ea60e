"""What a job says of itself, read by whoever wants to know: once, or as it comes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from penstock.errors import BrokerUnavailable
from penstock.job import State
from penstock.ledger.reports import read_log, reports_of
from penstock.ledger.session import reading
from penstock.log import Cursor, Log, LogLine, cursor_of, level_of
from penstock.progress import Progress, rate_of

if TYPE_CHECKING:
    from penstock.ledger.rows import JobRow

FIRST_PAUSE, LAST_PAUSE, GROWTH = 0.25, 2.0, 1.5
"""Seconds between two looks: while there is news, and while there has been none for long."""


@dataclass(frozen=True)
class News:
    """How a job stands, when something of that has changed."""

    state: State | None
    """None: a worker has just claimed it, nobody knows it, or Redis is away, which alone may know it. Of a job that
    was seen to wait before Redis went away, that state.
    """
    starts: int
    """How often it has started."""
    progress: Progress | None
    rate: float | None
    """How much it does per second; None: there is too little to tell."""
    lines: tuple[LogLine, ...]
    """Of its log, those that are new."""
    left_out: int
    """Lines that were logged after these and are not kept."""
    cursor: str
    """``watch(after=cursor)`` goes on behind these lines."""


class Watched(Protocol):
    """The job; see :class:`penstock.client.Job`."""

    id: str
    row: JobRow | None
    progress: Progress | None

    @property
    def state(self) -> State | None:
        """At the last refresh."""

    def refresh(self) -> Any:
        """Asks for its state and how far it is."""


class Standing(NamedTuple):
    """What a job's handle knew at its last refresh."""

    state: State | None
    starts: int
    progress: Progress | None

    @classmethod
    def of(cls, job: Watched) -> Standing:
        """That of this handle."""
        return cls(job.state, job.row.attempts if job.row else 0, job.progress)


class Watch:
    """One reader's."""

    def __init__(self, database_url: str, job: Watched, after: Cursor, timeout: float | None) -> None:
        self._url = database_url
        self._job = job
        self._cursor = after
        self._timeout = timeout
        self._deadline = float("inf")
        self._told: Any = None
        self._has_ended = False
        self._has_news, self._has_more = True, False

    def pauses(self) -> Iterator[float]:
        """How long to listen before each look; ends when the job has.

        Raises:
            TimeoutError: the time is over before.
        """
        if self._timeout is not None:
            self._deadline = time.monotonic() + self._timeout
        pause = 0.0
        while not self._has_ended:
            left = self._deadline - time.monotonic()
            if pause and left <= 0:
                raise TimeoutError(f"{self._job!r} has not ended within {self._timeout:g} s; it goes on")
            yield min(pause, max(left, 0.0))
            pause = FIRST_PAUSE if self._has_news else min(max(pause, FIRST_PAUSE) * GROWTH, LAST_PAUSE)

    @property
    def seconds_left(self) -> float | None:
        """Until the time is over; None: there is no end of it."""
        return None if self._timeout is None else max(self._deadline - time.monotonic(), 0.0)

    def look(self) -> News | None:
        """Refreshes the handle; what is new. None: nothing."""
        with contextlib.suppress(BrokerUnavailable):  # Redis alone knows that it waits, and cannot be asked.
            self._job.refresh()
        return self.compare(Standing.of(self._job))

    def compare(self, standing: Standing) -> News | None:
        """What is new of a job that stands so; None: nothing. Reads the log, and leaves the handle alone.

        After the state, because a job that has ended had said before all that it has to say.
        """
        state, starts, progress = standing
        with reading(self._url) as connection:
            reports = reports_of(connection, self._job.id)
            lines = sum(report.lines for report in reports)
            told = (standing, lines, self._cursor)
            if not self._has_more and told == self._told:
                self._has_news = False
                return None
            log = read_log(connection, self._job.id, reports, self._cursor)
        self._has_news = True
        self._cursor = Cursor.of(log.cursor)
        self._has_more = log.has_more
        self._told = (*told[:-1], self._cursor)
        self._has_ended = state is not None and state.is_final and not log.has_more
        starts = max([starts, *(report.start for report in reports)])
        # A later attempt that has said nothing has no rate, though the progress of an earlier one stands.
        rate = rate_of(reports[-1].points, progress) if reports else None
        return News(state, starts, progress, rate, log.lines, log.left_out, log.cursor)


def read_logs(database_url: str, job_id: str, after: str | None, level: str | int) -> Log:
    """All that a job has logged and that is kept, behind a cursor."""
    number, cursor = level_of(level), cursor_of(after)
    lines: list[LogLine] = []
    with reading(database_url) as connection:
        reports = reports_of(connection, job_id)
        while True:
            log = read_log(connection, job_id, reports, cursor, number)
            lines += log.lines
            if not log.has_more:
                return Log(tuple(lines), log.left_out, log.cursor, has_more=False)
            cursor = Cursor.of(log.cursor)
