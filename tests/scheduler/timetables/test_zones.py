"""Zones, and what their clocks show."""

from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import DeclarationError
from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.zones import MINUTE
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.drawing import ZONES, Span, spans
from tests.scheduler.timetables.oracle import DAY


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berlim", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("America/NewYork", "did you mean America/New_York?"),
        ("Asia/Calcuta", "did you mean Asia/Calcutta?"),
        ("", "write it as Europe/Berlin, or UTC"),
        ("CEST+2:00 (summer)", "write it as Europe/Berlin, or UTC"),
        ("../zones", "write it as Europe/Berlin, or UTC"),
    ],
)
def test_an_unknown_zone_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        zones.zone_of(name)
    assert repr(name) in str(refused.value)
    assert hint in str(refused.value)


def test_every_zone_of_tzdata_is_known_by_its_name() -> None:
    names = (resources.files("tzdata") / "zones").read_text().split()
    instant = datetime(2026, 7, 1, tzinfo=UTC)
    assert len(names) > 500
    for name in names:
        assert zones.zone_of(name).key == name
        assert instant.astimezone(zones.zone_of(name)).utcoffset() == instant.astimezone(oracle.zone(name)).utcoffset()


@settings(max_examples=60, deadline=None)
@given(spans(), st.data())
def test_the_first_instant_of_a_time_is_the_first_that_a_walk_reaches(span: Span, data: st.DataObject) -> None:
    shown = oracle.walls(span.name, span.start, span.end)
    wanted = data.draw(st.integers(shown[0] + 1, max(shown)))
    first = next(n for n, minute in enumerate(shown) if minute >= wanted)
    found = zones.first_instant(datetime.min + (wanted - oracle.PER_DAY) * MINUTE, span.zone)
    # Who begins within the second of two equal hours has not seen the first.
    assert found == span.start + first * MINUTE or found < span.start


@settings(max_examples=60, deadline=None)
@given(spans(), st.data())
def test_the_instants_of_a_time_are_all_at_which_clocks_show_it(span: Span, data: st.DataObject) -> None:
    shown = oracle.walls(span.name, span.start, span.end)
    middle = range(oracle.PER_DAY, len(shown) - oracle.PER_DAY)
    wanted = shown[data.draw(st.sampled_from(middle))] + data.draw(st.integers(-90, 90))
    time = datetime.min + (wanted - oracle.PER_DAY) * MINUTE
    found = [span.start + n * MINUTE for n, minute in enumerate(shown) if minute == wanted]
    assert list(zones.instants_of(time, span.zone)) == found


@pytest.mark.parametrize("name", ZONES)
def test_all_shifts_are_found_to_the_minute(name: str) -> None:
    start, end = datetime(2010, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    found = list(zones.shifts(zones.zone_of(name), start, end))
    assert [shift.at for shift in found] == oracle.shifts(name, 2010, 2030)
    for shift in found:
        (before, after) = oracle.walls(name, shift.at - MINUTE, shift.at + MINUTE)
        assert oracle.minute_of(shift.before) == before + 1
        assert oracle.minute_of(shift.after) == after
        assert shift.is_forward == (after > before)


def test_a_shift_belongs_to_the_span_that_ends_with_it() -> None:
    zone, at = zones.zone_of("Europe/Berlin"), datetime(2026, 3, 29, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert [shift.at for shift in zones.shifts(zone, at - second, at)] == [at]
    assert [shift.at for shift in zones.shifts(zone, at - second, at + 30 * DAY)] == [at]
    assert [shift.at for shift in zones.shifts(zone, at - 30 * DAY, at)] == [at]
    assert list(zones.shifts(zone, at, at + 30 * DAY)) == []
    assert list(zones.shifts(zone, at - 30 * DAY, at - second)) == []


def test_berlins_shift_in_spring_leaves_out_an_hour() -> None:
    zone = zones.zone_of("Europe/Berlin")
    (shift,) = zones.shifts(zone, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    assert (shift.before, shift.after) == (datetime(2026, 3, 29, 2), datetime(2026, 3, 29, 3))
    assert shift.is_forward
    assert zones.instants_of(datetime(2026, 3, 29, 2, 30), zone) == ()
    assert zones.first_instant(datetime(2026, 3, 29, 2, 30), zone) == shift.at


def test_berlins_shift_in_autumn_brings_an_hour_twice() -> None:
    zone = zones.zone_of("Europe/Berlin")
    (shift,) = zones.shifts(zone, datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    assert (shift.before, shift.after) == (datetime(2026, 10, 25, 3), datetime(2026, 10, 25, 2))
    assert not shift.is_forward
    twice = zones.instants_of(datetime(2026, 10, 25, 2, 30), zone)
    assert twice == (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    assert zones.first_instant(datetime(2026, 10, 25, 2, 30), zone) == twice[0]


def test_a_whole_day_that_was_left_out_is_one_shift() -> None:
    zone = zones.zone_of("Pacific/Apia")
    (shift,) = zones.shifts(zone, datetime(2011, 12, 1, tzinfo=UTC), datetime(2012, 1, 15, tzinfo=UTC))
    assert (shift.before, shift.after) == (datetime(2011, 12, 30), datetime(2011, 12, 31))
