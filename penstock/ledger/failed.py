"""Failed jobs of one error that nobody has dealt with yet. The caller brings the transaction.

Such a job is open: it was neither retried nor discarded, and its message is no dead letter, which is dealt with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, func, literal, select, tuple_, update

from penstock.job import Reason, State
from penstock.ledger.search import Place
from penstock.ledger.tables import audit, dead_letters, jobs

RETRY = "retry"
"""The audit's word for a job that was submitted anew."""


@dataclass(frozen=True)
class Stretch:
    """A part of the failed jobs of an error."""

    ids: list[str]
    """Of those that are open."""
    after: Place | None
    """Where the next one begins; None: there is none."""


@dataclass(frozen=True)
class Standing:
    """What has become of a job."""

    state: State
    reason: str | None
    is_letter: bool
    """Whether its message is a dead letter."""
    is_retried: bool


def open_stretch(
    connection: Connection, fingerprint: str, until: datetime, limit: int, after: Place | None = None
) -> Stretch:
    """The jobs that failed first come first. Looks at ``limit`` jobs by the index on the fingerprint, open or not.

    Args:
        until: none that ended later, so that what fails again at once is not taken again.
        after: the end of the stretch before.
    """
    keys = (jobs.c.updated_at, jobs.c.id)
    range_ = [jobs.c.error_fingerprint == fingerprint, jobs.c.state == State.FAILED.value, jobs.c.updated_at <= until]
    if after is not None:
        types = [key.type for key in keys]
        range_.append(tuple_(*keys) > tuple_(after.updated_at, after.id, types=types))
    seen = select(*keys, jobs.c.reason).where(*range_).order_by(*keys).limit(limit).subquery()
    rows = connection.execute(
        select(seen.c.updated_at, seen.c.id, _is_open(seen.c).label("is_open")).order_by(seen.c.updated_at, seen.c.id)
    ).all()
    last = Place(rows[-1].updated_at, rows[-1].id) if len(rows) == limit else None
    return Stretch([row.id for row in rows if row.is_open], last)


def lock_open(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Those of these jobs, some hundred at most, that are open, and are dealt with by nobody else until the transaction
    ends.

    Locked first, in the order of the ids so that two never wait for each other, and judged by a statement of its own:
    it sees what those have committed that were waited for. On SQLite there is one writer at a time anyway.
    """
    those = jobs.c.id.in_(ids)
    connection.execute(select(jobs.c.id).where(those).order_by(jobs.c.id).with_for_update()).all()
    still = select(jobs.c.id).where(those, jobs.c.state == State.FAILED.value, _is_open(jobs.c)).order_by(jobs.c.id)
    return list(connection.execute(still).scalars())


def discard(connection: Connection, ids: Sequence[str]) -> int:
    """Notes in the rows of these jobs that they were given up; of how many, as others may have been first.

    The time of their last change stays: lists and retention go by when jobs ended.
    """
    still = lock_open(connection, ids)
    connection.execute(update(jobs).where(jobs.c.id.in_(still)).values(reason=Reason.DISCARDED.value))
    return len(still)


def standings(connection: Connection, ids: Sequence[str]) -> dict[str, Standing]:
    """What has become of these jobs, some hundred at most; of those that the ledger knows."""
    statement = select(
        jobs.c.id, jobs.c.state, jobs.c.reason, _letter(jobs.c).is_not(None), _retry(jobs.c).is_not(None)
    ).where(jobs.c.id.in_(ids))
    return {
        id: Standing(State(state), reason, bool(is_letter), bool(is_retried))
        for id, state, reason, is_letter, is_retried in connection.execute(statement)
    }


def _is_open(row: Any) -> ColumnElement[bool]:
    return and_(func.coalesce(row.reason, "") != Reason.DISCARDED.value, _letter(row).is_(None), _retry(row).is_(None))


def _letter(row: Any) -> ScalarSelect[int]:
    """A look at an index for each row. EXISTS might be answered from a list of all that the other table has."""
    return select(literal(1)).where(dead_letters.c.job_id == row.id).limit(1).scalar_subquery()


def _retry(row: Any) -> ScalarSelect[int]:
    """Likewise."""
    return select(literal(1)).where(audit.c.job_id == row.id, audit.c.action == RETRY).limit(1).scalar_subquery()
