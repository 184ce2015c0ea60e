"""What goes into the ledger and what comes out of it, as frozen values; no SQL here."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from penstock.errors import UnserialisableResult
from penstock.job import Reason, State
from penstock.ledger.encoding import encoded
from penstock.ledger.tables import ID_LENGTH, Kind, Resolution, plain

if TYPE_CHECKING:
    from penstock.ledger.records import Part


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
    deliveries: int = 0
    """How often its message had been delivered before."""
    token: str | None = None
    """Of its claim, with the claimer: no two are alike. None: it came without a claim."""
    worker: str | None = None
    enqueued_at: datetime | None = None
    eta: datetime | None = None
    parent_id: str | None = None
    root_id: str | None = None
    group_id: str | None = None
    replay_of: str | None = None
    schedule: str | None = None
    tags: tuple[str, ...] = ()

    def with_arguments_as_text(self) -> Self:
        """The same, for arguments that JSON has no form for; a stock producer may send NaN."""
        return replace(self, args=[repr(self.args)], kwargs={"unserialisable": repr(self.kwargs)})

    def encoded(self) -> Self:
        """The same with its arguments as JSON, or as their text in JSON."""
        try:
            return replace(self, args=encoded(self.args), kwargs=encoded(self.kwargs))
        except UnserialisableResult:
            shown = self.with_arguments_as_text()
            return replace(self, args=encoded(shown.args), kwargs=encoded(shown.kwargs))

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
    exception: Any
    """Celery's form of it: a dict, or that as JSON."""
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
    due: datetime | None = None
    """When a job that is scheduled may start."""

    def encoded(self) -> Self:
        """The same with its result and exception as JSON.

        Raises:
            UnserialisableResult: the result is not JSON.
        """
        failure = self.failure
        if failure is not None:
            failure = replace(failure, exception=encoded(failure.exception))
        return replace(self, result=encoded(self.result), failure=failure)

    @property
    def of_attempt(self) -> str:
        """What the row of the attempt says: the job's state, or why it will start again."""
        if self.reason in (Reason.CRASHED, Reason.SNOOZED):
            return self.reason.value
        return {State.SCHEDULED: "retried", State.QUEUED: "requeued"}.get(self.state, self.state.value)


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message that nobody could run, with all that is known of it."""

    id: str
    """The entry's id in Redis."""
    kind: Kind
    queue: str
    step: int
    """Of the priority."""
    reason: str
    """What happened, for people."""
    payload: bytes
    """As it was on the wire."""
    deliveries: int
    at: datetime
    job: Delivery | None = None
    """What the message says of its job, as far as it could be read."""
    part: Part | None = None
    """What it says of a chord that the job is part of."""
    cause: Reason = Reason.CRASHED
    """What a buried letter makes of its job's failure: CRASHED, REJECTED or UNREADABLE."""

    def columns(self) -> dict[str, Any]:
        """The values as columns of ``dead_letters``."""
        return {
            "id": letter_id(self.id),
            "kind": self.kind.value,
            "job_id": clip(self.job.id) if self.job else None,
            "task": clip(self.job.task) if self.job else None,
            "queue": clip(self.queue),
            "step": self.step,
            "reason": self.reason,
            "payload": self.payload,
            "deliveries": self.deliveries,
            "at": self.at,
        }


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
    deliveries: int
    token: str | None
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
    tags: tuple[str, ...]

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
    retries: int
    deliveries: int
    token: str | None
    worker: str | None
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error_type: str | None
    error_message: str | None


@dataclass(frozen=True)
class LetterRow:
    """A row of ``dead_letters`` without its payload, which may be large."""

    id: str
    kind: Kind
    job_id: str | None
    task: str | None
    queue: str
    step: int
    reason: str
    deliveries: int
    at: datetime
    resolution: Resolution | None
    resolved_at: datetime | None
    resolved_by: str | None
    replay_job_id: str | None
    size: int
    """Bytes of the payload."""


@dataclass(frozen=True)
class Standing:
    """How far a job has come: what a claim that may be a repeated delivery has to know."""

    state: State
    worker: str | None
    """Where the newest attempt started."""
    started_at: datetime | None
    """When it started."""
    retries: int
    """Of the message that it started from."""


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


def letter_id(id: str) -> str:
    """``id`` as the key of ``dead_letters`` takes it. Its end tells entries apart, its beginning names a host."""
    return plain(id)[-ID_LENGTH:]
