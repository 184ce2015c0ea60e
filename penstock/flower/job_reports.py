"""What a job says of itself, as its page shows it: how far it is, a picture of how that went, and a part of its log."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from penstock.flower.charts import Line, line_chart
from penstock.ledger.reports import ReportRow, read_log
from penstock.log import BEGINNING, Cursor, Log
from penstock.operations.jobs.life import Life
from penstock.operations.wording import done_of, per_second, percent
from penstock.progress import Point, seconds_left
from penstock.wording import duration

LINES = 100
"""Of a page of the log, or some more."""
FEWEST_POINTS = 3
"""From which on there is something to draw."""
STEPS = 60
"""Places of the picture's line."""


@dataclass(frozen=True)
class Said:
    """For the template."""

    log: Log | None
    is_first: bool
    """Whether the part of the log is its beginning."""
    words: str
    """How far it is."""
    chart: str
    """As SVG."""


def said_by(connection: Connection, life: Life, place: str, zone: str) -> Said:
    """Asks the ledger once more, if the job has logged anything.

    Args:
        place: the cursor behind which the log is shown; anything else shows its end.
    """
    reports = life.reports
    cursor = _last(reports)
    with suppress(ValueError):
        cursor = Cursor.of(place)
    log = read_log(connection, life.job.id, reports, cursor, limit=LINES) if life.lines else None
    return Said(log, cursor == BEGINNING, _words(life), _chart(reports[-1], zone) if reports else "")


def _last(reports: Sequence[ReportRow]) -> Cursor:
    """Behind which the last page begins."""
    last = reports[-1] if reports else None
    if last is None or sum(report.lines for report in reports) <= LINES:
        return BEGINNING
    return Cursor(last.began, max(last.lines - LINES, 0))


def _words(life: Life) -> str:
    progress = life.progress
    if progress is None:
        return ""
    left = seconds_left(progress, life.rate)
    parts = [percent(progress), done_of(progress), per_second(life.rate), f"{duration(left)} left" if left else ""]
    return " · ".join(part for part in parts if part)


def _chart(report: ReportRow, zone: str) -> str:
    points = report.points
    if len(points) < FEWEST_POINTS or points[-1].at <= points[0].at:
        return ""
    step = (points[-1].at - points[0].at) / STEPS
    times = [points[0].at + number * step for number in range(STEPS + 1)]
    lines = [Line("done", [_at(points, time + step / 2).done for time in times])]
    totals = [_at(points, time + step / 2).total for time in times]
    if any(total is not None for total in totals):
        lines.append(Line("of", totals))
    return line_chart("Progress of the last attempt", times, lines, zone)


def _at(points: Sequence[Point], time: datetime) -> Point:
    """The last report before a time."""
    return next((point for point in reversed(points) if point.at <= time), points[0])
