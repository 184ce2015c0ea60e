"""Points in time as people type them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from penstock.operations.moments import BadMoment, moment_of


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("30s", timedelta(seconds=30)),
        (" 2h ", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("1w", timedelta(days=7)),
    ],
)
def test_an_age_is_counted_from_now(text: str, age: timedelta) -> None:
    assert abs(datetime.now(UTC) - age - moment_of(text)) < timedelta(seconds=5)


def test_a_time_without_a_zone_is_of_the_one_that_is_given() -> None:
    assert moment_of("2026-11-22T08:00", "Europe/Berlin") == datetime(2026, 11, 22, 7, tzinfo=UTC)
    assert moment_of("2026-11-22T08:00+00:00", "Europe/Berlin") == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert moment_of("2026-11-22T08:00").tzinfo is None


@pytest.mark.parametrize("text", ["soon", "", "5y", "99999999w", "2026-13-01", "0001-01-01", "9999-12-31T23:59"])
def test_what_is_no_time_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(BadMoment, match="neither an age such as 30m"):
        moment_of(text)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
@pytest.mark.parametrize("text", ["0002-01-01", "9998-12-31T23:59"])
def test_every_time_that_is_taken_can_be_shown_in_every_zone(text: str, zone: str) -> None:
    for shown in ("Pacific/Kiritimati", "Pacific/Niue", "UTC"):
        assert moment_of(text, zone).astimezone(ZoneInfo(shown)) == moment_of(text, zone)
