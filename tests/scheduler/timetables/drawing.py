"""What hypothesis draws: zones and the nights on which they shift their clocks, expressions, instants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.timing import Dst, When
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.oracle import DAY, HOUR

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # shifts by half an hour
    "America/Havana",  # at midnight
    "America/St_Johns",  # at a minute past midnight, back into the day before
    "Africa/Casablanca",  # for Ramadan, and winter is the exception
    "Asia/Tehran",  # until 2022
    "Asia/Kathmandu",  # 5:45 ahead, once shifted by 15 minutes for good
    "Pacific/Apia",  # left out 2011-12-30
    "Asia/Gaza",  # by the moon
    "Antarctica/Troll",  # by two hours
    "UTC",
)
YEARS = (1985, 2040)
MOST = 150
"""So many planned times of one timetable are followed."""
SECOND = timedelta(seconds=1)
RULES: st.SearchStrategy[Dst] = st.sampled_from(("cron", "literal"))


@dataclass(frozen=True)
class Span:
    """Some days in a zone."""

    name: str
    start: datetime
    end: datetime

    @property
    def zone(self) -> ZoneInfo:
        return zones.zone_of(self.name)

    def instants(self) -> st.SearchStrategy[datetime]:
        """Instants within, down to the microsecond, half of them in the hours around the middle."""
        first, last = self.start.replace(tzinfo=None), self.end.replace(tzinfo=None) - SECOND
        middle = first + (last - first) / 2
        naive = st.datetimes(first, last) | st.datetimes(middle - 4 * HOUR, middle + 4 * HOUR)
        return naive.map(lambda instant: instant.replace(tzinfo=UTC))


@st.composite
def spans(draw: st.DrawFn, length: timedelta = 3 * DAY) -> Span:
    """Days around a shift of the clocks, mostly; otherwise any."""
    name = draw(st.sampled_from(ZONES))
    shifts = oracle.shifts(name, *YEARS)
    if shifts and draw(st.integers(0, 3)) > 0:
        start = draw(st.sampled_from(shifts)) - length / 2
    else:
        days = (datetime(YEARS[1], 1, 1) - datetime(YEARS[0], 1, 1)) // DAY
        start = datetime(YEARS[0], 1, 1, tzinfo=UTC) + draw(st.integers(0, days)) * DAY
    start = start.replace(minute=0) + draw(st.integers(-2, 2)) * HOUR
    return Span(name, start, start + length)


def chain(when: When, span: Span, start: datetime, dst: Dst) -> list[datetime]:
    """What a scheduler plans that asks from one planned time for the next."""
    found: list[datetime] = []
    following = when.after(start, span.zone, dst)
    while following is not None and following < span.end and len(found) < MOST:
        found.append(following)
        following = when.after(following, span.zone, dst)
    return found


def follows(when: When, span: Span, planned: list[datetime], instant: datetime, dst: Dst) -> None:
    """Asserts that a timetable gives the first planned time after an instant."""
    expected = next((each for each in planned if each > instant), None)
    found = when.after(instant, span.zone, dst)
    assert found == expected or (expected is None and (found is None or found >= span.end)), f"from {instant}"


def words(lowest: int, highest: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Fields of a cron expression."""
    numbers = st.integers(lowest, highest)
    single = numbers.map(str)
    if names:
        single |= st.sampled_from([*names, *map(str.upper, names)])
    # A range of one number with a step is left out: cronsim reads 5-5/2 as 5/2, other crons as 5.
    ranges = st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted).map(lambda ends: f"{ends[0]}-{ends[1]}")
    steps = st.sampled_from((1, 2, 3, 5, 7, 15, 20, 30, 45)).map(lambda step: f"/{step}")
    stepped = st.builds(str.__add__, st.just("*") | single | ranges, steps)
    term = single | ranges | stepped
    return st.just("*") | term | st.lists(term, min_size=2, max_size=3).map(",".join)


MINUTES = words(0, 59)
# Clocks are shifted at night.
HOURS = words(0, 4) | words(0, 23) | st.sampled_from(("0-23", "*/2", "23", "0", "1-3"))
DAYS = words(1, 31) | st.sampled_from(("L", "LW", "l", "1,L", "15,LW", "29", "29-31"))
MONTHS = words(1, 12, oracle.MONTHS)
WEEKDAYS = words(0, 7, oracle.DAYS_OF_WEEK) | st.sampled_from(
    ("MON-FRI", "sun,sat", "5L", "0L,3", "7L", "5#2", "MON#1", "sun#5", "7#3,2#1")
)


def mostly(star: str, other: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """A field that seldom says anything, so that what is drawn comes within a few days."""
    return st.integers(0, 4).flatmap(lambda number: other if number == 0 else st.just(star))


def expressions() -> st.SearchStrategy[str]:
    """Expressions that come in most nights."""
    fields = (MINUTES, HOURS, mostly("*", DAYS), mostly("*", MONTHS), mostly("*", WEEKDAYS))
    return st.tuples(*fields).map(" ".join)


def rare_expressions() -> st.SearchStrategy[str]:
    """Expressions of which the days matter."""
    return st.tuples(st.just("30"), st.just("12"), DAYS, MONTHS, WEEKDAYS).map(" ".join)
