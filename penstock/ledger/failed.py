"""Failed jobs that nobody has dealt with yet: of one error, one task, one queue, or all. The caller brings the
transaction.

Such a job is open: it was neither retried nor discarded, and its message is no dead letter, which is dealt with itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, false, func, literal, or_, select, tuple_, update

from penstock.job import Reason, State
from penstock.ledger.matching import has_tag
from penstock.ledger.search import Place
from penstock.ledger.tables import audit, dead_letters, jobs

RETRY = "retry"
"""The audit's word for a job that was submitted anew."""


_FINGERPRINT = re.compile("[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class FailedFilter:
    """Which failed jobs; every condition that is given must hold."""

    error: str | None = None
    """A fingerprint, or text that the error's type or message contains."""
    task: str | None = None
    queue: str | None = None
    reason: str | None = None
    """Text that the reason contains: error, crashed, timeout …"""
    tag: str | None = None
    since: datetime | None = None
    """Not ended before this time."""
    until: datetime | None = None
    """Ended before this time."""

    @property
    def fingerprint(self) -> str | None:
        """``error``, if it has the form of one."""
        return self.error if self.error and _FINGERPRINT.fullmatch(self.error) else None


@dataclass(frozen=True)
class Stretch:
    """A part of the failed jobs of a filter."""

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
    connection: Connection, chosen: FailedFilter, until: datetime, limit: int, after: Place | None = None
) -> Stretch:
    """The jobs that failed first come first.

    Looks at ``limit`` jobs, whether they are open and fit or not, by the index on the fingerprint, the task or the
    queue, or that on the state: so a stretch costs the same wherever it is, however few of it are wanted.

    Args:
        until: none that ended later, so that what fails again at once is not taken again.
        after: the end of the stretch before.
    """
    keys = (jobs.c.updated_at, jobs.c.id)
    equal = {"error_fingerprint": chosen.fingerprint, "task": chosen.task, "queue": chosen.queue}
    words = [(name, value) for name, value in equal.items() if value is not None]
    range_ = [jobs.c.state == State.FAILED.value, jobs.c.updated_at <= until]
    range_ += [jobs.c[name] == value for name, value in words[:1]]
    if chosen.since is not None:
        range_.append(jobs.c.updated_at >= chosen.since)
    if chosen.until is not None:
        range_.append(jobs.c.updated_at < chosen.until)
    if after is not None:
        types = [key.type for key in keys]
        range_.append(tuple_(*keys) > tuple_(after.updated_at, after.id, types=types))
    looked_at = [jobs.c[name] for name in ("reason", *_looked_at(chosen), *(name for name, _ in words[1:]))]
    seen = select(*keys, *looked_at).where(*range_).order_by(*keys).limit(limit).subquery()
    fits = [seen.c[name] == value for name, value in words[1:]]
    is_wanted = and_(_is_open(seen.c), *fits, *_conditions(connection, seen.c, chosen))
    rows = connection.execute(
        select(seen.c.updated_at, seen.c.id, is_wanted.label("is_wanted")).order_by(seen.c.updated_at, seen.c.id)
    ).all()
    last = Place(rows[-1].updated_at, rows[-1].id) if len(rows) == limit else None
    return Stretch([row.id for row in rows if row.is_wanted], last)


def _looked_at(chosen: FailedFilter) -> Iterator[str]:
    """Columns that the conditions without an index look at."""
    if chosen.error and not chosen.fingerprint:
        yield from ("error_type", "error_message")
    if chosen.tag is not None:
        yield "tags"


def _conditions(connection: Connection, row: Any, chosen: FailedFilter) -> Iterator[ColumnElement[bool]]:
    if chosen.error and not chosen.fingerprint:
        contains = [row[name].contains(chosen.error, autoescape=True) for name in ("error_type", "error_message")]
        yield func.coalesce(or_(*contains), false())
    if chosen.tag is not None:
        yield func.coalesce(has_tag(connection, row, chosen.tag), false())
    if chosen.reason is not None:
        yield func.coalesce(row.reason.contains(chosen.reason, autoescape=True), false())


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
