"""A speed limit for work that is done by the thousand."""

from __future__ import annotations

import re
import time

from penstock.errors import PenstockError

SECONDS = {"s": 1, "m": 60, "h": 3600}


class BadRate(PenstockError):
    """A text is no speed limit; the message says how one is written."""


def rate_of(text: str) -> float:
    """So many a second, written 50/s, 50, 10/m or 100/h.

    Raises:
        BadRate: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smh]))?", text.strip(), re.ASCII)
    if not found or float(found[1]) <= 0:
        raise BadRate(f"{text!r} is no speed; write 50/s, 10/m or 100/h")
    return float(found[1]) / SECONDS[found[2] or "s"]


class Pace:
    """Waits so that no more than ``rate`` things happen in a second; without a rate it never waits."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._next = time.monotonic()

    def wait(self, count: int = 1) -> None:
        """Before ``count`` things are done."""
        if self._rate is None:
            return
        now = time.monotonic()
        time.sleep(max(0.0, self._next - now))
        self._next = max(self._next, now) + count / self._rate

    def portion(self, most: int) -> int:
        """How many things may be done together without being far ahead of the limit: a tenth of a second's."""
        return most if self._rate is None else max(1, min(most, int(self._rate / 10)))
