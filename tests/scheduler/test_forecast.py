"""What comes next, and the nights on which clocks lose or double a planned time."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from penstock.scheduler import At, Calendar, Cron, Every, Foreign, Schedule
from penstock.scheduler.forecast import AHEAD, oddities, planned_times
from penstock.scheduler.timetables.zones import zone_of
from tests.scheduler.ground import Odd, sums

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)


def berlin(when: Any, **values: Any) -> Schedule:
    return sums(when=when, timezone="Europe/Berlin", **values)


def shown(made: Schedule, after: datetime = NEW_YEAR, count: int = 3) -> list[str]:
    return [f"{each:%m-%d %H:%M%z}" for each in islice(planned_times(made, after), count)]


def odd(made: Schedule, after: datetime = NEW_YEAR) -> list[tuple[date, str]]:
    """Of this year."""
    return [(each.day, each.text) for each in oddities(made, after) if each.day.year == 2026]


# -- times ------------------------------------------------------------------------------------------------------------


def test_planned_times_are_shown_with_the_offset_of_their_zone() -> None:
    made = berlin(Cron("0 2 * * sun"))
    assert shown(made, datetime(2026, 3, 20, tzinfo=UTC)) == [
        "03-22 02:00+0100",
        "03-29 03:00+0200",
        "04-05 02:00+0200",
    ]


def test_excluded_days_are_left_out() -> None:
    made = berlin(Cron("0 9 * * *"), exclude=(date(2026, 1, 2), date(2026, 1, 3)))
    assert shown(made) == ["01-01 09:00+0100", "01-04 09:00+0100", "01-05 09:00+0100"]


def test_they_end_with_their_schedule() -> None:
    assert shown(berlin(At(NEW_YEAR))) == []
    assert shown(berlin(Every(3600), end=NEW_YEAR + timedelta(hours=2))) == ["01-01 02:00+0100", "01-01 03:00+0100"]


def test_an_instant_itself_is_not_after_it() -> None:
    assert next(planned_times(sums(), NEW_YEAR)) == NEW_YEAR + timedelta(hours=1)


# -- nights on which clocks are shifted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "values", "expected"),
    [
        (Cron("30 2 * * *"), {}, []),
        (Cron("30 2 * * *"), {"dst": "literal"}, [(SPRING, "02:30 does not come"), (AUTUMN, "02:30 comes twice")]),
        (Cron("0,30 2 * * *"), {}, [(SPRING, "2 fires become one, at 03:00")]),
        (Cron("30 2,3 * * *"), {}, []),
        (Cron("0 2,3 * * *"), {}, [(SPRING, "2 fires become one, at 03:00")]),
        (Cron("0 12 * * *"), {"dst": "literal"}, []),
        (Cron("30 * * * *"), {}, []),
        (Cron("30 * * * *"), {"dst": "literal"}, [(SPRING, "02:30 does not come"), (AUTUMN, "02:30 comes twice")]),
        (
            Cron("*/10 2 * * *"),
            {"dst": "literal"},
            [(SPRING, "02:00, 02:10, 02:20, … does not come"), (AUTUMN, "02:00, 02:10, 02:20, … comes twice")],
        ),
        (Calendar("day", at="02:30"), {}, []),
        (
            Calendar("day", at="02:30"),
            {"dst": "literal"},
            [(SPRING, "02:30 does not come"), (AUTUMN, "02:30 comes twice")],
        ),
        (Calendar("week", on="monday", at="02:30"), {"dst": "literal"}, []),
        (Every(3600), {"dst": "literal"}, []),
        (At(NEW_YEAR), {"dst": "literal"}, []),
        (Foreign(Odd(3600)), {}, []),
    ],
)
def test_what_a_shift_of_the_clocks_does_is_said(when: Any, values: Any, expected: Any) -> None:
    assert odd(berlin(when, **values)) == expected


def test_a_zone_that_shifts_nothing_has_no_such_nights() -> None:
    assert odd(sums(when=Cron("30 2 * * *"), timezone="Asia/Tokyo", dst="literal")) == []


def test_a_shift_by_half_an_hour_loses_half_an_hour() -> None:
    made = sums(when=Cron("15,45 2 * * *"), timezone="Australia/Lord_Howe", dst="literal")
    assert odd(made) == [(date(2026, 10, 4), "02:15 does not come")]


def test_nights_are_looked_for_a_good_year_ahead() -> None:
    made = berlin(Cron("30 2 * * *"), dst="literal")
    days = [each.day for each in oddities(made, NEW_YEAR)]
    assert days[:2] == [SPRING, AUTUMN]
    assert all(day <= (NEW_YEAR + AHEAD).date() for day in days)


@pytest.mark.parametrize("expression", ["30 2 * * *", "0,30 2 * * *", "*/20 1-3 * * *", "5 3 * * *"])
@pytest.mark.parametrize("dst", ["cron", "literal"])
def test_what_is_said_is_what_happens(expression: str, dst: Any) -> None:
    """By counting the fires of the night of the shift, beside those of the night before."""
    made, zone = berlin(Cron(expression), dst=dst), zone_of("Europe/Berlin")
    said = dict(odd(made))
    for day in (SPRING, AUTUMN):
        usual, shifted = (fires_of(made, each, zone) for each in (day - timedelta(days=1), day))
        assert (day in said) == (len(usual) != len(shifted)), (day, said.get(day), usual, shifted)


def fires_of(made: Schedule, day: date, zone: Any) -> list[datetime]:
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    night = planned_times(made, start - timedelta(microseconds=1))
    return [each for each in islice(night, 300) if each.date() == day]
