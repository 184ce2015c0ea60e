"""Schedules in the form that Celery's own beat reads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from celery.schedules import ParseException, crontab

from penstock.errors import DeclarationError
from penstock.message import SCHEDULE
from penstock.scheduler.schedule import Cron, Every, Schedule


def beat_entries(schedules: Iterable[Schedule]) -> dict[str, dict[str, Any]]:
    """Celery's ``beat_schedule``; each job carries the name of its schedule in a header."""
    return {
        schedule.name: {
            "task": schedule.task.name,
            "schedule": _when(schedule),
            "kwargs": dict(schedule.kwargs),
            "options": {"headers": {SCHEDULE: schedule.name}},
        }
        for schedule in schedules
    }


def _when(schedule: Schedule) -> crontab | timedelta:
    if isinstance(schedule.when, Every):
        return timedelta(seconds=schedule.when.seconds)
    return _crontab(schedule.name, schedule.when)


def _crontab(name: str, when: Cron) -> crontab:
    minute, hour, day, month, weekday = when.expression.split()
    try:
        return crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday)
    except (ParseException, ValueError) as error:
        raise DeclarationError(f"schedule {name!r}: cron {when.expression!r}: {error}") from None
