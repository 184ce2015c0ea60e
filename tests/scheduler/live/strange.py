"""Timetables that somebody else has written, as objects of Celery's kind, good and bad ones."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from celery.schedules import schedstate, schedule

BUSY_SECONDS = 3.0


class Strange(schedule):
    """Every so many seconds, but no schedule of Celery's own, so that it has to be asked."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.run_every.total_seconds():g}>"


class Slow(Strange):
    """Thinks for long before it names a time."""

    def is_due(self, last_run_at: datetime) -> Any:
        answer: schedstate = super().is_due(last_run_at)
        if answer.is_due:
            time.sleep(BUSY_SECONDS)
        return answer


class Hanging(Strange):
    """Never comes back."""

    def is_due(self, last_run_at: datetime) -> Any:
        while True:
            time.sleep(60)


class Failing(Strange):
    """Knows nothing."""

    def is_due(self, last_run_at: datetime) -> Any:
        raise LookupError("the calendar has burnt")
