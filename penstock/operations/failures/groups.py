"""Failed jobs by error: finding the groups, and what can be done about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from penstock.job import Reason, State
from penstock.ledger.failure_groups import FailureGroup, GroupFilter, list_groups, trend
from penstock.ledger.rows import JobRow
from penstock.ledger.search import JobFilter, list_jobs

WINDOW = timedelta(hours=24)
"""In which failed jobs are counted when nobody says since when."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
FINGERPRINT = "[0-9a-f]{12}"
MOST_PARTS = 25
SHOWN_JOBS, SHOWN_TASKS = 10, 20
KEPT = (Reason.CRASHED, Reason.REJECTED, Reason.UNREADABLE)
"""Reasons of jobs whose messages are dead letters."""


@dataclass(frozen=True)
class Group:
    """Everything about one error."""

    groups: list[FailureGroup]
    """One for each task that it has hit."""
    since: datetime
    latest: list[JobRow]

    @property
    def fingerprint(self) -> str:
        """Of the error."""
        return self.groups[0].fingerprint

    @property
    def example(self) -> JobRow | None:
        """The newest job whose row is still there."""
        return self.latest[0] if self.latest else None

    @property
    def commands(self) -> dict[str, str]:
        """What can be done about its jobs, by verb; those whose messages were buried are dealt with by these."""
        if any(job.reason in KEPT for job in self.latest):
            tasks = sorted({group.task for group in self.groups})
            act = " ; ".join(f"celery -A workers failures VERB --kind buried --task {task}" for task in tasks)
            return {verb: act.replace("VERB", verb) for verb in ("replay", "discard")}
        return {verb: f"celery -A workers failures {verb} {self.fingerprint}" for verb in ("replay", "discard")}


def since_or_default(since: datetime | None) -> datetime:
    """The beginning of the time in which failed jobs are counted."""
    return since or datetime.now(UTC) - WINDOW


def find_group(connection: Connection, given: str, since: datetime | None) -> Group | None:
    """The error with this fingerprint; None if it is none, or hit nobody since then.

    Without ``since``, one that has been quiet for a day is shown from its beginning.
    """
    if not re.fullmatch(FINGERPRINT, given):
        return None
    begin = since_or_default(since)
    found = list_groups(connection, GroupFilter(since=begin, fingerprint=given), SHOWN_TASKS).groups
    if not found and since is None:
        found = list_groups(connection, GroupFilter(since=LONG_AGO, fingerprint=given), SHOWN_TASKS).groups
        begin = min((group.first_at for group in found), default=begin)
    if not found:
        return None
    latest = list_jobs(connection, JobFilter(error=given, states=(State.FAILED,)), SHOWN_JOBS).jobs
    return Group(found, begin, latest)


def trend_of(group: FailureGroup, since: datetime) -> list[int]:
    """How many jobs failed in equal parts of the time until now, the oldest first; at most ``MOST_PARTS``."""
    return trend(group, since, datetime.now(UTC), MOST_PARTS)
