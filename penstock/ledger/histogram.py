"""How long many things have taken, in few numbers: how many of them fall between one bound and the next.

There are eight bounds to each factor of ten, from a millisecond to a week, so each is a third larger than the one
before. What falls between two counts as the value that is as far from the one as from the other in proportion: it is
wrong by less than 14.3 percent (:data:`MOST_WRONG`). What took less than a millisecond counts as half of one, and what
took more than a week as a week. Histograms are added by adding their numbers, so those of many minutes make that of a
day.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import NamedTuple

PER_FACTOR_OF_TEN = 8
SHORTEST, LONGEST = 0.001, 7 * 86_400.0
"""Seconds between which a value is told from others."""


def _bounds() -> tuple[float, ...]:
    bounds = [SHORTEST]
    while bounds[-1] < LONGEST:
        bounds.append(min(SHORTEST * 10 ** (len(bounds) / PER_FACTOR_OF_TEN), LONGEST))
    return tuple(bounds)


BOUNDS = _bounds()
MOST_WRONG = (BOUNDS[1] - BOUNDS[0]) / (BOUNDS[1] + BOUNDS[0])
"""How far a value between two bounds may be from the one it counts as, in proportion to itself."""
_VALUES = (
    SHORTEST / 2,
    *(2 * low * high / (low + high) for low, high in pairwise(BOUNDS)),
    LONGEST,
)
Histogram = Mapping[int, int]
"""How many values by the number of their bucket; those without any are left out."""


class Percentiles(NamedTuple):
    """Seconds that half of all values, 95 of 100 and 99 of 100 do not exceed."""

    p50: float
    p95: float
    p99: float


def bucket_of(seconds: float) -> int:
    """Number of the bucket of a value. What is negative, because two hosts disagree on the time, took no time."""
    return bisect_right(BOUNDS, seconds)


def to_json(histogram: Histogram) -> dict[str, int]:
    """As a column keeps it."""
    return {str(bucket): count for bucket, count in histogram.items()}


def sum_of(texts: Iterable[str]) -> Histogram:
    """Of histograms as columns keep them."""
    histogram: dict[int, int] = {}
    for text in texts:
        for bucket, count in json.loads(text).items():
            histogram[int(bucket)] = histogram.get(int(bucket), 0) + count
    return histogram


def percentiles(histogram: Histogram) -> Percentiles | None:
    """Those of all values; None: there are none."""
    buckets = sorted(histogram)
    sums = list(accumulate(map(histogram.__getitem__, buckets)))
    if not sums or not sums[-1]:
        return None
    # The nearest rank: the first value that is not exceeded by so many, in whole numbers.
    ranks = [-(-sums[-1] * part // 100) for part in (50, 95, 99)]
    return Percentiles(*[_VALUES[buckets[bisect_left(sums, rank)]] for rank in ranks])
