"""A speed limit for work that is done by the thousand."""

from __future__ import annotations

import time


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
