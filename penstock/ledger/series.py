"""What has waited in queues and what has become of their jobs, over time. The caller brings the transaction.

Two statements, whatever the number of queues. A step is read from quarters of an hour where it consists of them, else
from minutes; so an hour in minutes and a day in quarters are about a hundred rows of each queue and of each worker that
served it.

Jobs in are those that our producers have sent; stock ones count nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Table, Text, cast, select

from penstock.ledger.histogram import Percentiles, percentiles, sum_of
from penstock.ledger.minutes import MINUTE, QUARTER, Depth
from penstock.ledger.recording.among import among
from penstock.ledger.tables import queue_counts, queue_depths

MOST_POINTS = 3_000
"""Points of a series: a day in minutes has half as many."""
NEAR = timedelta(hours=3)
"""A summary of less is made of minutes, of more of quarters of an hour."""
COUNTS = ("succeeded", "failed", "cancelled", "retried", "waits", "runs")
_MINUTE = timedelta(seconds=MINUTE)


@dataclass
class Series:
    """One queue over time: lists of the same length, with None where nobody was there to measure.

    Of a step that goes on, it is what there was until now.
    """

    queue: str
    step: timedelta
    at: list[datetime]
    """When each step begins: multiples of the step since 1970."""
    ready: list[int | None]
    """The most that was measured in the step, and so are the next four."""
    parked: list[int | None]
    blocked: list[int | None]
    in_flight: list[int | None]
    oldest_seconds: list[float | None]
    """How long the oldest ready message had waited; None as well when there was none."""
    accepted_per_second: list[float | None]
    succeeded_per_second: list[float | None]
    failed_per_second: list[float | None]
    cancelled_per_second: list[float | None]
    retried_per_second: list[float | None]
    """Attempts that ended and left their job to another."""
    histograms: list[tuple[list[str], list[str]]]
    """Of waits and of runs, as JSON of each who has counted them."""

    @cached_property
    def waits(self) -> list[Percentiles | None]:
        """Seconds that attempts had waited which ended in the step; None as well when none did.

        Made when they are asked for, and so are the next: for many queues they take longer than all the rest.
        """
        return [percentiles(sum_of(waits)) for waits, _ in self.histograms]

    @cached_property
    def runs(self) -> list[Percentiles | None]:
        """Seconds that attempts had run which ended in the step; None as well when none did."""
        return [percentiles(sum_of(runs)) for _, runs in self.histograms]


@dataclass(frozen=True)
class Summary:
    """What has become of a queue's jobs in a stretch of time."""

    succeeded: int
    failed: int
    cancelled: int
    retried: int
    waits: Percentiles | None
    """None: no attempt has ended, or nobody knows how long any of them has waited."""
    runs: Percentiles | None


class _Ends:
    """Of one step, the sums of all who have counted."""

    __slots__ = ("cancelled", "failed", "retried", "runs", "succeeded", "waits")

    def __init__(self) -> None:
        self.succeeded = self.failed = self.cancelled = self.retried = 0
        self.waits: list[str] = []
        self.runs: list[str] = []

    def add(self, succeeded: int, failed: int, cancelled: int, retried: int, waits: str, runs: str) -> None:
        self.succeeded += succeeded
        self.failed += failed
        self.cancelled += cancelled
        self.retried += retried
        self.waits.append(waits)
        self.runs.append(runs)


@dataclass
class _Measured:
    """What the ledger has of one queue, by the numbers of steps."""

    looks: dict[int, list[Depth]] = field(default_factory=dict)
    ends: dict[int, _Ends] = field(default_factory=dict)
    newest: datetime | None = None
    """Beginning of the newest span in which somebody was there."""


