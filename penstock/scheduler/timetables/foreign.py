"""Schedule objects of Celery's: solar ones, and those that somebody has written."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from penstock.errors import DeclarationError
from penstock.scheduler.timetables.cron import Cron
from penstock.scheduler.timetables.interval import SHORTEST, Every
from penstock.scheduler.timetables.timing import Dst, When, kind

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
NO_PART = ("app", "_app", "nowfun")
"""What Celery's base class keeps in each schedule."""
LONGEST_WALK = 10_000
"""Looks at one object for its next time."""
SHORTEST_STEP = timedelta(seconds=SHORTEST)


@dataclass(frozen=True)
class Foreign:
    """Any object with Celery's ``is_due``: ``Foreign(solar("sunset", 52.5, 13.4))``.

    It is asked with its clock set to other times, and not waited upon, so that its times are the same for every
    scheduler. Only schedulers whose application declares it can ask it: what is stored is how it looks.
    """

    kind: ClassVar[str] = "celery"
    object: Any
    looks: str = ""
    app: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.object is not None and not callable(getattr(self.object, "is_due", None)):
            raise DeclarationError(f"{self.object!r} is no schedule of Celery's; it has no is_due()")
        if not self.looks:
            object.__setattr__(self, "looks", _looks(self.object))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Foreign) and other.looks == self.looks

    def __hash__(self) -> int:
        return hash(self.looks)

    def __str__(self) -> str:
        return self.looks.strip("<>")

    def words(self) -> dict[str, Any]:
        """How it looks."""
        return {"kind": self.kind, "looks": self.looks}

    def belong_to(self, app: Any) -> None:
        """Tells the object its application, as Celery's beat does; it would ask whatever application is current."""
        object.__setattr__(self, "app", app)

    def after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The first planned time after an instant.

        Raises:
            DeclarationError: the object is not here, or gives nonsense.
        """
        if self.object is None:
            raise DeclarationError(f"{self.looks} is known only where it is declared")
        last, now = instant.astimezone(zone), instant.astimezone(UTC)
        for _ in range(LONGEST_WALK):
            # Steps are of time that passes: added to what clocks show, they would be off by an hour twice a year.
            is_due, step = self._asked(last, now.astimezone(zone))
            if is_due and now > last:
                return now
            try:
                # Also the microsecond that rounding may have left of the way; who names no step is asked later.
                now += step if step > timedelta(0) else SHORTEST_STEP
            except OverflowError:
                return None
        raise DeclarationError(f"{self.looks} was not due at any of {LONGEST_WALK:,} times that it named itself")

    def _asked(self, last: datetime, now: datetime) -> tuple[bool, timedelta]:
        """Celery's question whether it is due, and when to ask again."""
        asked = copy.copy(self.object)
        asked.nowfun = lambda: now
        if self.app is not None:  # Celery's own ones forget it when they are copied.
            asked.app = self.app
        is_due, seconds = asked.is_due(last)
        try:
            return bool(is_due), timedelta(seconds=float(seconds))
        except OverflowError:
            return bool(is_due), timedelta.max


def _looks(given: Any) -> str:
    """How an object looks, the same in every process: an address in memory is left out, and Python's own way to show
    one, which has nothing else, replaced by what it was made of.
    """
    shown, cls = repr(given), type(given)
    if shown == object.__repr__(given):
        made_of = sorted(getattr(given, "__dict__", {}).items())
        parts = (f" {name}={value!r}" for name, value in made_of if name not in NO_PART)
        shown = f"<{cls.__module__}.{cls.__qualname__}:{','.join(parts)}>"
    return ADDRESS.sub("", shown)


def from_celery(given: Any) -> When:
    """The timetable that an entry of Celery's ``beat_schedule`` means: ours where it can say the same.

    Args:
        given: a number of seconds, a timedelta, or a schedule object.

    Raises:
        DeclarationError: it is none of these.
    """
    from celery import schedules

    if given is None:
        raise DeclarationError("there is no schedule; give seconds, a timedelta, or a schedule object of Celery's")
    if isinstance(given, schedules.schedule) and type(given) is schedules.schedule:
        given = given.run_every
    if isinstance(given, timedelta):
        return Every(given.total_seconds())
    if isinstance(given, (int, float)):
        return Every(given)
    if type(given) is schedules.crontab:
        return _cron(given)
    return Foreign(given)


def _cron(given: Any) -> Cron:
    """By the sets that Celery has made of the fields: it knows forms that cron does not, such as ``fri-mon``."""
    minute = _field(given.minute, range(60))
    hour = _field(given.hour, range(24))
    day = _field(given.day_of_month, range(1, 32))
    month = _field(given.month_of_year, range(1, 13))
    weekday = _field(given.day_of_week, range(7))
    return Cron(f"{minute} {hour} {day} {month} {weekday}", days="both")


def _field(chosen: set[int], everything: range) -> str:
    return "*" if chosen >= set(everything) else ",".join(map(str, sorted(chosen)))


kind(Foreign.kind, lambda words: Foreign(None, words["looks"]))
