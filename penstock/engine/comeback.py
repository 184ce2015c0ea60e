"""Messages that come back after Redis was restarted or replaced: settled ones, and ones that run at this moment.

A replica that takes over may lag behind: it does not know of the last claims and settlements, so their messages are
in the lists again as if they had never been delivered. The ledger knows better. Until everything that was enqueued
before the change has gone through, each claimed message is looked up there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from penstock.broker import envelope
from penstock.message import ENQUEUED_AT

DOUBT_SECONDS = 3600.0
"""How long messages that do not tell when they were enqueued are looked up."""
CLOCK_SLACK_MS = 5000
"""By how much a producer's clock may be ahead of the server's."""


class Comebacks:
    """Tells which messages may have come back."""

    def __init__(self) -> None:
        self._changed_ms = 0
        self._noticed = 0.0

    def notice(self, changed_ms: int) -> bool:
        """Takes in that the server was restarted or replaced, at this time of its clock; False if that is known."""
        is_news = changed_ms > self._changed_ms
        if is_news:
            self._changed_ms, self._noticed = changed_ms, time.monotonic()
        return is_news

    def is_doubtful(self, headers: Mapping[str, Any]) -> bool:
        """Whether a message with these headers is from before the change, as far as anybody can tell."""
        if not self._changed_ms:
            return False
        enqueued = envelope.moment_ms(headers.get(ENQUEUED_AT))
        if enqueued is None:
            return time.monotonic() - self._noticed < DOUBT_SECONDS
        return enqueued < self._changed_ms + CLOCK_SLACK_MS
