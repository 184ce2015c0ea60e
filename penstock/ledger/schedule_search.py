"""Finding schedules among thousands: which ones, in pages, and how many. The caller brings the transaction.

Those that are late come first, the latest of them at the head; the others follow by name. Each part is a range of an
index, so a page costs what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, tuple_

from penstock.ledger.cursors import cursor_of, moment_of, words_of
from penstock.ledger.schedules import ScheduleRow
from penstock.ledger.session import encode_json
from penstock.ledger.tables import schedules


class Only(StrEnum):
    """A part of the schedules."""

    LATE = "late"
    PAUSED = "paused"


@dataclass(frozen=True, kw_only=True)
class ScheduleFilter:
    """Which schedules; every condition that is given must hold."""

    only: Only | None = None
    name: str | None = None
    """A part of the name, in any case."""
    tag: str | None = None


@dataclass(frozen=True)
class SchedulePlace:
    """Where a page ends.

    What is late is judged on all pages as it was on the first: one that became late meanwhile is not passed over.
    """

    late_before: datetime
    due_at: datetime | None
    """Of the last one, if it was late; None: all late ones have been shown."""
    name: str

    @property
    def cursor(self) -> str:
        """One word, for the next page."""
        return cursor_of(self.late_before.isoformat(), self.due_at.isoformat() if self.due_at else "", self.name)

    @classmethod
    def of(cls, cursor: str) -> SchedulePlace:
        """The place that a cursor stands for.

        Raises:
            BadCursor: it is none.
        """
        late_before, due_at, name = words_of(cursor, 3)
        return cls(moment_of(late_before), moment_of(due_at) if due_at else None, name)


@dataclass(frozen=True)
class SchedulePage:
    """A part of the list."""

    rows: list[ScheduleRow]
    after: SchedulePlace | None
    """Where the next page begins; None: there is none."""


@dataclass(frozen=True)
class ScheduleCounts:
    """How many schedules there are."""

    all: int
    paused: int
    late: int
    """Not paused, and due before."""


def list_schedules(
    connection: Connection,
    chosen: ScheduleFilter,
    limit: int,
    late_before: datetime,
    after: SchedulePlace | None = None,
) -> SchedulePage:
    """The late ones, the longest first, then the others by name.

    Args:
        late_before: one that has been due since before then is late.
        after: the end of the page before, with what was late then.
    """
    late_before = after.late_before if after else late_before
    found: list[ScheduleRow] = []
    for part in _parts(chosen, late_before, after):
        rows = connection.execute(part.limit(limit + 1 - len(found)))
        found += [ScheduleRow(**row._mapping) for row in rows]
    if len(found) <= limit:
        return SchedulePage(found, None)
    last = found[limit - 1]
    is_late = last.paused_at is None and last.due_at is not None and last.due_at < late_before
    return SchedulePage(found[:limit], SchedulePlace(late_before, last.due_at if is_late else None, last.name))


def count_schedules(connection: Connection, late_before: datetime) -> ScheduleCounts:
    """All of them, in one statement."""
    paused, late = schedules.c.paused_at.is_not(None), _is_late(late_before)
    numbers = select(func.count(), func.count().filter(paused), func.count().filter(late)).select_from(schedules)
    return ScheduleCounts(*connection.execute(numbers).one())


def _parts(
    chosen: ScheduleFilter, late_before: datetime, after: SchedulePlace | None
) -> Iterator[Select[tuple[Any, ...]]]:
    due_at, name = schedules.c.due_at, schedules.c.name
    fitting = select(schedules).where(*_conditions(chosen))
    if chosen.only is not Only.PAUSED and (after is None or after.due_at is not None):
        late = fitting.where(_is_late(late_before)).order_by(due_at, name)
        yield late.where(tuple_(due_at, name) > tuple_(after.due_at, after.name)) if after else late
    if chosen.only is not Only.LATE:
        others = fitting.where(_is_in_time(late_before)).order_by(name)
        yield others.where(name > after.name) if after and after.due_at is None else others


def _conditions(chosen: ScheduleFilter) -> Iterator[ColumnElement[bool]]:
    if chosen.only is Only.PAUSED:
        yield schedules.c.paused_at.is_not(None)
    if chosen.name:
        yield schedules.c.name.icontains(chosen.name, autoescape=True)
    if chosen.tag:
        # As JSON has it, in its quotes, so that it is found whole.
        yield schedules.c.definition["tags"].as_string().contains(encode_json(chosen.tag), autoescape=True)


def _is_late(before: datetime) -> ColumnElement[bool]:
    return and_(schedules.c.due_at < before, schedules.c.paused_at.is_(None))


def _is_in_time(late_before: datetime) -> ColumnElement[bool]:
    return or_(schedules.c.due_at.is_(None), schedules.c.due_at >= late_before, schedules.c.paused_at.is_not(None))
