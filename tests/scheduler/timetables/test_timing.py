"""Timetables become words and are made of them again."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import DeclarationError
from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.calendar import Calendar
from penstock.scheduler.timetables.cron import Cron
from penstock.scheduler.timetables.interval import At, Every
from penstock.scheduler.timetables.timing import When, when_of
from tests.scheduler.timetables.drawing import ZONES, rare_expressions
from tests.scheduler.timetables.test_calendar import calendars
from tests.scheduler.timetables.test_cron import BOTH, made
from tests.scheduler.timetables.test_interval import intervals

MOMENTS = st.datetimes(
    datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([ZoneInfo(name) for name in ZONES])
)
TIMETABLES = st.one_of(
    st.builds(made, rare_expressions(), BOTH),
    intervals(),
    MOMENTS.map(At),
    calendars(("day", "week", "month", "quarter", "year"), 5),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
GOOD: list[dict[str, Any]] = [
    Cron("30 2 13 * 5", days="both").words(),
    Every(3600, phase=600).words(),
    At(datetime(2026, 1, 1, tzinfo=UTC)).words(),
    Calendar("week", "monday", "09:00", 2, date(2026, 1, 1)).words(),
]


@settings(max_examples=200, deadline=None)
@given(TIMETABLES)
def test_a_timetable_is_the_same_after_its_way_through_json(when: When) -> None:
    assert when_of(json.loads(json.dumps(when.words()))) == when


@settings(max_examples=30, deadline=None)
@given(TIMETABLES, st.sampled_from(ZONES))
def test_it_then_plans_the_same(when: When, name: str) -> None:
    start, zone = datetime(2026, 1, 1, tzinfo=UTC), zones.zone_of(name)
    again = when_of(when.words())
    assert again.after(start, zone, "cron") == when.after(start, zone, "cron")
    assert str(again) == str(when)


def test_words_say_only_what_is_not_taken_for_granted() -> None:
    assert Cron("30 2 * * *").words() == {"kind": "cron", "expression": "30 2 * * *"}
    assert Every(90).words() == {"kind": "interval", "seconds": 90}
    assert "on" not in Calendar("month").words()


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"kind": "sundial"},
        {"kind": ["cron"]},
        {"kind": None},
        {"kind": "cron"},
        {"kind": "cron", "expression": "61 * * * *"},
        {"kind": "cron", "expression": 5},
        {"kind": "cron", "expression": "0 0 * * *", "seconds": 3},
        {"kind": "cron", "expression": "0 0 * * *", "days": ["both"]},
        {"kind": "interval", "seconds": "60"},
        {"kind": "interval", "seconds": 10**400},
        {"kind": "moment", "moment": "tomorrow"},
        {"kind": "moment", "moment": "2026-01-01T00:00:00"},
        {"kind": "moment", "moment": "9999-12-31T23:59:59-05:00"},
        {"kind": "moment", "moment": 0},
        {"kind": "calendar", "unit": "month"},
        {"kind": "calendar", "unit": "month", "since": "yesterday"},
        {"kind": "calendar", "unit": ["month"], "since": "2026-01-01"},
        {"kind": "calendar", "unit": "month", "on": 15, "since": "2026-01-01"},
        {"kind": "calendar", "unit": "month", "at": 9, "since": "2026-01-01"},
        [],
        ["cron"],
        "cron",
        None,
    ],
    ids=repr,
)
def test_words_without_sense_are_refused(words: Any) -> None:
    with pytest.raises(DeclarationError):
        when_of(words)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_whatever_stands_in_one_place_it_is_a_timetable_or_refused(words: dict[str, Any], data: st.DataObject) -> None:
    spoilt = words | {data.draw(st.sampled_from(list(words))): data.draw(JSON)}
    try:
        when = when_of(spoilt)
    except DeclarationError:
        return
    when.after(datetime(2026, 1, 1, tzinfo=UTC), zones.zone_of("Europe/Berlin"), "cron")
    assert str(when)


def test_a_refusal_shows_the_words() -> None:
    with pytest.raises(DeclarationError, match=r"sundial.*no timetable of this version"):
        when_of({"kind": "sundial", "shadow": str(timedelta(hours=1))})
