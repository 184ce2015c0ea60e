"""What counts as a number of seconds, whoever says it."""

from __future__ import annotations

import math

MOST_SECONDS = 10_000_000_000
"""More than 300 years. What is much more can be added to no time, and no clock of ours counts as far."""


def are_seconds(value: object) -> bool:
    """Whether it is a number of seconds from 0 to MOST_SECONDS."""
    return is_number(value) and 0 <= value <= MOST_SECONDS  # type: ignore[operator]


def is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
