"""Failed jobs in groups, one for each error and task: how many, since when, in which hours. The caller brings the
transaction.

Read from the counts by hour that the recorder keeps: as many rows as there are errors and hours, however many jobs
have failed. So counts are of whole hours (UTC), and stay when retention has deleted the jobs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select, tuple_, values

from penstock.ledger.tables import failure_hours, jobs

HOUR = timedelta(hours=1)
MOST_HOURS = 24 * 366
"""Hours that a chart is made of."""
Key = tuple[str, str]
"""Fingerprint and task."""
_rows = failure_hours.c


@dataclass(frozen=True, kw_only=True)
class GroupFilter:
    """Which groups, and which part of their time; every condition that is given must hold."""

    since: datetime
    """Counted from the beginning of its hour."""
    fingerprint: str | None = None
    task: str | None = None

    @property
    def first_hour(self) -> datetime:
        """The first hour that is counted."""
        return hour_of(self.since)


@dataclass(frozen=True)
class FailureGroup:
    """Jobs of one task that have failed with one error."""

    fingerprint: str
    task: str
    count: int
    """In the time that was asked for."""
    first_at: datetime
    """The first one that is known of, also before that time."""
    last_at: datetime
    job_id: str
    """The last one."""
    error_type: str | None
    """Of that job; None: retention has deleted it."""
    error_message: str | None
    hours: dict[datetime, int] = field(default_factory=dict)
    """How many in which hour, by its beginning; hours without any are left out."""


@dataclass(frozen=True)
class Groups:
    """The largest groups of a filter."""

    groups: list[FailureGroup]
    total: int
    """How many groups there are."""
    jobs: int
    """How many jobs in all of them."""


def list_groups(connection: Connection, chosen: GroupFilter, limit: int) -> Groups:
    """The groups with the most jobs first."""
    counted = connection.execute(_largest(chosen, limit)).all()
    if not counted:
        return Groups([], 0, 0)
    keys = [(row.fingerprint, row.task) for row in counted]
    hours, ends = hours_of(connection, keys, chosen.first_hour), _ends(connection, keys)
    groups = [
        FailureGroup(
            fingerprint=row.fingerprint,
            task=row.task,
            count=int(row.jobs),
            last_at=row.last_at,
            hours=hours[row.fingerprint, row.task],
            **ends[row.fingerprint, row.task],
        )
        for row in counted
        # Retention may have deleted a group since.
        if (row.fingerprint, row.task) in ends
    ]
    return Groups(groups, int(counted[0].total), int(counted[0].failed))


def hours_of(connection: Connection, keys: Sequence[Key], since: datetime) -> defaultdict[Key, dict[datetime, int]]:
    """How many jobs of each group have failed in which hour, by its beginning; hours without any are left out.

    Args:
        since: counted from the beginning of its hour.
    """
    statement = (
        select(_rows.fingerprint, _rows.task, _rows.hour, func.sum(_rows.count))
        .where(_are(keys), _rows.hour >= hour_of(since))
        .group_by(_rows.fingerprint, _rows.task, _rows.hour)
    )
    hours: defaultdict[Key, dict[datetime, int]] = defaultdict(dict)
    for fingerprint, task, hour, count in connection.execute(statement):
        hours[fingerprint, task][hour] = int(count)
    return hours


def failures_per_hour(connection: Connection, since: datetime, task: str | None = None) -> dict[datetime, int]:
    """How many jobs have failed in which hour, by its beginning, the oldest first; hours without any are left out.

    Args:
        since: counted from the beginning of its hour, and of at most the last :data:`MOST_HOURS` with failures.
        task: of this one alone.
    """
    conditions = _conditions(GroupFilter(since=since, task=task))
    statement = select(_rows.hour, func.sum(_rows.count)).where(*conditions).group_by(_rows.hour)
    newest = connection.execute(statement.order_by(_rows.hour.desc()).limit(MOST_HOURS)).all()
    return {hour: int(count) for hour, count in reversed(newest)}


def trend(group: FailureGroup, since: datetime, until: datetime, most: int) -> list[int]:
    """How many jobs failed in equal parts of the time, the oldest first: hours, or several of them together when there
    would be more than ``most`` parts.
    """
    first = hour_of(since)
    hours = (hour_of(until) - first) // HOUR + 1
    together = -(-hours // most)
    parts = [0] * -(-hours // together)
    for hour, count in group.hours.items():
        place = (hour - first) // HOUR // together
        if 0 <= place < len(parts):
            parts[place] += count
    return parts


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _largest(chosen: GroupFilter, limit: int) -> Select[Any]:
    """By the index on the hour, or by the primary key if the error is named; counted once, with the sums of all."""
    jobs_failed = func.sum(_rows.count)
    return (
        select(
            _rows.fingerprint,
            _rows.task,
            jobs_failed.label("jobs"),
            func.max(_rows.last_at).label("last_at"),
            func.count().over().label("total"),
            func.sum(jobs_failed).over().label("failed"),
        )
        .where(*_conditions(chosen))
        .group_by(_rows.fingerprint, _rows.task)
        .order_by(jobs_failed.desc(), _rows.fingerprint, _rows.task)
        .limit(limit)
    )


def _conditions(chosen: GroupFilter) -> Iterator[ColumnElement[bool]]:
    yield _rows.hour >= chosen.first_hour
    if chosen.fingerprint is not None:
        yield _rows.fingerprint == chosen.fingerprint
    if chosen.task is not None:
        yield _rows.task == chosen.task


def _ends(connection: Connection, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
    """When each began and its last job, with what it says: an end of a range of the primary key for each."""
    of = values(_rows.fingerprint, _rows.task, name="of").data(keys).cte("keys")
    of_group = and_(_rows.fingerprint == of.c.fingerprint, _rows.task == of.c.task)
    first = select(_rows.first_at).where(of_group).order_by(_rows.hour, _rows.first_at).limit(1)
    last = select(_rows.job_id).where(of_group).order_by(_rows.hour.desc(), _rows.last_at.desc()).limit(1)
    ends = select(of, first.scalar_subquery().label("first_at"), last.scalar_subquery().label("job_id")).subquery()
    statement = (
        select(ends, jobs.c.error_type, jobs.c.error_message)
        .join(jobs, jobs.c.id == ends.c.job_id, isouter=True)
        .where(ends.c.job_id.is_not(None))
    )
    return {
        (fingerprint, task): dict(zip(("first_at", "job_id", "error_type", "error_message"), rest, strict=True))
        for fingerprint, task, *rest in connection.execute(statement)
    }


def _are(keys: Sequence[Key]) -> ColumnElement[bool]:
    return tuple_(_rows.fingerprint, _rows.task).in_(keys)
