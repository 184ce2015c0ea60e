"""Intervals lie on a grid that nothing moves; a moment comes once."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import DeclarationError
from penstock.scheduler.timetables import zones
from penstock.scheduler.timetables.interval import EPOCH, MICROSECOND, At, Every
from penstock.scheduler.timetables.timing import Dst
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.drawing import RULES, ZONES

UTC_ZONE = zones.zone_of("UTC")
ZONE_NAMES = st.sampled_from(ZONES)
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
SECONDS = (
    st.sampled_from((0.01, 0.1, 1, 7, 60, 90.5, 3600, 86_400, 604_800)) | st.floats(0.01, 1e7) | st.integers(1, 10**7)
)
SHARES = st.sampled_from((0.0, 0.5)) | st.floats(0, 0.999)


@st.composite
def intervals(draw: st.DrawFn) -> Every:
    seconds = draw(SECONDS)
    phase = draw(SHARES) * seconds
    return Every(seconds, phase if phase < seconds else 0.0)


def microseconds(instant: datetime) -> int:
    return (instant - EPOCH) // MICROSECOND


@settings(max_examples=300, deadline=None)
@given(intervals(), INSTANTS, ZONE_NAMES, RULES)
def test_the_next_time_is_the_next_on_the_grid_whatever_clocks_show(
    when: Every, instant: datetime, name: str, dst: Dst
) -> None:
    found = when.after(instant, zones.zone_of(name), dst)
    assert found is not None
    step, phase = round(when.seconds * 1_000_000), round(when.phase * 1_000_000)
    assert microseconds(found) == oracle.every(step, phase, microseconds(instant))
    assert found.tzinfo is UTC


@settings(max_examples=100, deadline=None)
@given(intervals(), INSTANTS, st.floats(0, 1, exclude_max=True))
def test_it_is_the_same_from_any_instant_in_between(when: Every, instant: datetime, share: float) -> None:
    first = when.after(instant, UTC_ZONE, "cron")
    assert first is not None
    second = when.after(first, UTC_ZONE, "cron")
    assert second is not None
    between = first + (second - first) * share
    assert when.after(min(between, second - MICROSECOND), UTC_ZONE, "cron") == second


@pytest.mark.parametrize("seconds", [0.01, 0.1, 1 / 3, 0.7, 1.1, 90.5, 3600])
def test_it_never_drifts(seconds: float) -> None:
    when, instant = Every(seconds), datetime(2026, 1, 1, tzinfo=UTC)
    found = []
    for _ in range(1000):
        following = when.after(instant, UTC_ZONE, "cron")
        assert following is not None
        instant = following
        found.append(instant)
    steps = {later - earlier for earlier, later in pairwise(found)}
    assert steps == {timedelta(microseconds=round(seconds * 1_000_000))}
    # Somebody who comes later, or from elsewhere, has the same plan.
    assert when.after(found[499] - MICROSECOND, UTC_ZONE, "cron") == found[499]


def test_an_hour_is_an_hour_while_clocks_are_put_back() -> None:
    zone = zones.zone_of("Europe/Berlin")
    first = Every(3600).after(datetime(2026, 10, 25, 0, 10, tzinfo=UTC), zone, "cron")
    assert first == datetime(2026, 10, 25, 1, tzinfo=UTC)


def test_a_phase_puts_it_off() -> None:
    when = Every(3600, phase=600)
    assert when.after(datetime(2026, 1, 1, 7, 5, tzinfo=UTC), UTC_ZONE, "cron") == datetime(
        2026, 1, 1, 7, 10, tzinfo=UTC
    )
    assert when.after(datetime(2026, 1, 1, 7, 10, tzinfo=UTC), UTC_ZONE, "cron") == datetime(
        2026, 1, 1, 8, 10, tzinfo=UTC
    )


def test_a_phase_that_rounds_to_the_whole_interval_moves_nothing() -> None:
    when = Every(0.01, phase=0.009_999_9)
    assert when.after(datetime(2026, 1, 1, tzinfo=UTC), UTC_ZONE, "cron") == datetime(
        2026, 1, 1, 0, 0, 0, 10_000, tzinfo=UTC
    )


@pytest.mark.parametrize("instant", [datetime.max.replace(tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
@pytest.mark.parametrize("seconds", [86_400, 1e9, timedelta.max.total_seconds() / 10])
def test_after_the_last_instant_there_is_none(instant: datetime, seconds: float) -> None:
    assert Every(seconds).after(instant, UTC_ZONE, "cron") is None


def test_before_the_epoch_the_grid_is_the_same() -> None:
    assert Every(86_400).after(datetime(1969, 12, 31, 12, tzinfo=UTC), UTC_ZONE, "cron") == EPOCH
    first = datetime.min.replace(tzinfo=UTC)
    assert Every(86_400).after(first, UTC_ZONE, "cron") == first + timedelta(days=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seconds": 0}, "0.01 or more"),
        ({"seconds": -60}, "0.01 or more"),
        ({"seconds": 0.009}, "0.01 or more"),
        ({"seconds": float("nan")}, "a number"),
        ({"seconds": float("inf")}, "a number"),
        ({"seconds": 1e300}, "a number"),
        ({"seconds": 10**400}, "a number"),
        ({"seconds": "60"}, "a number"),
        ({"seconds": True}, "a number"),
        ({"seconds": timedelta(minutes=1)}, "a number"),
        ({"seconds": 60, "phase": 60}, "less than the interval"),
        ({"seconds": 60, "phase": -1}, "from 0"),
        ({"seconds": 60, "phase": float("nan")}, "from 0"),
        ({"seconds": 60, "phase": 10**400}, "from 0"),
    ],
)
def test_numbers_out_of_bounds_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        Every(**wrong)
    assert said in str(refused.value)


def test_a_moment_comes_once() -> None:
    moment = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert At(moment).after(moment - MICROSECOND, UTC_ZONE, "cron") == moment
    assert At(moment).after(moment, UTC_ZONE, "cron") is None


@pytest.mark.parametrize(
    "zone", [timezone(timedelta(hours=-5)), ZoneInfo("Europe/Berlin"), zones.zone_of("Asia/Tehran")]
)
def test_a_moment_of_any_zone_is_planned_in_utc(zone: Any) -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=zone)
    planned = At(moment).after(datetime(2026, 1, 1, tzinfo=UTC), UTC_ZONE, "cron")
    assert planned == moment
    assert planned is not None
    assert planned.tzinfo is UTC


@pytest.mark.parametrize("fold", [0, 1])
def test_a_moment_that_clocks_show_twice_is_the_one_that_was_meant(fold: int) -> None:
    moment = datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Berlin"))
    planned = At(moment).after(datetime(2026, 1, 1, tzinfo=UTC), UTC_ZONE, "cron")
    assert planned == datetime(2026, 10, 25, fold, 30, tzinfo=UTC)
    # Python holds no two such datetimes of different zones for equal; the moments are.
    assert At(moment) == At(moment.astimezone(UTC))


@pytest.mark.parametrize("wrong", [datetime(2026, 1, 1), "2026-01-01T00:00:00+00:00", None])
def test_a_moment_without_a_zone_is_refused(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match="tzinfo=UTC"):
        At(wrong)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_moment_that_is_none_in_utc_is_refused(hours: int) -> None:
    last = datetime.max if hours < 0 else datetime.min
    with pytest.raises(DeclarationError, match="at "):
        At(last.replace(tzinfo=timezone(timedelta(hours=hours))))


def test_they_read_as_they_are_meant() -> None:
    assert str(Every(90)) == "every 90 s"
    assert str(Every(3600, phase=600)) == "every 3600 s + 600 s"
    assert str(At(datetime(2026, 1, 1, tzinfo=UTC))) == "at 2026-01-01 00:00:00+00:00"
