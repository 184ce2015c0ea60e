"""Running jobs of a worker that were cancelled: each is asked to stop, and ended when its grace is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery.app.control import TERM_SIGNAME
from celery.worker import state

from penstock.engine.revoking import Revocations

logger = logging.getLogger(__name__)
AGAIN_SECONDS = 0.5
"""After so long a body is asked again: the last time it may have been where it cannot hear, as in its tracer."""
KEPT_SECONDS = 30.0
"""For so long a request is kept of a job that does not run here: it may have been claimed before, and be about to."""


@dataclass
class _Request:
    stop: float
    """When the job is ended; monotonic."""
    kept: float
    """Until when it is kept."""
    asked: float = 0.0


class Stopping:
    """Of one worker. In its own process, which knows what runs and can end it as Celery does."""

    def __init__(self, pool: Any, revocations: Revocations, ask: Callable[[Any], None]) -> None:
        """Args:
        ask: has the body of a request hear that its job is cancelled.
        """
        self._pool = pool
        self._revocations = revocations
        self._ask = ask
        self._open: dict[str, _Request] = {}

    def learn(self, left: Mapping[str, float | None]) -> None:
        """Takes in which jobs are cancelled, and how many seconds each may go on; None: as long as it takes."""
        now = time.monotonic()
        for id, seconds in left.items():
            stop = float("inf") if seconds is None else now + seconds
            known = self._open.get(id)
            asked = known.asked if known is not None else 0.0
            self._open[id] = _Request(stop, now + KEPT_SECONDS, asked)

    def perform(self) -> None:
        """What is due."""
        now = time.monotonic()
        for id, open in list(self._open.items()):
            request = state.requests.get(id)
            if request is None or request not in state.active_requests:
                if now >= open.kept:
                    del self._open[id]
                continue
            open.kept = now + KEPT_SECONDS
            if now >= open.stop:
                del self._open[id]
                self._end(id, request)
            elif now >= open.asked + AGAIN_SECONDS:
                open.asked = now
                self._ask(request)

    def _end(self, id: str, request: Any) -> None:
        try:
            self._revocations.terminate_running({id: TERM_SIGNAME}, self._pool)
        except NotImplementedError:
            self._ask(request)
            logger.warning("job %s was cancelled, and this pool cannot end what runs in it", id)
