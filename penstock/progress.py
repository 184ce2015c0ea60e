"""How far a job says that it is."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

LONGEST_NOTE = 500
"""Characters of a note that are kept."""
RATED_POINTS = 10


@dataclass(frozen=True)
class Progress:
    """What a body has reported last."""

    done: float
    total: float | None
    """None: the body did not say."""
    note: str | None
    at: datetime
    """When it was reported."""

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; None without a total."""
        if self.total is None:
            return None
        return self.done / self.total if self.total else 1.0


@dataclass(frozen=True)
class Point:
    """One of the reports of an attempt, of which as many are kept as a chart can show."""

    at: datetime
    done: float
    total: float | None


def rate_of(points: Sequence[Point], progress: Progress | None) -> float | None:
    """How much is done per second at last: since the tenth point from the end, or the first one.

    None: there is too little to tell, or less is done than was.
    """
    if progress is None or not points:
        return None
    since = points[-RATED_POINTS:][0]
    seconds = (progress.at - since.at).total_seconds()
    return (progress.done - since.done) / seconds if seconds > 0 and progress.done > since.done else None


def seconds_left(progress: Progress | None, rate: float | None) -> float | None:
    """How long the rest takes at this rate; None: nobody knows."""
    if progress is None or progress.total is None or not rate:
        return None
    return (progress.total - progress.done) / rate


def problem_of(done: object, total: object, note: object) -> str | None:
    """What is wrong with a report, as a sentence; None: nothing is."""
    if not _is_count(done):
        return f"progress(done={done!r}): a finite number, 0 or more"
    if total is not None and not _is_count(total):
        return f"progress(total={total!r}): None, or a finite number, 0 or more"
    if total is not None and done > total:  # type: ignore[operator]
        return f"progress(done={done!r}, total={total!r}): no more can be done than there is; raise the total first"
    if note is not None and not isinstance(note, str):
        return f"progress(note={note!r}): None, or a text"
    return None


def as_number(value: Any) -> Any:
    """A number of another kind, as Decimal and numpy have them, as the int or float that a report takes; anything else
    as it is.
    """
    if value is None or type(value) in (int, float) or isinstance(value, (bool, str, bytes, bytearray)):
        return value
    for convert in (operator.index, float):
        with suppress(Exception):  # Its own method, and no report may fail a body.
            return convert(value)
    return value


def _is_count(value: object) -> bool:
    kind = type(value)
    return (kind is int and 0 <= value < 1 << 63) or (kind is float and math.isfinite(value) and value >= 0)  # type: ignore[operator, arg-type]
