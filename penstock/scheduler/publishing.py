"""Puts the messages of fires on their queues right after the commit; a broker that is away delays no fire.

It is a thread that may forget: what it does not publish is in the outbox, where the reconciler of a worker's keeper
finds it when Redis is back. What both publish, Redis takes once.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from redis.exceptions import RedisError

from penstock.broker.connection import connect
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.ledger.records import FollowUp
from penstock.outbox import outgoing

logger = logging.getLogger("penstock.beat")
SLICE = 200
"""Messages of one call."""
BACKLOG = 50
"""Batches that wait for a Redis that is slow; further ones are left to the reconciler."""
ANSWER_SECONDS, LAST_SECONDS = 1.0, 2.0


class Publishing(threading.Thread):
    """Publishes batches one after the other."""

    def __init__(self, broker_url: str, options: Mapping[str, Any]) -> None:
        super().__init__(name="publishing", daemon=True)
        client = connect(
            broker_url,
            options,
            name="beat",
            connect_seconds=ANSWER_SECONDS,
            answer_seconds=ANSWER_SECONDS,
            retries=0,
        )
        self._scripts = Scripts(client, Keys(options.get("global_keyprefix") or ""))
        self._batches: queue.Queue[Sequence[FollowUp] | None] = queue.Queue(BACKLOG)
        name = secrets.token_urlsafe(8)
        self._tags = (f"{name}.{number}" for number in count())
        self._is_away = False

    def put(self, messages: Sequence[FollowUp]) -> None:
        """Takes messages whose rows are committed; never waits."""
        if messages:
            with suppress(queue.Full):
                self._batches.put_nowait(messages)

    def stop(self) -> None:
        """Publishes what it has, if that takes no longer than a moment."""
        with suppress(queue.Full):
            self._batches.put_nowait(None)
        if self.is_alive():
            self.join(LAST_SECONDS)

    def run(self) -> None:
        """Until it is stopped."""
        while (batch := self._batches.get()) is not None:
            try:
                for start in range(0, len(batch), SLICE):
                    self._publish(batch[start : start + SLICE])
            except Exception as error:  # Whatever it is, the next batch may pass; the reconciler has this one.
                if not self._is_away:
                    expected = isinstance(error, (RedisError, OSError))
                    text = "Redis does not answer (%s); jobs of schedules wait in the outbox"
                    logger.warning(text, error, exc_info=not expected)
                self._is_away = True
            else:
                self._is_away = False

    def _publish(self, messages: Sequence[FollowUp]) -> None:
        answers = self._scripts.publish_outbox(outgoing(message, next(self._tags)) for message in messages)
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, str):
                logger.warning("job %s waits in the outbox, for its queue takes none: %s", message.job_id, answer)
