"""Cron expressions come when a walk through all minutes says they do."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.errors import DeclarationError
from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.cron import NICKNAMES, Cron
from penstock.scheduler.timetables.timing import Dst
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.drawing import MOST, RULES, Span, chain, expressions, follows, rare_expressions, spans
from tests.scheduler.timetables.oracle import DAY

BOTH = st.sampled_from(("either", "either", "both"))
LEAP_CYCLE = [date(2000, 1, 1) + n * DAY for n in range(28 * 366)]
"""In 28 years each day of the year falls on each day of the week."""


def made(expression: str, days: str) -> Cron:
    """The timetable, if the expression ever comes; whether that is so has a test of its own."""
    try:
        return Cron(expression, days)  # type: ignore[arg-type]
    except DeclarationError:
        assume(False)
        raise


def shown(expression: str, name: str, day: str, dst: Dst = "cron", days: str = "either") -> str:
    """When it fires on a local day, as clocks show it, with their offset."""
    zone = zones.zone_of(name)
    start, end = (zones.first_instant(datetime.fromisoformat(day) + n * DAY, zone) for n in (0, 1))
    fires = chain(Cron(expression, days), Span(name, start, end), start - oracle.MINUTE, dst)  # type: ignore[arg-type]
    return " ".join(fire.astimezone(zone).strftime("%H:%M%z").removesuffix("00") for fire in fires)


@settings(max_examples=250, deadline=None)
@given(spans(), expressions(), BOTH, RULES, st.data())
def test_it_fires_when_the_walk_through_all_minutes_says_so(
    span: Span, expression: str, days: str, dst: Dst, data: st.DataObject
) -> None:
    planned = oracle.cron(expression, span.name, span.start, span.end, dst=dst, days=days)
    start = data.draw(span.instants())
    expected = [each for each in planned if each > start][:MOST]
    assert chain(made(expression, days), span, start, dst) == expected


@settings(max_examples=200, deadline=None)
@given(spans(), expressions(), BOTH, RULES, st.data())
def test_the_next_time_is_the_same_from_any_instant(
    span: Span, expression: str, days: str, dst: Dst, data: st.DataObject
) -> None:
    cron = made(expression, days)
    planned = oracle.cron(expression, span.name, span.start, span.end, dst=dst, days=days)
    instants = data.draw(st.lists(span.instants(), min_size=5, max_size=15))
    if planned:
        fires = data.draw(st.lists(st.sampled_from(planned), max_size=10))
        instants += fires + [fire - timedelta(microseconds=1) for fire in fires]
    for instant in instants:
        follows(cron, span, planned, instant, dst)


@settings(max_examples=150, deadline=None)
@given(rare_expressions(), BOTH, st.dates(date(1985, 1, 1), date(2035, 1, 1)))
def test_over_years_it_comes_on_the_days_that_match(expression: str, days: str, start: date) -> None:
    cron, field = made(expression, days), oracle.Expression(expression, days)
    matching = [day for n in range(3 * 366) if field.has_day(day := start + n * DAY)][:40]
    instant, found = datetime(start.year, start.month, start.day, tzinfo=UTC), []
    for _ in matching:
        following = cron.after(instant, zones.zone_of("UTC"), "cron")
        assert following is not None
        instant = following
        found.append(instant.date())
    assert found == matching


@settings(max_examples=150, deadline=None)
@given(rare_expressions(), BOTH)
def test_just_what_never_comes_is_refused(expression: str, days: str) -> None:
    field = oracle.Expression(expression, days)
    comes = any(field.has_day(day) for day in LEAP_CYCLE)
    try:
        Cron(expression, days)  # type: ignore[arg-type]
    except DeclarationError:
        assert not comes
    else:
        assert comes


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("0123456789*/,-#LWSUNMOJA?@", min_size=1, max_size=5), min_size=4, max_size=6).map(" ".join))
def test_an_expression_is_read_or_refused_and_nothing_else(expression: str) -> None:
    with suppress(DeclarationError):
        assert Cron(expression).after(datetime(2026, 1, 1, tzinfo=UTC), zones.zone_of("UTC"), "cron")


# Nights that are known.


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("30 2 * * *", "03:00+02"),
        ("*/15 2 * * *", "03:00+02"),
        ("0,30 2,3 * * *", "03:00+02 03:30+02"),
        ("30 1-3 * * *", "01:30+01 03:00+02 03:30+02"),
        ("0 3 * * *", "03:00+02"),
        ("0 */4 * * *", "00:00+01 04:00+02 08:00+02 12:00+02 16:00+02 20:00+02"),
        ("30 */2 * * *", " ".join(["00:30+01"] + [f"{hour:02}:30+02" for hour in range(4, 24, 2)])),
        ("5 * 29 3 0", " ".join(f"{hour:02}:05+0{1 if hour < 2 else 2}" for hour in range(24) if hour != 2)),
    ],
)
def test_berlin_in_spring_catches_up_with_fixed_times_once_and_lets_open_ones_pass(expression: str, fires: str) -> None:
    assert shown(expression, "Europe/Berlin", "2026-03-29") == fires


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("30 2 * * *", "02:30+02"),
        ("*/15 2 * * *", "02:00+02 02:15+02 02:30+02 02:45+02"),
        ("30 1-3 * * *", "01:30+02 02:30+02 03:30+01"),
        ("0 3 * * *", "03:00+01"),
        ("0 */4 * * *", "00:00+02 04:00+01 08:00+01 12:00+01 16:00+01 20:00+01"),
        ("30 */2 1-31 * *", " ".join(["00:30+02", "02:30+02"] + [f"{hour:02}:30+01" for hour in range(2, 24, 2)])),
    ],
)
def test_berlin_in_autumn_fires_fixed_times_once_and_open_ones_in_both_hours(expression: str, fires: str) -> None:
    assert shown(expression, "Europe/Berlin", "2026-10-25") == fires


def test_an_hour_field_that_covers_the_day_is_as_open_as_a_star() -> None:
    starred = shown("30 * * * *", "Europe/Berlin", "2026-10-25")
    assert starred.count(":30") == 25
    assert shown("30 0-23 * * *", "Europe/Berlin", "2026-10-25") == starred
    assert shown("30 0-11,12-23 * * *", "Europe/Berlin", "2026-10-25") == starred


def test_literally_what_clocks_never_show_never_comes_and_what_they_show_twice_comes_twice() -> None:
    assert shown("30 2 * * *", "Europe/Berlin", "2026-03-29", "literal") == ""
    assert shown("30 2 * * *", "Europe/Berlin", "2026-10-25", "literal") == "02:30+02 02:30+01"
    assert shown("30 2 * * *", "Europe/Berlin", "2026-10-26", "literal") == "02:30+01"


def test_of_two_hours_that_are_repeated_both_are_looked_at() -> None:
    # Antarctica/Troll goes from 03:00 back to 01:00.
    assert shown("5 1 * * *", "Antarctica/Troll", "2026-10-25", "literal") == "01:05+02 01:05+00"
    between = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    following = Cron("5 1 * * *").after(between, zones.zone_of("Antarctica/Troll"), "literal")
    assert following == datetime(2026, 10, 25, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "day", "expression", "fires"),
    [
        ("America/New_York", "2026-03-08", "30 2 * * *", "03:00-04"),
        ("America/New_York", "2026-11-01", "30 1 * * *", "01:30-04"),
        # Half an hour: from 02:00 to 02:30, and from 02:00 back to 01:30.
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", "02:30+11"),
        ("Australia/Lord_Howe", "2026-10-04", "*/20 2 * * *", "02:30+11 02:40+11"),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", "01:45+11"),
        ("Australia/Lord_Howe", "2026-04-05", "45 * 5 4 *", "45 in both"),
        # At midnight, so that the day begins at one; and at one back to midnight.
        ("America/Havana", "2026-03-08", "0 0 * * *", "01:00-04"),
        ("America/Havana", "2026-03-08", "30 0 8 3 *", "01:00-04"),
        ("America/Havana", "2026-11-01", "30 0 * * *", "00:30-04"),
        # Ramadan 2026: from 03:00 back to 02:00, and five weeks later from 02:00 to 03:00.
        ("Africa/Casablanca", "2026-02-15", "30 2 * * *", "02:30+01"),
        ("Africa/Casablanca", "2026-03-22", "30 2 * * *", "03:00+01"),
        ("Asia/Tehran", "2021-03-22", "30 0 * * *", "01:00+0430"),
        ("Asia/Tehran", "2021-09-21", "30 23 * * *", "23:30+0430"),
        ("Asia/Tehran", "2026-03-22", "30 0 * * *", "00:30+0330"),
        ("Asia/Kathmandu", "2026-03-29", "0 2 * * *", "02:00+0545"),
        # A day that never was: what it missed comes right after it.
        ("Pacific/Apia", "2011-12-31", "0 12 * * *", "00:00+14 12:00+14"),
        ("Pacific/Apia", "2011-12-31", "0 12 30 * *", "00:00+14"),
    ],
)
def test_nights_elsewhere(name: str, day: str, expression: str, fires: str) -> None:
    found = shown(expression, name, day)
    if fires == "45 in both":
        assert [fire for fire in found.split() if fire.startswith("01")] == ["01:45+11", "01:45+1030"]
    else:
        assert found == fires


def test_the_29th_of_february_comes_every_four_years() -> None:
    leap_day, found = Cron("0 12 29 2 *"), [datetime(2095, 1, 1, tzinfo=UTC)]
    for _ in range(2):
        following = leap_day.after(found[-1], zones.zone_of("Europe/Berlin"), "cron")
        assert following is not None
        found.append(following)
    # 2100 is no leap year.
    assert [each.year for each in found[1:]] == [2096, 2104]


def test_days_of_month_and_of_week_match_as_in_cron_or_both_of_them() -> None:
    # 2026-03-13 is a Friday.
    assert shown("0 12 13 * 5", "UTC", "2026-03-06") == "12:00+00"
    assert shown("0 12 13 * 5", "UTC", "2026-04-13") == "12:00+00"
    assert shown("0 12 13 * 5", "UTC", "2026-03-06", days="both") == ""
    assert shown("0 12 13 * 5", "UTC", "2026-03-13", days="both") == "12:00+00"
    # A field that begins with a star does not say "or".
    assert shown("0 12 */2 * 5", "UTC", "2026-03-06") == ""


@pytest.mark.parametrize(("nickname", "expression"), NICKNAMES.items())
def test_a_nickname_is_its_expression(nickname: str, expression: str) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC)
    span = Span("Europe/Berlin", start, end)
    assert chain(Cron(nickname), span, start, "cron") == chain(Cron(expression), span, start, "cron")
    assert chain(Cron(f" {nickname.upper()} "), span, start, "cron") == chain(Cron(nickname), span, start, "cron")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("@reboot", "enqueue the job when your service starts"),
        ("@REBOOT", "enqueue the job when your service starts"),
        ("0 30 2 * * *", "five fields, e.g. '30 2 * * *'"),
        ("30 2 * *", "five fields"),
        ("", "five fields"),
        ("@fortnightly", "@weekly"),
        ("0 0 31 2 *", "day-of-month"),
        ("0 0 30 2 *", "day-of-month"),
        ("61 * * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 * 13 *", "month"),
        ("0 0 * * 8", "day-of-week"),
        ("*/0 * * * *", "minute"),
        ("0 22-6 * * *", "hour"),
    ],
)
def test_a_refusal_says_what_is_wrong(expression: str, said: str) -> None:
    with pytest.raises(DeclarationError, match="cron") as refused:
        Cron(expression)
    assert said in str(refused.value)


def test_what_never_comes_because_both_days_must_match_is_refused() -> None:
    Cron("0 0 30 2 MON")
    with pytest.raises(DeclarationError, match="no such day"):
        Cron("0 0 30 2 MON", days="both")


@pytest.mark.parametrize("wrong", [{"expression": 5}, {"expression": None}, {"expression": ["0 0 * * *"]}])
def test_an_expression_that_is_no_text_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DeclarationError, match="cron"):
        Cron(**wrong)  # type: ignore[arg-type]


def test_days_are_either_or_both() -> None:
    with pytest.raises(DeclarationError, match="either or both"):
        Cron("0 0 * * *", days="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["UTC", "Pacific/Apia", "America/Havana"])
@pytest.mark.parametrize("dst", ["cron", "literal"])
@pytest.mark.parametrize("expression", ["0 0 1 1 *", "30 2 * * *", "* * * * *"])
def test_at_the_end_of_the_calendar_there_is_no_next_time(name: str, dst: Dst, expression: str) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert Cron(expression).after(last, zones.zone_of(name), dst) is None


def test_it_reads_as_it_was_written() -> None:
    assert str(Cron("30 2 * * *")) == "30 2 * * *"
    assert str(Cron("30 2 13 * 5", days="both")) == "30 2 13 * 5 (both days)"
