"""What has to come when, worked out the slow way: a walk through all minutes, without our code and without cronsim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from itertools import groupby
from typing import Literal
from zoneinfo import ZoneInfo

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PER_DAY = 24 * 60
WARM_UP = 2 * DAY
"""By so much a walk begins earlier: who starts within a repeated hour would take it for the first."""
REACH = 16 * HOUR
"""No wall is further away from UTC than this, not even where a whole day is left out."""

DAYS_OF_WEEK = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ORDINALS = ("first", "second", "third", "fourth", "fifth")
Dst = Literal["cron", "literal"]


@lru_cache
def zone(name: str) -> ZoneInfo:
    """A zone of the package tzdata, whatever the host has."""
    with (resources.files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def walls(name: str, start: datetime, end: datetime) -> list[int]:
    """What the clocks of a zone show at each minute from ``start`` to ``end``, in minutes since the year 1."""
    local, first = zone(name), int(start.timestamp())
    return [minute_of(datetime.fromtimestamp(first + 60 * n, local)) for n in range((end - start) // MINUTE)]


_cached_walls = lru_cache(maxsize=64)(walls)


def minute_of(shown: datetime) -> int:
    """A wall as a number."""
    return shown.toordinal() * PER_DAY + shown.hour * 60 + shown.minute


@lru_cache
def shifts(name: str, first_year: int, last_year: int) -> list[datetime]:
    """The first minutes with another offset than the minute before."""
    local, found = zone(name), []
    day, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year, 1, 1, tzinfo=UTC)
    while day < end:
        if day.astimezone(local).utcoffset() != (day + DAY).astimezone(local).utcoffset():
            shown = walls(name, day, day + DAY + MINUTE)
            found += [day + n * MINUTE for n in range(1, len(shown)) if shown[n] != shown[n - 1] + 1]
        day += DAY
    return found


class Expression:
    """Five fields of cron as sets."""

    def __init__(self, text: str, days: str = "either") -> None:
        minute, hour, day, month, weekday = text.lower().split()
        hours = _numbers(hour, 0, 23)
        self.times = {60 * h + m for h in hours for m in _numbers(minute, 0, 59)}
        plain, self.last_days = _apart(day)
        self.days = _numbers(plain, 1, 31) if plain else set()
        self.months = _numbers(month, 1, 12, MONTHS)
        plain, self.nth_weekdays = _apart(weekday)
        self.weekdays = {number % 7 for number in _numbers(plain, 0, 7, DAYS_OF_WEEK)} if plain else set()
        self.both = days == "both" or day.startswith("*") or weekday.startswith("*")
        self.is_open = hour.startswith("*") or hours == set(range(24))
        self.is_wild = minute.startswith("*") or hour.startswith("*")
        self._known: dict[int, bool] = {}

    def __contains__(self, minute: int) -> bool:
        day, time = divmod(minute, PER_DAY)
        if time not in self.times:
            return False
        if day not in self._known:
            self._known[day] = self.has_day(date.fromordinal(day))
        return self._known[day]

    def has_day(self, day: date) -> bool:
        matches = (self._has_day_of_month(day), self._has_day_of_week(day))
        return day.month in self.months and (all(matches) if self.both else any(matches))

    def _has_day_of_month(self, day: date) -> bool:
        if day.day in self.days or not self.last_days:
            return day.day in self.days
        month = [each for each in _around(day) if each.month == day.month]
        working = [each for each in month if each.isoweekday() < 6]
        return ("l" in self.last_days and day == month[-1]) or ("lw" in self.last_days and day == working[-1])

    def _has_day_of_week(self, day: date) -> bool:
        number = day.isoweekday() % 7
        if number in self.weekdays or not self.nth_weekdays:
            return number in self.weekdays
        alike = [each for each in _around(day) if each.month == day.month and each.weekday() == day.weekday()]
        place = alike.index(day) + 1
        for word in self.nth_weekdays:
            name, _, nth = word.rstrip("l").partition("#")
            meant = min(_numbers(name, 0, 7, DAYS_OF_WEEK)) % 7
            if meant == number and (place == int(nth) if nth else day == alike[-1]):
                return True
        return False


def _around(day: date) -> list[date]:
    return [day + n * DAY for n in range(-31, 32)]


def _apart(field: str) -> tuple[str, list[str]]:
    """The terms that are plain numbers, and those that count from the end or by weeks: L, LW, 5L, 5#2."""
    terms = field.split(",")
    special = [term for term in terms if term == "lw" or "#" in term or term.lstrip("0123456789") == "l"]
    return ",".join(term for term in terms if term not in special), special


def _numbers(field: str, low: int, high: int, names: Sequence[str] = ()) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        if first == "*":
            begin, end = low, high
        else:
            begin = _number(first, low, names)
            end = _number(last, low, names) if last else (high if step else begin)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _number(word: str, low: int, names: Sequence[str]) -> int:
    return names.index(word) + low if word in names else int(word)