def read_series(
    connection: Connection, queues: Sequence[str], since: datetime, until: datetime, step: timedelta
) -> dict[str, Series]:
    """The series of each queue, from the step that ``since`` lies in to the one before ``until``.

    Args:
        step: a multiple of a minute.

    Raises:
        ValueError: the step is none, or there are more than MOST_POINTS of them.
    """
    seconds = _seconds(step)
    begin = datetime.fromtimestamp(int(since.timestamp()) // seconds * seconds, UTC)
    points = max(-((begin - until) // step), 0)
    if points > MOST_POINTS:
        raise ValueError(f"{points} points are more than {MOST_POINTS}; give a longer step or a shorter time")
    measured = _read(connection, queues, begin, until, step)
    at = [begin + number * step for number in range(points)]
    return {queue: _series(queue, measured[queue], at, until, step) for queue in queues}


def summary(connection: Connection, queue: str, since: datetime, until: datetime | None = None) -> Summary:
    """What has become of the jobs of a queue, to the minute for the last hours, else to the quarter of an hour.

    Args:
        until: None: now.
    """
    until = until or datetime.now(UTC)
    length = MINUTE if until - since <= NEAR else QUARTER
    begin = datetime.fromtimestamp(int(since.timestamp()) // length * length, UTC)
    ends = _Ends()
    for _, _, *counts in _rows(connection, queue_counts, COUNTS, [queue], length, begin, until):
        ends.add(*counts)
    waits, runs = percentiles(sum_of(ends.waits)), percentiles(sum_of(ends.runs))
    return Summary(ends.succeeded, ends.failed, ends.cancelled, ends.retried, waits, runs)


def late_since(series: Series, threshold_seconds: float) -> datetime | None:
    """Since when the queue's oldest waiting job has been older than a threshold, without a break; None: it is not now.

    Where nobody was there to measure, the job that is the oldest afterwards says how long it has been late by then.
    """
    late: datetime | None = None
    oldest = 0.0
    for at, ready, age in reversed(list(zip(series.at, series.ready, series.oldest_seconds, strict=True))):
        if ready is None:
            if late is not None and oldest - threshold_seconds < (late - at).total_seconds():
                break
        elif age is not None and age > threshold_seconds:
            late, oldest = at, age
        else:
            break
    return late


def _seconds(step: timedelta) -> int:
    seconds = int(step.total_seconds())
    if seconds < MINUTE or seconds % MINUTE or step != timedelta(seconds=seconds):
        raise ValueError(f"a step of {step} is no multiple of a minute")
    return seconds


# -- reading ----------------------------------------------------------------------------------------------------


def _read(
    connection: Connection, queues: Sequence[str], begin: datetime, end: datetime, step: timedelta
) -> Mapping[str, _Measured]:
    measured: dict[str, _Measured] = defaultdict(_Measured)
    length = QUARTER if not step % timedelta(seconds=QUARTER) else MINUTE
    # One step more than is shown, for what was accepted until then.
    for queue, at, *values in _rows(connection, queue_depths, Depth._fields, queues, length, begin, end + step):
        of = measured[queue]
        of.looks.setdefault((at - begin) // step, []).append(Depth._make(values))
        of.newest = at
    for queue, at, *values in _rows(connection, queue_counts, COUNTS, queues, length, begin, end):
        place, ends = (at - begin) // step, measured[queue].ends
        if place not in ends:
            ends[place] = _Ends()
        ends[place].add(*values)
    return measured


def _rows(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    queues: Sequence[str],
    length: int,
    begin: datetime,
    end: datetime,
) -> Sequence[Any]:
    """Queue, time and the columns with these names, by queue and time: a range of the primary key for each queue."""
    # Histograms as text: most are not looked into, and whatever reads JSON columns here looks into them for dates.
    columns = [cast(table.c[name], Text) if name in ("waits", "runs") else table.c[name] for name in names]
    within = (among(connection, table.c.queue, queues), table.c.seconds == length)
    statement = select(table.c.queue, table.c.at, *columns).where(*within, table.c.at >= begin, table.c.at < end)
    return connection.execute(statement.order_by(table.c.queue, table.c.at)).all()


# -- points -----------------------------------------------------------------------------------------------------


def _series(queue: str, measured: _Measured, at: list[datetime], end: datetime, step: timedelta) -> Series:
    depths = [_most(measured.looks.get(place)) for place in range(len(at))]
    accepted = [_accepted_per_second(measured.looks, place) for place in range(len(at))]
    ends = [_ends_of(measured, place, begin + step) for place, begin in enumerate(at)]
    passed = [_passed(begin, end, step) for begin in at]
    rates = [_rates(*each) for each in zip(ends, passed, strict=True)]
    histograms = [(each.waits, each.runs) if each is not None else ([], []) for each in ends]
    ready, parked, blocked, in_flight, oldest = _columns(depths, 5)
    succeeded, failed, cancelled, retried = _columns(rates, 4)
    of_depths = (ready, parked, blocked, in_flight, oldest)
    return Series(queue, step, at, *of_depths, accepted, succeeded, failed, cancelled, retried, histograms)


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """A list of each of so many values of all rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


def _most(looks: Sequence[Depth] | None) -> tuple[float | None, ...]:
    """The largest of each depth, and of the age."""
    if not looks:
        return (None,) * 5
    if len(looks) == 1:
        return looks[0][:5]
    *depths, ages = zip(*(look[:5] for look in looks), strict=True)
    return *map(max, depths), max((age for age in ages if age is not None), default=None)


def _accepted_per_second(looks: Mapping[int, Sequence[Depth]], place: int) -> float | None:
    """Between the first look at the queue in a step and the first in the next, or the last there was."""
    ours, following = looks.get(place), looks.get(place + 1)
    if not ours:
        return None
    first, last = ours[0], following[0] if following else ours[-1]
    passed, accepted = (last.sampled_at - first.sampled_at).total_seconds(), last.accepted - first.accepted
    # It only grows, unless it is another Redis, which begins to count anew.
    return accepted / passed if passed > 0 and accepted >= 0 else None


def _ends_of(measured: _Measured, place: int, end: datetime) -> _Ends | None:
    """What has ended in a step: nothing only if somebody was there until its end, and would have written it by now."""
    if (ends := measured.ends.get(place)) is not None:
        return ends
    was_there = place in measured.looks and measured.newest is not None and measured.newest >= end
    return _Ends() if was_there else None


def _passed(begin: datetime, end: datetime, step: timedelta) -> float:
    """How many seconds of a step are over and written: the minutes that go on are not."""
    return min(step, (end - begin) // _MINUTE * _MINUTE).total_seconds()


def _rates(ends: _Ends | None, passed: float) -> tuple[float | None, ...]:
    """Successes, failures, cancellations and retries in a second."""
    if ends is None or not passed:
        return (None,) * 4
    return ends.succeeded / passed, ends.failed / passed, ends.cancelled / passed, ends.retried / passed
