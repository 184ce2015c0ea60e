"""Fires of all schedules that have started no job, and start none by themselves. The caller brings the transaction.

An index holds these and no others: among millions of fires that have started a job, they cost what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, select, text, tuple_

from penstock.ledger.cursors import cursor_of, moment_of, words_of
from penstock.ledger.fires import FireRow, FireState, fire_of
from penstock.ledger.tables import fires

UNFIRED = (FireState.MISSED, FireState.SKIPPED)
"""Their states."""


@dataclass(frozen=True)
class UnfiredPlace:
    """Where a page of fires that have started no job ends."""

    decided_at: datetime
    schedule: str
    planned_at: datetime

    @property
    def cursor(self) -> str:
        """One word, for the next page."""
        return cursor_of(self.decided_at.isoformat(), self.schedule, self.planned_at.isoformat())

    @classmethod
    def of(cls, cursor: str) -> UnfiredPlace:
        """The place that a cursor stands for.

        Raises:
            BadCursor: it is none.
        """
        decided_at, schedule, planned_at = words_of(cursor, 3)
        return cls(moment_of(decided_at), schedule, moment_of(planned_at))


def list_unfired(
    connection: Connection, state: FireState, since: datetime, limit: int, after: UnfiredPlace | None = None
) -> list[FireRow]:
    """Fires of all schedules that were skipped, or missed, since then; the last decided first.

    Args:
        state: one of :data:`UNFIRED`.
        after: the end of the page before.
    """
    keys = (fires.c.decided_at, fires.c.schedule, fires.c.planned_at)
    rows = select(fires).where(_is_unfired(state, since)).order_by(*(key.desc() for key in keys)).limit(limit)
    if after is not None:
        rows = rows.where(tuple_(*keys) < tuple_(after.decided_at, after.schedule, after.planned_at))
    return [fire_of(row) for row in connection.execute(rows)]


def count_unfired(connection: Connection, state: FireState, since: datetime, most: int) -> int:
    """How many :func:`list_unfired` would list; nobody counts on beyond ``most``."""
    found = select(fires.c.decided_at).where(_is_unfired(state, since)).limit(most).subquery()
    return connection.execute(select(func.count()).select_from(found)).scalar_one()


def _is_unfired(state: FireState, since: datetime) -> ColumnElement[bool]:
    # The index's own condition, word by word: SQLite would not see that the state alone implies it.
    return and_(text("fires.state IN ('skipped', 'missed')"), fires.c.state == state.value, fires.c.decided_at >= since)
