"""Calendar intervals: every month on its last working day, every second week on Monday and Thursday."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from penstock.errors import DeclarationError
from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.timing import Dst, kind

Unit = Literal["day", "week", "month", "quarter", "year"]
UNITS: tuple[Unit, ...] = ("day", "week", "month", "quarter", "year")
MONTHS = {"month": 1, "quarter": 3, "year": 12}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
LONGEST_SEARCH = 1000
"""Periods that are looked at for one that has the day: the 29th of February comes at last after eight years."""
Choice = Callable[[list[date]], Iterator[date]]


@dataclass(frozen=True)
class Calendar:
    """Every so many days, weeks, months, quarters or years.

    Args:
        unit: the period.
        on: which day of it. Of a week: weekdays, ``"monday, thursday"``. Of longer periods: ``"15"``, ``"last day"``,
            ``"first monday"``, ``"last working day"`` (Monday to Friday), ``"second working day"``. Empty: the first
            day. A period that has no such day, as February has no 30th, is left out.
        at: hour and minute in the schedule's time zone, ``"09:30"``.
        interval: every so many periods, counted from that of ``since``.
        since: any day of a period that has one; 2001-01-01, a Monday, if absent.

    Raises:
        DeclarationError: a word is unknown, or such a day never comes.
    """

    kind: ClassVar[str] = "calendar"
    unit: Unit
    on: str = ""
    at: str = "00:00"
    interval: int = 1
    since: date = date(2001, 1, 1)

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise DeclarationError(f"calendar unit {self.unit!r}: one of {', '.join(UNITS)}")
        if type(self.interval) is not int or not 1 <= self.interval <= 1000:
            raise DeclarationError(f"calendar interval={self.interval!r}: a whole number from 1 to 1000")
        if type(self.since) is not date:
            raise DeclarationError(f"calendar since={self.since!r}: a date")
        if not (isinstance(self.at, str) and re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", self.at)):
            raise DeclarationError(f"calendar at={self.at!r}: hour and minute, such as 09:30")
        if not isinstance(self.on, str):
            raise DeclarationError(f"calendar on={self.on!r}: words, such as 'last day' or '15'")
        if next(self._days_from(self.since), None) is None:
            raise DeclarationError(f"calendar: {self}, counted from {self.since}: there is no such day")

    def __str__(self) -> str:
        every = f"every {self.unit}" if self.interval == 1 else f"every {self.interval} {self.unit}s"
        return f"{every} on {self.on} at {self.at}" if self.on else f"{every} at {self.at}"

    def words(self) -> dict[str, Any]:
        """Itself as JSON values."""
        words = {"kind": self.kind, "unit": self.unit, "at": self.at, "since": self.since.isoformat()}
        return words | {"interval": self.interval} | ({"on": self.on} if self.on else {})

    def after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The first planned time after an instant."""
        try:
            return self._after(instant, zone, dst)
        except OverflowError:
            return None  # The calendar ends with the year 9999.

    def _after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        moment, shown = time.fromisoformat(self.at), zones.wall(instant, zone)
        # A day earlier: clocks that are put back over midnight show yesterday's times once more.
        for day in self._days_from(shown.date() - timedelta(days=1)):
            local = datetime.combine(day, moment)
            instants = zones.instants_of(local, zone) if dst == "literal" else (zones.first_instant(local, zone),)
            if found := next((each for each in instants if each > instant), None):
                return found
        return None

    def _days_from(self, day: date) -> Iterator[date]:
        choose = _choice(self.unit, self.on)
        number = (self._number(day) - self._number(self.since)) // self.interval * self.interval
        number += self._number(self.since)
        for _ in range(LONGEST_SEARCH):
            try:
                yield from (each for each in choose(self._period(number)) if each >= day)
            except (OverflowError, ValueError):
                return  # There are no dates behind the year 9999.
            number += self.interval

    def _number(self, day: date) -> int:
        """Of the period that a day is in."""
        if self.unit == "day":
            return day.toordinal()
        if self.unit == "week":
            return (day.toordinal() - 1) // 7
        return (day.year * 12 + day.month - 1) // MONTHS[self.unit]

    def _period(self, number: int) -> list[date]:
        """Its days."""
        if self.unit == "day":
            return [date.fromordinal(number)]
        if self.unit == "week":
            return [date.fromordinal(number * 7 + 1 + each) for each in range(7)]
        first, following = (_first_of_month((number + each) * MONTHS[self.unit]) for each in (0, 1))
        return [first + timedelta(days=each) for each in range((following - first).days)]


def _first_of_month(months: int) -> date:
    return date(months // 12, months % 12 + 1, 1)


@lru_cache(maxsize=1024)
def _choice(unit: str, on: str) -> Choice:
    """Which days of a period are meant.

    Raises:
        DeclarationError: nobody knows.
    """
    words = on.lower().split()
    if not words:
        return lambda days: iter(days[:1])
    if unit == "week" and (chosen := _weekdays(on)):
        return lambda days: (day for day in days if day.weekday() in chosen)
    if unit in MONTHS and (choice := _day_of_longer(words)):
        return choice
    raise DeclarationError(
        f"calendar: on={on!r} means no day of a {unit}; a week has 'monday, thursday', longer periods have '15', "
        "'last day', 'first monday', 'last working day', and a day has none"
    )


def _weekdays(on: str) -> frozenset[int] | None:
    names = [name.strip().lower() for name in on.split(",")]
    return frozenset(map(WEEKDAYS.index, names)) if set(names) <= set(WEEKDAYS) else None


def _day_of_longer(words: list[str]) -> Choice | None:
    if len(words) == 1 and words[0].isdecimal() and 1 <= int(words[0]) <= 366:
        return lambda days: iter(days[int(words[0]) - 1 : int(words[0])])
    place, what = ORDINALS.get(words[0]), " ".join(words[1:])
    fits = {"day": range(7), "working day": range(5)} | {name: (number,) for number, name in enumerate(WEEKDAYS)}
    if place is None or what not in fits:
        return None

    def choose(days: list[date]) -> Iterator[date]:
        fitting = [day for day in days if day.weekday() in fits[what]]
        return iter(fitting[place:] if place < 0 else fitting[place : place + 1])

    return choose


kind(Calendar.kind, lambda words: Calendar(**{**words, "since": date.fromisoformat(words["since"])}))
