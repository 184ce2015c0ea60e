"""What comes next: planned times with their offsets, and the nights on which clocks lose or double one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from penstock.scheduler.schedule import Schedule
from penstock.scheduler.timetables.calendar import Calendar
from penstock.scheduler.timetables.cron import Cron
from penstock.scheduler.timetables.zones import Shift, shifts, zone_of

AHEAD = timedelta(days=400)
"""How far ahead nights on which clocks are shifted are looked for."""
INSTANT = timedelta(microseconds=1)


def planned_times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """The planned times after an instant, in the zone of the schedule; days that are excluded are left out."""
    following = schedule.after(after)
    while following is not None:
        if not schedule.is_excluded(following):
            yield following.astimezone(schedule.zone)
        following = schedule.after(following)


@dataclass(frozen=True)
class Oddity:
    """A day on which clocks are shifted, and what that does to a schedule."""

    day: date
    text: str


def oddities(schedule: Schedule, after: datetime) -> Iterator[Oddity]:
    """The days within 400 days on which a planned time is lost, or comes twice, because clocks are shifted."""
    if not isinstance(schedule.when, (Cron, Calendar)) or _counts_all_hours(schedule):
        return
    for shift in _shifts_ahead(schedule.zone, after.replace(minute=0, second=0, microsecond=0)):
        if text := _effect(schedule, shift):
            yield Oddity(shift.before.date(), text)


@lru_cache(maxsize=64)
def _shifts_ahead(zone: ZoneInfo, after: datetime) -> tuple[Shift, ...]:
    """Looked for once for all schedules of a zone."""
    return tuple(shifts(zone, after, after + AHEAD))


def _counts_all_hours(schedule: Schedule) -> bool:
    return isinstance(schedule.when, Cron) and schedule.when.has_all_hours and schedule.dst == "cron"


def _effect(schedule: Schedule, shift: Shift) -> str | None:
    low, high = sorted((shift.before, shift.after))
    shown = list(_shown(schedule, low, high))
    if not shown:
        return None
    times = ", ".join(f"{each:%H:%M}" for each in shown[:3]) + (", …" if len(shown) > 3 else "")
    is_literal = schedule.dst == "literal" or (isinstance(schedule.when, Cron) and schedule.when.is_open)
    if not shift.is_forward:
        return f"{times} comes twice" if is_literal else None
    if is_literal:
        return f"{times} does not come"
    right_after = next(_shown(schedule, high, high + INSTANT), None)
    merged = len(shown) + (right_after is not None)
    return f"{merged} fires become one, at {high:%H:%M}" if merged > 1 else None


def _shown(schedule: Schedule, low: datetime, high: datetime) -> Iterator[datetime]:
    """The times that clocks would show from ``low`` to before ``high``, if nobody shifted them."""
    end = high.replace(tzinfo=UTC)
    following = schedule.when.after(low.replace(tzinfo=UTC) - INSTANT, zone_of("UTC"), "cron")
    while following is not None and following < end:
        yield following.replace(tzinfo=None)
        following = schedule.when.after(following, zone_of("UTC"), "cron")
