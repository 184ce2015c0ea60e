"""Messages that come back after Redis was restarted or replaced: settled ones, and ones that run at this moment.

A replica that takes over may lag behind: it does not know of the last claims and settlements, so their messages are
in the lists again as if they had never been delivered. The ledger knows better. Until everything that was enqueued
before the change has gone through, each claimed message is looked up there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from penstock.broker import envelope
from penstock.errors import PenstockError
from penstock.job import State
from penstock.ledger.deliveries import states_of
from penstock.ledger.session import reading
from penstock.message import ENQUEUED_AT

logger = logging.getLogger(__name__)
DOUBT_SECONDS = 3600.0
"""How long messages that do not tell when they were enqueued are looked up."""
CLOCK_SLACK_MS = 5000
"""By how much a producer's clock may be ahead of the server's."""
LATER_SECONDS = 5.0


class Verdict(Enum):
    """What to do with a claimed message."""

    DELIVER = "deliver"
    DONE = "done"
    LATER = "later"


class Comebacks:
    """Decides whether a claimed message may be delivered."""

    def __init__(self, database_url: str, live_workers: Callable[[], list[str]]) -> None:
        self._database_url = database_url
        self._live_workers = live_workers
        self._changed_ms = 0
        self._noticed = 0.0

    def notice(self, changed_ms: int) -> bool:
        """Takes in that the server was restarted or replaced, at this time of its clock; False if that is known."""
        is_news = changed_ms > self._changed_ms
        if is_news:
            self._changed_ms, self._noticed = changed_ms, time.monotonic()
        return is_news

    def judge(self, message: Any) -> Verdict:
        """DONE if the job has ended, LATER while it runs at a worker that lives, else DELIVER."""
        id = (message.headers or {}).get("id")
        if not self._is_doubtful(message) or not isinstance(id, str):
            return Verdict.DELIVER
        try:
            with reading(self._database_url) as connection:
                standing = states_of(connection, [id]).get(id)
        except PenstockError as error:
            logger.warning("cannot look up whether %s has come back: %s", id, error)
            return Verdict.LATER
        if standing is None:
            return Verdict.DELIVER
        if standing.state.is_final:
            return Verdict.DONE
        return Verdict.LATER if standing.state is State.RUNNING and self._lives(standing.worker) else Verdict.DELIVER

    def _is_doubtful(self, message: Any) -> bool:
        if not self._changed_ms:
            return False
        enqueued = envelope.moment_ms((message.headers or {}).get(ENQUEUED_AT))
        if enqueued is None:
            return time.monotonic() - self._noticed < DOUBT_SECONDS
        return enqueued < self._changed_ms + CLOCK_SLACK_MS

    def _lives(self, hostname: str | None) -> bool:
        return any(worker.rpartition("/")[0] == hostname for worker in self._live_workers())
