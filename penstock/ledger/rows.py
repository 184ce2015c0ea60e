"""What goes into the ledger and what comes out of it, as frozen values; no SQL here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar

from penstock.job import Reason, State
from penstock.ledger.tables import ID_LENGTH, plain


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a message says of its job; the part of a row that is known before the job runs."""

    id: str
    task: str
    queue: str | None = None
    priority: int | None = None
    args: Any = None
    kwargs: Any = None
    retries: int = 0
    worker: str | None = None
    enqueued_at: datetime | None = None
    eta: datetime | None = None
    parent_id: str | None = None
    root_id: str | None = None
    group_id: str | None = None
    replay_of: str | None = None
    schedule: str | None = None

    def columns(self) -> dict[str, Any]:
        """The values as columns of ``jobs``; over-long text is cut, so that it cannot cost the row."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: clip(value) if isinstance(value, str) else value for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An exception as the ledger keeps it."""

    COLUMNS: ClassVar = ("error_type", "error_message", "exception", "error_traceback", "error_fingerprint")

    type: str
    message: str
    exception: dict[str, Any]
    traceback: str | None = None
    fingerprint: str | None = None

    def columns(self) -> dict[str, Any]:
        """The values as columns of ``jobs``."""
        values = (clip(self.type), self.message, self.exception, self.traceback, self.fingerprint)
        return dict(zip(self.COLUMNS, values, strict=True))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended, and what that makes of its job."""

    state: State
    reason: Reason | None = None
    result: Any = None
    failure: Failure | None = None

    @property
    def of_attempt(self) -> str:
        """What the row of the attempt says: the job's state, or that it will be tried again."""
        return {State.SCHEDULED: "retried", State.QUEUED: "requeued"}.get(self.state, self.state.value)


@dataclass(frozen=True)
class JobRow:
    """A row of ``jobs``, every column by its name."""

    id: str
    task: str
    queue: str | None
    priority: int | None
    state: State
    reason: Reason | None
    args: Any
    kwargs: Any
    result: Any
    progress: Any
    error_type: str | None
    error_message: str | None
    exception: Any
    error_traceback: str | None
    error_fingerprint: str | None
    retries: int
    attempts: int
    worker: str | None
    enqueued_at: datetime | None
    eta: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    parent_id: str | None
    root_id: str | None
    group_id: str | None
    replay_of: str | None
    schedule: str | None

    @property
    def runtime(self) -> float | None:
        """Seconds from the last start to the end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True)
class AttemptRow:
    """A row of ``attempts``."""

    job_id: str
    number: int
    worker: str | None
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error_type: str | None
    error_message: str | None


@dataclass(frozen=True)
class AuditRow:
    """A row of ``audit``: what a person did."""

    id: int
    at: datetime
    actor: str
    action: str
    job_id: str | None
    details: Any


def clip(value: str) -> str:
    """``value`` as a column of ``ID_LENGTH`` takes it."""
    return plain(value)[:ID_LENGTH]
