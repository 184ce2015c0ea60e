"""Which failures are meant: one choice for failed jobs, dead letters and messages of unknown tasks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from penstock.ledger.failed import FailedFilter
from penstock.operations.failures.entries import EntryFilter

FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Every condition that is given must hold; without any, all open failures are meant."""

    kind: str | None = None
    """failed, buried, quarantined or unknown."""
    error: str | None = None
    """Of failed jobs: a fingerprint, or text in the error's type or message."""
    task: str | None = None
    queue: str | None = None
    reason: str | None = None
    """Text in the reason of a failed job, or in what happened to a message."""
    tag: str | None = None
    """Of failed jobs."""
    since: datetime | None = None
    until: datetime | None = None
    """Before this time."""

    @property
    def of_jobs(self) -> FailedFilter | None:
        """The failed jobs among them; None: none are meant."""
        if self.kind not in (None, FAILED):
            return None
        return FailedFilter(
            error=self.error,
            task=self.task,
            queue=self.queue,
            reason=self.reason,
            tag=self.tag,
            since=self.since,
            until=self.until,
        )

    @property
    def of_entries(self) -> EntryFilter | None:
        """The messages among them, which have neither an error nor tags; None: none are meant."""
        if self.kind == FAILED or self.error is not None or self.tag is not None:
            return None
        return EntryFilter(
            kind=self.kind,
            task=self.task,
            queue=self.queue,
            reason=self.reason,
            since=self.since,
            until=self.until,
        )

    @property
    def words(self) -> dict[str, Any]:
        """For the audit."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in given.items()
            if value is not None
        }
