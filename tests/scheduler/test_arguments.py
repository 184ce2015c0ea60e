"""Texts in arguments that carry the time of their fire."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ArgumentError
from penstock.scheduler.arguments import FireTimes, check_places, filled
from penstock.scheduler.timetables.zones import zone_of

FIRE, BEFORE = datetime(2026, 3, 29, 1, 30, tzinfo=UTC), datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
BERLIN = zone_of("Europe/Berlin")
TIMES, FIRST = FireTimes.of(FIRE, BEFORE, BERLIN), FireTimes.of(FIRE, None, BERLIN)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab{}:%", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("{fire_time}", "2026-03-29T03:30:00+02:00"),
        ("{previous_fire_time}", "2026-03-29T01:30:00+01:00"),
        ("{fire_time:%Y-%m-%d}", "2026-03-29"),
        ("{fire_time:%H:%M}", "03:30"),
        ("from {previous_fire_time:%H} to {fire_time:%H}", "from 01 to 03"),
        ("sales-{fire_time:%F}.csv", "sales-2026-03-29.csv"),
        ("{fire_time:}", "2026-03-29T03:30:00+02:00"),
        ("{fire_time:100%%}", "100%"),
        ("{{fire_time:%H}}", "{03}"),
        ("{other} {} {0} {", "{other} {} {0} {"),
        ("fire_time", "fire_time"),
        ("", ""),
    ],
)
def test_a_place_becomes_the_time_in_the_schedules_zone(text: str, becomes: str) -> None:
    assert filled(text, TIMES) == becomes


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("{previous_fire_time}", None),
        ("{previous_fire_time:%F}", None),
        ("since {previous_fire_time:%F}", "since "),
        ("{previous_fire_time}{fire_time:%H}", "03"),
    ],
)
def test_before_the_first_fire_there_is_no_time(text: str, becomes: str | None) -> None:
    assert filled(text, FIRST) == becomes


def test_places_are_found_at_any_depth_but_not_in_names() -> None:
    value = {"{fire_time}": ["{fire_time:%H}", {"deep": ("{fire_time:%M}", 5)}]}
    assert filled(value, TIMES) == {"{fire_time}": ["03", {"deep": ["30", 5]}]}


@given(JSON)
def test_what_has_no_place_stays_as_it_is(value: Any) -> None:
    assert filled(value, TIMES) == value


@pytest.mark.parametrize(
    "text",
    ["{firetime}", "{fire_times}", "{fire}", "{previous_fire}", "{previousfire_time}", "x {previous_firetime} y"],
)
def test_a_place_that_is_nearly_one_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"write \{fire_time\} or \{previous_fire_time\}"):
        check_places({"deep": [text]})


@pytest.mark.parametrize("text", ["{fire_time}", "{previous_fire_time:%F}", "{name}", "{{}}", "{firm}", "{Fire}"])
def test_other_braces_are_somebody_elses(text: str) -> None:
    check_places([text])
