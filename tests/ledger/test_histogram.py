"""Percentiles of a histogram beside those of the values themselves."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock.ledger.histogram import BOUNDS, LONGEST, MOST_WRONG, SHORTEST, bucket_of, percentiles

within = st.floats(SHORTEST, LONGEST, exclude_max=True)


def exact(values: list[float], part: int) -> float:
    """The nearest rank."""
    return sorted(values)[math.ceil(len(values) * part / 100) - 1]


def histogram(values: list[float]) -> Counter[int]:
    return Counter(map(bucket_of, values))


@given(st.lists(within, min_size=1, max_size=300))
def test_a_percentile_is_wrong_by_less_than_is_said(values: list[float]) -> None:
    found = percentiles(histogram(values))
    assert found is not None
    for part, told in ((50, found.p50), (95, found.p95), (99, found.p99)):
        assert abs(told - exact(values, part)) <= exact(values, part) * (MOST_WRONG + 1e-9)


def test_what_is_said_is_less_than_fifteen_percent() -> None:
    assert MOST_WRONG < 0.143


@given(st.lists(within, min_size=1), st.lists(within, min_size=1))
def test_the_sum_of_two_histograms_is_that_of_all_values(one: list[float], other: list[float]) -> None:
    assert percentiles(histogram(one) + histogram(other)) == percentiles(histogram(one + other))


def test_nothing_has_no_percentiles() -> None:
    assert percentiles({}) is None


def test_no_time_and_less_and_more_than_a_week_have_a_place() -> None:
    assert bucket_of(-5) == bucket_of(0) == bucket_of(0.0009) == 0
    assert bucket_of(LONGEST) == bucket_of(10 * LONGEST) == len(BOUNDS)
    shortest, longest = percentiles({0: 1}), percentiles({len(BOUNDS): 1})
    assert shortest is not None
    assert shortest.p99 == SHORTEST / 2
    assert longest is not None
    assert longest.p50 == LONGEST
