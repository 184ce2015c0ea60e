"""What counts as a number of seconds, whoever says it."""

from __future__ import annotations

import math


def is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
