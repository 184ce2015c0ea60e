"""Notes what becomes of jobs that run in the process of the tests, by Celery's signals and by what is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import signals

from penstock.ledger.records import Record, Step
from penstock.testing.attempts import Attempt


class Notes:
    """Of one test."""

    def __init__(self, ahead: Callable[[], float]) -> None:
        """Args:
        ahead: by how many seconds the test's clock is ahead of the real one.
        """
        self._ahead = ahead
        self.attempts: list[Attempt] = []
        """In the order of their starts."""
        self.cancelled: list[str] = []
        """Ids of jobs that did not start."""
        signals.task_failure.connect(self._on_failure, weak=False)
        signals.task_retry.connect(self._on_retry, weak=False)
        signals.task_revoked.connect(self._on_revoked, weak=False)

    def end(self) -> None:
        """Hears no more signals."""
        signals.task_failure.disconnect(self._on_failure)
        signals.task_retry.disconnect(self._on_retry)
        signals.task_revoked.disconnect(self._on_revoked)

    def begin(self, id: str, task: str, number: int) -> Attempt:
        """An attempt starts."""
        attempt = Attempt(id=id, task=task, number=number)
        self.attempts.append(attempt)
        return attempt

    def take(self, attempt: Attempt, records: Sequence[Record]) -> None:
        """Takes in how an attempt has ended, as the ledger has it."""
        for record in records:
            if record.delivery.id == attempt.id and record.step is Step.END and record.outcome is not None:
                attempt.state = record.outcome.state

    def last_of(self, id: Any) -> Attempt | None:
        """The latest attempt of a job; None: it has not started."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.id == id), None)

    def _on_failure(self, task_id: Any = None, exception: Any = None, **_: Any) -> None:
        if (attempt := self.last_of(task_id)) is not None:
            attempt.error = exception

    def _on_retry(self, request: Any = None, reason: Any = None, **_: Any) -> None:
        if (attempt := self.last_of(getattr(request, "id", None))) is not None:
            attempt.error = getattr(reason, "exc", None) or reason
            attempt.pause = self._seconds_until(getattr(reason, "when", None))

    def _seconds_until(self, when: Any) -> float | None:
        """Of what Celery tells of a retry: seconds from now, or a time."""
        if isinstance(when, datetime):
            aware = when if when.tzinfo else when.replace(tzinfo=UTC)
            return max(aware.timestamp() - time.time() - self._ahead(), 0.0)
        return float(when) if isinstance(when, (int, float)) else None

    def _on_revoked(self, request: Any = None, **_: Any) -> None:
        self.cancelled.append(str(getattr(request, "id", "")))
