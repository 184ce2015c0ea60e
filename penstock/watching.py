"""What a job says of itself, read by whoever wants to know: once, or as it comes."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from penstock.errors import ArgumentError, BrokerUnavailable
from penstock.job import State
from penstock.ledger.reports import BEGINNING, Cursor, Log, LogLine, read_log, reports_of
from penstock.ledger.session import reading
from penstock.progress import Progress, rate_of

if TYPE_CHECKING:
    from penstock.ledger.rows import JobRow

FIRST_PAUSE, LAST_PAUSE, GROWTH = 0.25, 2.0, 1.5
"""Seconds between two looks: while there is news, and while there has been none for long."""
LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class News:
    """How a job stands, when something of that has changed."""

    state: State | None
    """None: a worker has just claimed it, or nobody knows it."""
    attempt: int
    """Its last start, from 1; 0: it has not started."""
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


class Watch:
    """One reader's."""

    def __init__(self, database_url: str, job: Watched, after: str | None, timeout: float | None) -> None:
        self._url = database_url
        self._job = job
        self._cursor = cursor_of(after)
        self._timeout = timeout
        self._told: Any = None
        self._has_ended = False
        self._has_news, self._has_more = True, False

    def pauses(self) -> Iterator[float]:
        """How long to listen before each look; ends when the job has.

        Raises:
            TimeoutError: the time is over before.
        """
        deadline = time.monotonic() + self._timeout if self._timeout is not None else float("inf")
        pause = 0.0
        while not self._has_ended:
            left = deadline - time.monotonic()
            if pause and left <= 0:
                raise TimeoutError(f"{self._job!r} has not ended within {self._timeout:g} s; it goes on")
            yield min(pause, max(left, 0.0))
            pause = FIRST_PAUSE if self._has_news else min(max(pause, FIRST_PAUSE) * GROWTH, LAST_PAUSE)

    def look(self) -> News | None:
        """What is new; None: nothing."""
        job = self._job
        with contextlib.suppress(BrokerUnavailable):  # Redis alone knows that it waits, and cannot be asked.
            job.refresh()
        # After the state: a job that has ended had said before all that it has to say.
        with reading(self._url) as connection:
            reports = reports_of(connection, job.id)
            lines = sum(report.lines for report in reports)
            told = (job.state, job.row.attempts if job.row else 0, job.progress, lines, self._cursor)
            if not self._has_more and told == self._told:
                self._has_news = False
                return None
            log = read_log(connection, job.id, reports, self._cursor)
        self._has_news = True
        self._cursor = Cursor.of(log.cursor)
        self._has_more = log.has_more
        self._told = (*told[:-1], self._cursor)
        self._has_ended = job.state is not None and job.state.is_final and not log.has_more
        attempt = max([told[1], *(report.attempt for report in reports)])
        # A later attempt that has said nothing has no rate, though the progress of an earlier one stands.
        rate = rate_of(reports[-1].points, job.progress) if reports else None
        return News(job.state, attempt, job.progress, rate, log.lines, log.left_out, log.cursor)


def read_logs(database_url: str, job_id: str, after: str | None, level: str) -> Log:
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


def cursor_of(text: str | None) -> Cursor:
    """The place in a log that somebody names; None: its beginning.

    Raises:
        ArgumentError: it is none.
    """
    try:
        return BEGINNING if text is None else Cursor.of(text)
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def level_of(name: str) -> int:
    """The number of a level that somebody names.

    Raises:
        ArgumentError: there is none of this name.
    """
    if name.lower() not in LEVELS:
        raise ArgumentError(f"level={name!r}: one of {', '.join(LEVELS)}")
    return int(getattr(logging, name.upper()))
