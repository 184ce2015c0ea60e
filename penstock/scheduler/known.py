"""The schedules that this scheduler has read: ahead of time, as far as there is spare time, and kept.

Reading the definition of a schedule takes as long as all else that its fire needs, and ten thousand may be due in the
same second.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from penstock.errors import DeclarationError
from penstock.ledger import schedules
from penstock.ledger.schedules import ScheduleRow
from penstock.scheduler.foresight import Foresight
from penstock.scheduler.schedule import Schedule

logger = logging.getLogger("penstock.beat")
SLICE = 500
"""Schedules that are read ahead in one go, which takes some hundredths of a second."""
MOST = 20_000
"""Schedules that are kept; the others are read again from their rows when they are due."""
Stamp = tuple[int, datetime]
"""Of a definition: its version, and when its schedule was made, for one that is made again begins anew."""


class Known:
    """Of one scheduler."""

    def __init__(self, foresight: Foresight) -> None:
        self._foresight = foresight
        self._read: OrderedDict[str, tuple[Stamp, Schedule]] = OrderedDict()
        self._refused: dict[str, Stamp] = {}
        self._until: datetime | None = None
        self._after: tuple[datetime, str] | None = None
        """Where reading ahead goes on: due time and name of the last that was looked at."""
        self._left = 0
        """How many more are looked at, because more than are kept would drive out the first."""

    @property
    def refused(self) -> Mapping[str, Stamp]:
        """Schedules that cannot be read here, such as those of a newer Penstock, for its schedulers."""
        return self._refused

    def refuse(self, row: ScheduleRow) -> None:
        """Leaves a schedule to others, until it is changed or :meth:`reconsider` comes."""
        self._refused[row.name] = _stamp(row)

    def reconsider(self) -> None:
        """Tries again to read what could not be read."""
        self._refused.clear()

    def read(self, connection: Connection, rows: Sequence[ScheduleRow]) -> list[tuple[ScheduleRow, Schedule]]:
        """Those of the rows that can be read, with their schedules."""
        self._learn(connection, rows)
        return [(row, self._read[row.name][1]) for row in rows if row.name in self._read]

    def begin_ahead(self, until: datetime) -> None:
        """Has what is due until then read ahead, from the beginning."""
        self._until, self._after, self._left = until, None, MOST

    def go_ahead(self, connection: Connection) -> bool:
        """Reads the next slice of it; whether there may be more."""
        if self._until is None:
            return False
        rows = schedules.due_soon(connection, self._until, SLICE, self._after)
        # One that is refused is tried again when it has changed, or now and then.
        self._learn(connection, [row for row in rows if self._refused.get(row.name) != _stamp(row)])
        self._left -= len(rows)
        if len(rows) < SLICE or self._left <= 0:
            self._until = None
            return False
        last = rows[-1]
        self._after = (last.due_at, last.name) if last.due_at else None
        return True

    def _learn(self, connection: Connection, rows: Sequence[ScheduleRow]) -> None:
        unknown = {row.name: row for row in rows if not self._knows(row)}
        if unknown:
            for name, definition in schedules.definitions(connection, unknown).items():
                self._learn_one(unknown[name], definition)

    def _learn_one(self, row: ScheduleRow, definition: Mapping[str, Any]) -> None:
        self._read.pop(row.name, None)
        try:
            self._read[row.name] = _stamp(row), self._foresight.completed(Schedule.of(row.name, definition))
        except DeclarationError as error:
            logger.error("%s; it is left to newer schedulers", error)
            self.refuse(row)
            return
        self._refused.pop(row.name, None)
        if len(self._read) > MOST:
            self._read.popitem(last=False)

    def _knows(self, row: ScheduleRow) -> bool:
        known = self._read.get(row.name)
        return known is not None and known[0] == _stamp(row)


def _stamp(row: ScheduleRow) -> Stamp:
    return row.version, row.created_at
