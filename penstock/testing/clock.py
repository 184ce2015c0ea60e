"""The time of a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.testing.jobs import Jobs


class Clock:
    """Stands at the real time until it is moved, and goes on from there."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.ahead = 0.0
        """Seconds by which it is ahead of the real time."""

    def now(self) -> datetime:
        """The time of the test, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def stop(self) -> None:
        """Everything goes by the real time again."""
        self.ahead = 0.0
