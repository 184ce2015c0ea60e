"""Breakers: a task that keeps failing is not started for a while, and then tried by single jobs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from penstock.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """When a task's jobs stop being started, on all workers and hosts, and when it is tried again.

    Attempts count, and not jobs: retries are what a service that is down is hammered by. An attempt has failed when its
    body raised one of ``on``, also if it is retried, when it ran into its time limit, and when its process died. What a
    body decides is no failure: after ``Cancel`` and ``Discard`` the service has answered, a ``Snooze`` is no attempt.

    Args:
        failures: failed attempts within the window that open it.
        window: seconds in which attempts are counted; it slides.
        pause: seconds for which it stays open before probes start.
        probes: jobs that are started then, and have to succeed before it closes; one that fails opens it again.
        backoff: factor by which the pause grows each time that probes fail.
        cap: seconds that no pause exceeds, unless ``pause`` itself does.
        ratio: share of failed attempts in the window that opens it, from 0 to 1, in place of ``failures``.
        minimum: attempts in the window before the ratio says anything.
        on: exceptions that count as failures; after any other one the service has answered.
    """

    failures: int = 10
    window: float = 60.0
    pause: float = 300.0
    probes: int = 1
    backoff: float = 1.0
    cap: float = 3600.0
    ratio: float | None = None
    minimum: int = 20
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        for name in ("failures", "probes", "minimum"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise DeclarationError(f"Breaker({name}={value!r}): a number of attempts, at least 1")
        for name in ("window", "pause"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 1):
                raise DeclarationError(f"Breaker({name}={value!r}): seconds, at least 1")
        if not (_is_number(self.backoff) and self.backoff >= 1):
            raise DeclarationError(f"Breaker(backoff={self.backoff!r}): a factor, at least 1")
        if not (_is_number(self.cap) and self.cap > 0):
            raise DeclarationError(f"Breaker(cap={self.cap!r}): seconds, more than 0")
        if self.ratio is not None and not (_is_number(self.ratio) and 0 < self.ratio <= 1):
            raise DeclarationError(f"Breaker(ratio={self.ratio!r}): a share above 0 and up to 1, e.g. 0.5")
        kinds = self.on if isinstance(self.on, tuple) else ()
        if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
            raise DeclarationError(f"Breaker(on={self.on!r}): a tuple of exception classes, e.g. (ConnectionError,)")

    @property
    def rule(self) -> list[str]:
        """What ``broker/lua/trip.lua`` has to know of it."""
        by_ratio = self.ratio is not None
        numbers = (_ms(self.window), _ms(self.pause), self.probes, float(self.backoff), _ms(self.cap))
        return [
            "" if by_ratio else str(self.failures),
            *map(str, numbers),
            str(float(self.ratio)) if self.ratio is not None else "",
            str(self.minimum),
        ]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
