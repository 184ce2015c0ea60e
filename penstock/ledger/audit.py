"""Who did what: the audit's rows in pages. The caller brings the transaction.

As in :mod:`penstock.ledger.search`, a page is the head of a range of one index, and what that does not know is looked
for in the newest :data:`LOOKED_AT` rows of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, tuple_

from penstock.ledger.cursors import BadCursor, cursor_of, place_of
from penstock.ledger.rows import AuditRow
from penstock.ledger.tables import audit

LOOKED_AT = 3_000
"""Rows in which a second condition is looked for."""
MOST_ACTIONS = 200
"""Kinds of deeds that are told."""
GREATEST_ID = 2**31 - 1
_rows = audit.c


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which deeds; every condition that is given must hold."""

    actor: str | None = None
    action: str | None = None
    job_id: str | None = None
    since: datetime | None = None
    """Not before this time."""
    until: datetime | None = None
    """Before this time."""


@dataclass(frozen=True)
class AuditPlace:
    """Where a page ends."""

    at: datetime
    id: int

    @property
    def cursor(self) -> str:
        """One word, for the next page."""
        return cursor_of(self.at.isoformat(), str(self.id))

    @classmethod
    def of(cls, cursor: str) -> AuditPlace:
        """The place that a cursor stands for.

        Raises:
            BadCursor: it is none.
        """
        at, id = place_of(cursor)
        if not (id.isascii() and id.isdigit() and len(id) < 11 and int(id) <= GREATEST_ID):
            raise BadCursor(f"{cursor!r} is no cursor of the audit; copy the one that the page before ended with")
        return cls(at, int(id))


@dataclass(frozen=True)
class AuditPage:
    """A part of the list."""

    rows: list[AuditRow]
    after: AuditPlace | None
    """Where the next page begins; None: there is none."""
    is_cut_short: bool = False
    """Whether there may be more before ``after`` was reached: it is how far was looked."""


def list_audit(connection: Connection, chosen: AuditFilter, limit: int, after: AuditPlace | None = None) -> AuditPage:
    """The newest deeds first. Reads at most ``limit`` rows, or :data:`LOOKED_AT` if there is more than one condition
    beside the time.

    Args:
        after: the end of the page before.
    """
    equal = list(_equal(chosen))
    ranges = [_rows[name] == value for name, value in equal[:1]]
    ranges += _within(chosen, after)
    frontier = _frontier(connection, ranges) if equal[1:] else None
    if frontier is not None:
        ranges.append(_place() >= _bound(frontier))
    statement = _newest(select(audit).where(*ranges))
    if equal[1:]:
        # A fence: with the other condition beside it, a planner could prefer that one's index and read all of it.
        inner = statement.offset(0).subquery()
        statement = _newest(select(inner).where(*(inner.c[name] == value for name, value in equal[1:])), inner.c)
    found = [AuditRow(**row._mapping) for row in connection.execute(statement.limit(limit + 1))]
    if len(found) > limit:
        last = found[limit - 1]
        return AuditPage(found[:limit], AuditPlace(last.at, last.id))
    return AuditPage(found, frontier, is_cut_short=frontier is not None)


def actions(connection: Connection) -> list[str]:
    """Every kind of deed that the audit knows, in alphabetical order, at most :data:`MOST_ACTIONS`.

    From one to the next along the index, so that it reads as many rows as there are kinds.
    """
    known = select(func.min(_rows.action).label("action")).cte("known", recursive=True)
    following = select(func.min(_rows.action)).where(_rows.action > known.c.action).scalar_subquery()
    known = known.union_all(select(following).where(known.c.action.is_not(None)))
    statement = select(known.c.action).where(known.c.action.is_not(None)).limit(MOST_ACTIONS)
    return sorted(connection.execute(statement).scalars())


def _equal(chosen: AuditFilter) -> Iterator[tuple[str, str]]:
    """Columns and what they must be, the most selective first; each begins an index."""
    words = {"job_id": chosen.job_id, "actor": chosen.actor, "action": chosen.action}
    yield from ((name, value) for name, value in words.items() if value is not None)


def _within(chosen: AuditFilter, after: AuditPlace | None) -> Iterator[ColumnElement[bool]]:
    """The part of the list that is asked for."""
    if chosen.since is not None:
        yield _rows.at >= chosen.since
    if chosen.until is not None:
        yield _rows.at < chosen.until
    if after is not None:
        yield _place() < _bound(after)


def _frontier(connection: Connection, ranges: list[ColumnElement[bool]]) -> AuditPlace | None:
    """The last of the rows that are looked at; None when there are no more than that."""
    statement = _newest(select(_rows.at, _rows.id).where(*ranges)).offset(LOOKED_AT - 1).limit(1)
    row = connection.execute(statement).one_or_none()
    return AuditPlace(row.at, row.id) if row else None


def _newest(statement: Select[Any], row: Any = _rows) -> Select[Any]:
    return statement.order_by(row.at.desc(), row.id.desc())


def _place() -> Any:
    return tuple_(_rows.at, _rows.id)


def _bound(place: AuditPlace) -> Any:
    return tuple_(place.at, place.id, types=[_rows.at.type, _rows.id.type])
