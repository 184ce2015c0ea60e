"""How an error goes, in a word."""

from datetime import UTC, datetime, timedelta

import pytest

from penstock.operations.failures.trends import Change, change_of, hours_between

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
SINCE = NOW - timedelta(hours=24)
LONG_AGO = NOW - timedelta(days=9)


def hours(*counts_by_age: tuple[int, int]) -> dict[datetime, int]:
    """How many in the hour that began so many hours ago."""
    this = NOW.replace(minute=0)
    return {this - timedelta(hours=age): count for age, count in counts_by_age}


@pytest.mark.parametrize(
    ("counts", "change"),
    [
        ([(20, 10), (15, 10), (1, 20)], Change.RISING),
        ([(20, 10), (15, 10), (10, 10), (1, 5), (3, 5)], Change.STEADY),
        ([(20, 100), (15, 100), (1, 3)], Change.FALLING),
        ([(20, 100)], Change.QUIET),
        ([(1, 1)], Change.BACK),
        ([], Change.QUIET),
    ],
)
def test_the_last_quarter_is_compared_with_what_was_before(counts: list[tuple[int, int]], change: Change) -> None:
    assert change_of(hours(*counts), LONG_AGO, SINCE, NOW) is change


def test_an_error_that_was_never_seen_before_is_new() -> None:
    assert change_of(hours((1, 1)), NOW - timedelta(hours=1), SINCE, NOW) is Change.NEW


def test_an_hour_that_has_just_begun_makes_no_error_fall() -> None:
    begun = NOW.replace(minute=1)
    steady = {begun.replace(minute=0) - timedelta(hours=age): 10 for age in range(1, 25)}
    assert change_of(steady, LONG_AGO, begun - timedelta(hours=4), begun) is Change.STEADY


def test_hours_are_whole_ones_with_both_ends() -> None:
    assert [hour.hour for hour in hours_between(NOW - timedelta(hours=1), NOW)] == [11, 12]
