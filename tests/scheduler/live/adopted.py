"""A Celery app as Celery's manual has them, adopted: `celery -A tests.scheduler.live.adopted beat`."""

import os
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab, solar

import penstock
from tests.scheduler.live.tasks import say

app = Celery("adopted", broker=os.environ["REDIS_URL"])
app.conf.timezone = "Europe/Berlin"
app.conf.beat_schedule = {
    "each minute": {"task": "adopted.note", "schedule": crontab(), "args": ("each minute",)},
    "each second minute": {"task": "adopted.note", "schedule": crontab("*/2", "21"), "args": ("each second minute",)},
    "each 30 s": {"task": "adopted.note", "schedule": timedelta(seconds=30), "args": ("each 30 s",)},
    "each 45 s": {"task": "adopted.note", "schedule": 45.0, "args": ("each 45 s",), "options": {"queue": "other"}},
    "sunset": {"task": "adopted.note", "schedule": solar("sunset", 52.5, 13.4), "kwargs": {"schedule": "sunset"}},
}
penstock.adopt(app, ledger=os.environ["DATABASE_URL"])


@app.task(name="adopted.note", bind=True)
def note(self: Any, schedule: str) -> None:
    """Says for what it was started."""
    say(job=self.request.id, schedule=schedule)
