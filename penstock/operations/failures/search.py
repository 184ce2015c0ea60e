"""Failed jobs by error, for who looks for some of them: which errors, how many by the hour, and whether they rise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from penstock.ledger.failure_groups import FailureGroup, GroupFilter, failures_per_hour, hours_of, list_groups, trend
from penstock.operations.failures.groups import MOST_PARTS, WINDOW
from penstock.operations.failures.trends import Change, change_of, hours_between

LOOKED_AT = 500
"""Groups, the largest first, in which text is looked for."""
MOST_SHOWN = timedelta(days=31)
"""Of the trend."""


@dataclass(frozen=True)
class Trended:
    """A group and how it goes."""

    group: FailureGroup
    change: Change
    parts: Sequence[int]
    """How many in equal parts of the time of :attr:`Errors.hours`."""


@dataclass(frozen=True)
class Errors:
    """The largest groups of a filter."""

    groups: list[Trended]
    total: int
    """How many groups there are."""
    jobs: int
    """How many jobs in all of them."""
    since: datetime
    """From when they are counted: the beginning of an hour."""
    hours: list[datetime]
    """Of the trend: those of the time that was asked for, at least a day's and at most a month's."""
    counts: list[int]
    """How many jobs in each hour, over all groups of the filter; with text, over those that are listed."""
    is_cut_short: bool
    """Whether there may be more: text was looked for in the largest groups only."""


def find_errors(connection: Connection, chosen: GroupFilter, text: str | None, until: datetime, limit: int) -> Errors:
    """The groups with the most jobs first.

    Args:
        text: in the error's type or message, the task or the fingerprint, in whatever case.
        until: the present.
    """
    found = list_groups(connection, chosen, LOOKED_AT if text else limit)
    fitting = [group for group in found.groups if _says(group, text)] if text else found.groups
    total = len(fitting) if text else found.total
    jobs = sum(group.count for group in fitting) if text else found.jobs
    since = max(min(chosen.since, until - WINDOW), until - MOST_SHOWN)
    trended = _trended(connection, fitting[:limit], since, until)
    hours = hours_between(since, until)
    by_hour: Mapping[datetime, int] = _together(trended) if text else failures_per_hour(connection, since, chosen.task)
    return Errors(
        groups=trended,
        total=total,
        jobs=jobs,
        since=chosen.first_hour,
        hours=hours,
        counts=[by_hour.get(hour, 0) for hour in hours],
        is_cut_short=bool(text) and found.total > LOOKED_AT,
    )


def _says(group: FailureGroup, text: str) -> bool:
    places = (group.error_type, group.error_message, group.task, group.fingerprint)
    return any(text.casefold() in place.casefold() for place in places if place)


def _together(trended: Sequence[Trended]) -> Counter[datetime]:
    by_hour: Counter[datetime] = Counter()
    for each in trended:
        by_hour.update(each.group.hours)
    return by_hour


def _trended(connection: Connection, groups: Sequence[FailureGroup], since: datetime, until: datetime) -> list[Trended]:
    if not groups:
        return []
    by_group = hours_of(connection, [(group.fingerprint, group.task) for group in groups], since)
    over_all = [replace(group, hours=by_group[group.fingerprint, group.task]) for group in groups]
    return [
        Trended(group, change_of(group.hours, group.first_at, since, until), trend(group, since, until, MOST_PARTS))
        for group in over_all
    ]
