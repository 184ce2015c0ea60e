"""What became of jobs that were run in the process of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from penstock.job import State


@dataclass
class Attempt:
    """One start of a job.

    Attributes:
        id: of the job.
        task: the task's name.
        number: which start of the job it is, from 1.
        state: of the job after it.
        pause: seconds until the next start, when it has asked for one.
        error: what the body raised.
    """

    id: str
    task: str
    number: int
    state: State = State.RUNNING
    pause: float | None = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Waiting:
    """A job, or several, that a drain has left, and why.

    Attributes:
        queue: where.
        reason: in words.
        due: when it may start, for one that waits for a time.
    """

    queue: str
    reason: str
    due: datetime | None = None

    def __str__(self) -> str:
        return f"{self.queue}: {self.reason}"


@dataclass(frozen=True)
class Drained:
    """What a drain has done.

    Attributes:
        attempts: every start of a job, in order.
        cancelled: ids of jobs that were revoked or had expired, so that they did not start.
        waiting: what is left, and why.
    """

    attempts: Sequence[Attempt] = field(repr=False)
    cancelled: Sequence[str]
    waiting: Sequence[Waiting] = ()

    @property
    def succeeded(self) -> list[Attempt]:
        """Attempts after which their job had succeeded."""
        return [attempt for attempt in self.attempts if attempt.state is State.SUCCEEDED]

    @property
    def failed(self) -> list[Attempt]:
        """Attempts after which their job had failed for good."""
        return [attempt for attempt in self.attempts if attempt.state is State.FAILED]

    @property
    def retried(self) -> list[Attempt]:
        """Attempts that have asked for another."""
        return [attempt for attempt in self.attempts if attempt.state in (State.SCHEDULED, State.QUEUED)]

    def raise_errors(self) -> None:
        """Raises what the bodies of failed jobs have raised: one error as it is, several as a group."""
        errors = [attempt.error for attempt in self.failed if isinstance(attempt.error, Exception)]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} jobs have failed", errors)

    def __str__(self) -> str:
        told = {"succeeded": self.succeeded, "failed": self.failed, "retried": self.retried}
        counts = ", ".join(f"{len(attempts)} {name}" for name, attempts in told.items())
        left = "; ".join(map(str, self.waiting)) or "nothing"
        return f"{counts}, {len(self.cancelled)} cancelled; what still waits: {left}"


class StillWaiting(AssertionError):
    """A drain did not come to its end in time; the message says what still waits and why."""