def cron(
    text: str, name: str, start: datetime, end: datetime, *, dst: Dst = "cron", days: str = "either"
) -> list[datetime]:
    """The instants from ``start`` to ``end`` at which an expression fires."""
    expression, begin = Expression(text, days), start - WARM_UP
    shown = _cached_walls(name, begin, end)
    hits = _literal(expression, shown) if dst == "literal" or expression.is_open else _fixed(expression, shown)
    return [instant for n in hits if (instant := begin + n * MINUTE) >= start]


def _literal(expression: Expression, shown: list[int]) -> Iterator[int]:
    return (n for n, minute in enumerate(shown) if minute in expression)


def _fixed(expression: Expression, shown: list[int]) -> Iterator[int]:
    """Each time when clocks reach it for the first time, be it by a jump."""
    reached = shown[0] - 1
    for n, minute in enumerate(shown):
        if any(each in expression for each in range(reached + 1, minute + 1)):
            yield n
        reached = max(reached, minute)


def debian(text: str, name: str, start: datetime, end: datetime) -> list[datetime]:
    """The instants at which Debian's daemon starts a command: the main loop of cron.c in cron 3.0pl1, as a model.

    A command is `wild` there when its minute *or* its hour begins with a star, and each time that was jumped over is a
    start of its own; both differ from the rule that we follow.
    """
    expression, begin = Expression(text), start - WARM_UP
    shown = _cached_walls(name, begin, end)
    hits, virtual = [], shown[0] - 1
    for n, running in enumerate(shown):
        ahead = running - virtual
        if 0 < ahead <= 5:
            minutes = list(range(virtual + 1, running + 1))
        elif 5 < ahead <= 180:
            minutes = [running] if expression.is_wild else list(range(virtual + 1, running + 1))
        elif -180 < ahead <= 0:
            minutes = [running] if expression.is_wild else []
        else:
            minutes = [running]
        virtual = virtual if -180 < ahead <= 0 else running
        hits += [begin + n * MINUTE for minute in minutes if minute in expression]
    return [instant for instant in hits if instant >= start]


def calendar(
    unit: str,
    on: str,
    at: str,
    interval: int,
    since: date,
    name: str,
    start: datetime,
    end: datetime,
    *,
    dst: Dst = "cron",
) -> list[datetime]:
    """The instants from ``start`` to ``end`` at which a calendar interval fires."""
    hour, minute = map(int, at.split(":"))
    first, last = start.date() - 2 * DAY, end.date() + 2 * DAY
    # A year more on both sides, so that the periods of all days between are whole.
    days = [first + n * DAY for n in range(-366, (last - first).days + 366)]
    found = []
    for number, period in groupby(days, lambda day: _period(unit, day)):
        if (number - _period(unit, since)) % interval == 0:
            for day in _picked(unit, on, list(period)):
                if first <= day <= last:
                    found += _instants(name, datetime(day.year, day.month, day.day, hour, minute), dst)
    return [instant for instant in found if start <= instant < end]


@lru_cache(maxsize=256)
def _instants(name: str, shown: datetime, dst: Dst) -> list[datetime]:
    begin = shown.replace(tzinfo=UTC) - REACH
    walk, wanted = walls(name, begin, begin + 2 * REACH), minute_of(shown)
    if dst == "literal":
        return [begin + n * MINUTE for n, minute in enumerate(walk) if minute == wanted]
    return [begin + next(n for n, minute in enumerate(walk) if minute >= wanted) * MINUTE]


def _period(unit: str, day: date) -> int:
    """Days with the same number are in the same period."""
    if unit == "day":
        return (day - date(2000, 1, 1)).days
    if unit == "week":
        return (day - date(2000, 1, 3)).days // 7
    months = {"month": 1, "quarter": 3, "year": 12}[unit]
    return (day.year - 2000) * (12 // months) + (day.month - 1) // months


def _picked(unit: str, on: str, period: list[date]) -> list[date]:
    """The days of a whole period that are meant."""
    if not on:
        return period[:1]
    if unit == "week":
        return [day for day in period if day.strftime("%A").lower() in on.split(", ")]
    if on.isdecimal():
        return [day for number, day in enumerate(period, 1) if number == int(on)]
    ordinal, _, what = on.partition(" ")
    fitting = [each for each in period if _is_called(each, what)]
    if ordinal == "last":
        return fitting[-1:]
    return [day for number, day in enumerate(fitting) if number == ORDINALS.index(ordinal)]


def _is_called(day: date, what: str) -> bool:
    return what == "day" or (what == "working day" and day.isoweekday() < 6) or what == day.strftime("%A").lower()


def every(step: int, phase: int, instant: int) -> int:
    """The first of ``phase``, ``phase + step``, ``phase + 2 * step`` … after an instant; all of them microseconds."""
    found = instant - instant % step + phase - step
    while found <= instant:
        found += step
    return found
