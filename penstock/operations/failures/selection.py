"""Which failures are meant: one choice for failed jobs, dead letters and messages of unknown tasks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from penstock.ledger.failed import FailedFilter
from penstock.operations.failures.entries import EntryFilter

FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Selection(FailedFilter):
    """Every condition that is given must hold; without any, all open failures are meant.

    Errors and tags are of failed jobs alone; the reason of a message is what has happened to it.
    """

    kind: str | None = None
    """failed, buried, quarantined or unknown."""

    @property
    def of_jobs(self) -> FailedFilter | None:
        """The failed jobs among them; None: none are meant."""
        return self if self.kind in (None, FAILED) else None

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
