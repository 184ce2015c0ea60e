"""Speed limits for work that is done by the thousand, and ending it half way."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

from penstock.errors import PenstockError

SECONDS = {"s": 1, "m": 60, "h": 3600}
SLOWEST, FASTEST = 1 / 86_400, 1_000_000.0
"""Things a second: one in a day, and more than anybody does."""
LOOK_SECONDS = 0.2
"""Between two looks at a queue that is full."""
LOOKED_ANEW = 50
"""Jobs after which it is looked at again whether their queue is full."""


class BadRate(PenstockError):
    """A text is no speed limit; the message says how one is written."""


class Stopped(Exception):
    """Somebody has stopped the work; what it has done stays done."""


def rate_of(text: str) -> float:
    """So many a second, from :data:`SLOWEST` to :data:`FASTEST`, written 50/s, 50, 10/m or 100/h.

    Raises:
        BadRate: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smh]))?", text.strip(), re.ASCII)
    rate = float(found[1]) / SECONDS[found[2] or "s"] if found else 0.0
    if not SLOWEST <= rate <= FASTEST:
        raise BadRate(f"{text!r} is no speed; write 50/s, 10/m or 100/h, from 1 a day to 1,000,000 a second")
    return rate


class Pace:
    """Waits so that no more than ``rate`` things happen in a second, over all of an errand."""

    def __init__(
        self,
        rate: float | None,
        *,
        at_most_waiting: int | None = None,
        waiting: Callable[[str], int] = lambda _: 0,
        stop: threading.Event | None = None,
    ) -> None:
        """Args:
        rate: None: no limit.
        at_most_waiting: how many messages a queue may hold for another to be sent to it; None: any number.
        waiting: says how many a queue holds.
        stop: set when it is to end.
        """
        self.rate = rate
        self.at_most_waiting = at_most_waiting
        self._waiting = waiting
        self._stop = stop or threading.Event()
        self._next = time.monotonic()
        self._sent: dict[str, int] = {}

    def wait(self, count: int = 1, queue: str | None = None) -> None:
        """Before ``count`` things are done.

        Args:
            queue: to which a job is sent by that.

        Raises:
            Stopped: nothing more is to be done.
        """
        if queue is not None and self.at_most_waiting is not None:
            self._wait_for_room(queue, self.at_most_waiting)
        now = time.monotonic()
        self._rest(self._next - now if self.rate is not None else 0.0)
        if self.rate is not None:
            self._next = max(self._next, now) + count / self.rate

    def portion(self, most: int) -> int:
        """How many things may be done together without being far ahead of the limit: a tenth of a second's."""
        return most if self.rate is None else max(1, min(most, int(self.rate / 10)))

    def _wait_for_room(self, queue: str, most: int) -> None:
        left = self._sent.get(queue, 0)
        while left <= 0:
            # Not after each job: as many as there is room for may be sent without another look.
            left = min(most - self._waiting(queue), LOOKED_ANEW)
            if left <= 0:
                self._rest(LOOK_SECONDS)
        self._sent[queue] = left - 1

    def _rest(self, seconds: float) -> None:
        if self._stop.wait(max(seconds, 0.0)):
            raise Stopped
