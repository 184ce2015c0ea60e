"""Calendar intervals come on the days that a look at each single day finds."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from penstock.errors import DeclarationError
from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.calendar import Calendar
from penstock.scheduler.timetables.timing import Dst
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.drawing import RULES, Span, chain, follows, spans
from tests.scheduler.timetables.oracle import DAY

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PLACES = st.builds(
    "{} {}".format,
    st.sampled_from((*oracle.ORDINALS, "last")),
    st.sampled_from(("day", "working day", *WEEKDAYS)),
)
ON = {
    "day": st.just(""),
    "week": st.just("") | st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3).map(", ".join),
    "month": st.just("") | st.integers(1, 31).map(str) | PLACES,
    "quarter": st.just("") | st.integers(1, 92).map(str) | PLACES,
    "year": st.just("") | st.integers(1, 366).map(str) | PLACES,
}
# Clocks are shifted at night.
TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 4) | st.integers(0, 23), st.sampled_from((0, 1, 15, 30, 59)))


@st.composite
def calendars(draw: st.DrawFn, units: tuple[str, ...], longest: int) -> Calendar:
    unit = draw(st.sampled_from(units))
    since = draw(st.dates(date(1999, 1, 1), date(2030, 12, 31)))
    interval = draw(st.integers(1, longest))
    try:
        return Calendar(unit, draw(ON[unit]), draw(TIMES), interval, since)  # type: ignore[arg-type]
    except DeclarationError:  # It never comes, such as the 366th day of every second year from an odd one on.
        reject()


def planned_in(when: Calendar, span: Span, dst: Dst) -> list[datetime]:
    rule = (when.unit, when.on, when.at, when.interval, when.since)
    return oracle.calendar(*rule, span.name, span.start, span.end, dst=dst)


@settings(max_examples=120, deadline=None)
@given(spans(5 * DAY), calendars(("day", "week"), 3), RULES, st.data())
def test_days_and_weeks_come_when_a_look_at_each_day_says_so(
    span: Span, when: Calendar, dst: Dst, data: st.DataObject
) -> None:
    planned = planned_in(when, span, dst)
    start = data.draw(span.instants())
    assert chain(when, span, start, dst) == [each for each in planned if each > start]
    for instant in data.draw(st.lists(span.instants(), max_size=5)) + planned:
        follows(when, span, planned, instant, dst)


@settings(max_examples=120, deadline=None)
@given(spans(800 * DAY), calendars(("month", "quarter", "year"), 5), RULES, st.data())
def test_longer_periods_come_when_a_look_at_each_day_says_so(
    span: Span, when: Calendar, dst: Dst, data: st.DataObject
) -> None:
    planned = planned_in(when, span, dst)
    start = data.draw(span.instants())
    assert chain(when, span, start, dst) == [each for each in planned if each > start]
    for instant in data.draw(st.lists(span.instants(), max_size=5)) + planned[:5]:
        follows(when, span, planned, instant, dst)


def shown(when: Calendar, name: str, start: str, count: int, dst: Dst = "cron") -> list[str]:
    """The first planned times after a local midnight, as clocks show them."""
    zone = zones.zone_of(name)
    instant, found = zones.first_instant(datetime.fromisoformat(start), zone), []
    for _ in range(count):
        following = when.after(instant, zone, dst)
        assert following is not None
        instant = following
        found.append(instant.astimezone(zone).strftime("%Y-%m-%d %H:%M%z").removesuffix("00"))
    return found


def days(when: Calendar, start: str, count: int) -> list[str]:
    return [each[:10] for each in shown(when, "Europe/Berlin", start, count)]


def test_the_last_working_day_of_a_month_is_no_weekend() -> None:
    when = Calendar("month", "last working day", "18:00")
    # 2026-01-31 is a Saturday, 2026-05-31 a Sunday.
    assert days(when, "2026-01-01", 5) == ["2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30", "2026-05-29"]


def test_a_quarter_has_days_of_its_own() -> None:
    assert days(Calendar("quarter"), "2026-01-15", 3) == ["2026-04-01", "2026-07-01", "2026-10-01"]
    assert days(Calendar("quarter", "first monday"), "2026-01-15", 2) == ["2026-04-06", "2026-07-06"]
    assert days(Calendar("quarter", "last day"), "2026-01-15", 3) == ["2026-03-31", "2026-06-30", "2026-09-30"]
    # Of 90, 91, 92 and 92 days.
    assert days(Calendar("quarter", "92"), "2026-01-15", 2) == ["2026-09-30", "2026-12-31"]


def test_every_second_week_is_counted_from_that_of_since() -> None:
    when = Calendar("week", "monday, thursday", "09:00", interval=2, since=date(2026, 1, 7))
    # The week of 2026-01-07, a Wednesday, begins with Monday the 5th.
    assert days(when, "2026-01-01", 4) == ["2026-01-05", "2026-01-08", "2026-01-19", "2026-01-22"]
    other = Calendar("week", "monday, thursday", "09:00", interval=2, since=date(2026, 1, 12))
    assert days(other, "2026-01-01", 3) == ["2026-01-01", "2026-01-12", "2026-01-15"]


def test_intervals_are_counted_before_since_as_well() -> None:
    when = Calendar("day", interval=3, since=date(2026, 6, 1))
    assert days(when, "2026-05-25", 3) == ["2026-05-26", "2026-05-29", "2026-06-01"]


def test_short_months_have_no_31st() -> None:
    assert days(Calendar("month", "31"), "2026-01-01", 4) == ["2026-01-31", "2026-03-31", "2026-05-31", "2026-07-31"]


def test_the_29th_of_february_comes_in_leap_years() -> None:
    when = Calendar("month", "29", interval=12, since=date(2026, 2, 1))
    assert days(when, "2095-01-01", 2) == ["2096-02-29", "2104-02-29"]


def test_the_366th_day_of_a_year_comes_in_leap_years() -> None:
    assert days(Calendar("year", "366"), "2026-01-01", 2) == ["2028-12-31", "2032-12-31"]


def test_a_fifth_friday_comes_where_there_is_one() -> None:
    assert days(Calendar("month", "fifth friday"), "2026-01-01", 3) == ["2026-01-30", "2026-05-29", "2026-07-31"]


def test_a_time_that_is_jumped_over_comes_right_after_the_jump() -> None:
    when = Calendar("day", at="02:30")
    assert shown(when, "Europe/Berlin", "2026-03-29", 2) == ["2026-03-29 03:00+02", "2026-03-30 02:30+02"]
    assert shown(when, "Europe/Berlin", "2026-03-29", 1, "literal") == ["2026-03-30 02:30+02"]


def test_a_time_that_comes_twice_fires_the_first_time() -> None:
    when = Calendar("day", at="02:30")
    assert shown(when, "Europe/Berlin", "2026-10-25", 2) == ["2026-10-25 02:30+02", "2026-10-26 02:30+01"]
    literally = shown(when, "Europe/Berlin", "2026-10-25", 2, "literal")
    assert literally == ["2026-10-25 02:30+02", "2026-10-25 02:30+01"]


def test_a_time_of_yesterday_comes_again_when_clocks_are_put_back_into_it() -> None:
    # In 2010, St. John's went from a minute past midnight back to 23:01.
    zone, past_midnight = zones.zone_of("America/St_Johns"), datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC)
    assert zones.wall(past_midnight, zone) == datetime(2010, 11, 7, 0, 0, 30)
    again = datetime(2010, 11, 7, 3, tzinfo=UTC)
    assert Calendar("day", at="23:30").after(past_midnight, zone, "literal") == again
    assert zones.wall(again, zone) == datetime(2010, 11, 6, 23, 30)


def test_a_midnight_that_is_jumped_over_comes_at_one() -> None:
    assert shown(Calendar("day"), "America/Havana", "2026-03-07", 1) == ["2026-03-08 01:00-04"]
    assert shown(Calendar("week", "sunday"), "America/Havana", "2026-03-07", 1) == ["2026-03-08 01:00-04"]


def test_a_day_that_never_was_is_made_up_for_on_the_next() -> None:
    when = Calendar("month", "30", "09:00")
    assert shown(when, "Pacific/Apia", "2011-12-01", 2) == ["2011-12-31 00:00+14", "2012-01-30 09:00+14"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"unit": "fortnight"}, "one of day, week"),
        ({"unit": "month", "on": "last workday"}, "last working day"),
        ({"unit": "month", "on": "monday"}, "first monday"),
        ({"unit": "month", "on": "sixth monday"}, "no day of a month"),
        ({"unit": "month", "on": "0"}, "no day of a month"),
        ({"unit": "month", "on": 15}, "or '15'"),
        ({"unit": "week", "on": "mon"}, "monday, thursday"),
        ({"unit": "week", "on": "last day"}, "no day of a week"),
        ({"unit": "day", "on": "1"}, "a day has none"),
        ({"unit": "day", "at": "9:30"}, "09:30"),
        ({"unit": "day", "at": "24:00"}, "09:30"),
        ({"unit": "day", "at": "1٠:30"}, "09:30"),  # noqa: RUF001
        ({"unit": "day", "at": 930}, "09:30"),
        ({"unit": "day", "interval": 0}, "from 1 to 1000"),
        ({"unit": "day", "interval": True}, "from 1 to 1000"),
        ({"unit": "day", "since": datetime(2026, 1, 1)}, "a date"),
        ({"unit": "day", "since": "2026-01-01"}, "a date"),
    ],
)
def test_a_refusal_says_what_is_wrong(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match="calendar") as refused:
        Calendar(**wrong)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "never",
    [
        {"unit": "month", "on": "32"},
        {"unit": "quarter", "on": "93"},
        {"unit": "month", "on": "30", "interval": 12, "since": date(2026, 2, 1)},
        {"unit": "year", "on": "366", "interval": 2},  # Counted from 2001.
    ],
)
def test_what_never_comes_is_refused(never: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="no such day"):
        Calendar(**never)


@pytest.mark.parametrize("name", ["UTC", "Pacific/Apia", "America/Havana"])
def test_at_the_end_of_the_calendar_there_is_no_next_time(name: str) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for when in (Calendar("day"), Calendar("week"), Calendar("month", "last day"), Calendar("year")):
        assert when.after(last, zones.zone_of(name), "cron") is None
        assert when.after(last - timedelta(hours=15), zones.zone_of(name), "literal") is None


def test_it_reads_as_a_sentence() -> None:
    assert str(Calendar("month", "last working day", "18:00")) == "every month on last working day at 18:00"
    assert str(Calendar("week", interval=2)) == "every 2 weeks at 00:00"
