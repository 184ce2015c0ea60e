"""What the beats of both sides are told to start, and when: declared as Celery's ``beat_schedule``.

Read by the applications of both sides, so this module imports nothing of ours.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from celery import Celery
from celery.schedules import BaseSchedule, schedstate

FILE = "FAULTS_TIMETABLE"
"""Environment variable with the file's name; without it nothing is scheduled."""
TASK = "faults.tick"
"""It is told the key of its schedule."""


class Times(BaseSchedule):
    """Moments of a list, each like a line of a crontab that comes once: Celery's crontab knows no seconds.

    As with Celery's crontab, it is due when one of them lies between the last run and now.
    """

    def __init__(self, moments: Sequence[float], nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        super().__init__(nowfun=nowfun, app=app)
        self.moments = tuple(moments)

    def is_due(self, last_run_at: datetime) -> Any:
        """Celery's question: whether it is due, and in how many seconds to ask again."""
        last, now = (self.maybe_make_aware(each).timestamp() for each in (last_run_at, self.now()))
        following = min((moment for moment in self.moments if moment > now), default=math.inf)
        return schedstate(any(last < moment <= now for moment in self.moments), following - now)

    def __repr__(self) -> str:
        return f"<times: {self.moments}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Times) and other.moments == self.moments

    def __hash__(self) -> int:
        return hash(self.moments)

    def __reduce__(self) -> Any:
        return type(self), (self.moments,)


def declare_schedules(app: Celery) -> dict[str, float]:
    """Puts the timetable on ``app``; the seconds within which some of them are to be caught up with, by key.

    Celery has no word for the latter, so it is for our side alone to make something of it.
    """
    if FILE not in os.environ:
        return {}
    told = json.loads(Path(os.environ[FILE]).read_text())
    app.conf.beat_schedule = {
        each["key"]: {"task": TASK, "schedule": each["every"] or Times(each["moments"]), "args": [each["key"]]}
        for each in told
    }
    return {each["key"]: each["catch_up"] for each in told if each["catch_up"] is not None}
