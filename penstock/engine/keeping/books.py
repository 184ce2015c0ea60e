"""Writes into the ledger what only the worker's parent or its keeper knows: lost attempts, blocked jobs, dead letters.

In a thread of its own, because SQL may be away for minutes and the lease must be renewed meanwhile. What it cannot
write yet it keeps, and the claims that wait for it stay claimed.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import RedisError

from penstock.broker import envelope
from penstock.engine.keeping import Ward
from penstock.errors import PenstockError
from penstock.job import Reason
from penstock.ledger import letters
from penstock.ledger.delivery import as_time, describe_message
from penstock.ledger.failure import describe_cause
from penstock.ledger.recorder import Recorder
from penstock.ledger.rows import DeadLetter, Delivery
from penstock.ledger.session import writing
from penstock.ledger.tables import Kind

logger = logging.getLogger("penstock.keeper")
TICK_SECONDS = 0.5
SLICE = 100


class Books(threading.Thread):
    """The one SQL connection of a keeper."""

    def __init__(self, ward: Ward, database_url: str, on_lost: Callable[[list[Any], bool], None]) -> None:
        super().__init__(name="books", daemon=True)
        self._ward = ward
        self._database_url = database_url
        self._recorder = Recorder(database_url)
        self._on_lost = on_lost
        self._words: queue.Queue[dict[str, Any]] = queue.Queue()
        self._buried = 0.0

    def write(self, words: dict[str, Any]) -> None:
        """Takes ``lose`` or ``block`` from the worker."""
        self._words.put(words)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was taken is written."""
        return self._words.unfinished_tasks == 0

    def run(self) -> None:
        """For ever; ends with the process."""
        while True:
            try:
                words = self._words.get(timeout=TICK_SECONDS)
            except queue.Empty:
                words = {}
            if "lose" in words:
                self._lose(words)
            if "block" in words:
                self._recorder.block(_delivery(words["block"]), Reason.UNKNOWN_TASK)
            if words:
                self._words.task_done()
            self._bury_each_tick()

    def _lose(self, words: dict[str, Any]) -> None:
        failure = describe_cause(Reason.CRASHED, words["how"])
        self._on_lost(words["lose"], self._recorder.lose(_delivery(words["delivery"]), failure))

    def _bury_each_tick(self) -> None:
        if time.monotonic() - self._buried < TICK_SECONDS:
            return
        try:
            while self._bury() == SLICE:
                pass
        except (RedisError, OSError, PenstockError) as error:
            logger.warning("dead letters stay in Redis for now: %s", error)
        self._buried = time.monotonic()

    def _bury(self) -> int:
        """Moves entries into the ledger. Two keepers may do it at once: an entry's row is written once, and its
        removal from Redis comes after the commit.
        """
        client, keys = self._ward.scripts.client, self._ward.scripts.keys
        entries = client.lrange(keys.dead, 0, SLICE - 1)
        found = [(entry, client.hgetall(keys.dead_entry(entry.decode()))) for entry in entries]
        if found:
            with writing(self._database_url) as connection:
                letters.bury(connection, [dead_letter(entry.decode(), kept) for entry, kept in found if kept])
        for entry, _ in found:
            client.pipeline().lrem(keys.dead, 1, entry).delete(keys.dead_entry(entry.decode())).execute()
        return len(found)


def dead_letter(entry: str, kept: dict[bytes, bytes]) -> DeadLetter:
    """A dead entry as the ledger takes it. Anyone may have written the message in it."""
    queue, step, kind = kept[b"queue"].decode(), int(kept[b"step"]), Kind(kept[b"kind"].decode())
    died = kind is Kind.BURIED and not kept[b"job"]
    return DeadLetter(
        id=entry,
        kind=kind,
        queue=queue,
        step=step,
        reason=kept[b"reason"].decode(errors="replace"),
        payload=kept[b"raw"],
        deliveries=int(kept[b"deliveries"]),
        at=datetime.fromtimestamp(int(kept[b"at"]) / 1000, UTC),
        job=_job(kept[b"raw"], queue, step),
        cause=Reason.CRASHED if died else Reason.UNREADABLE,
    )


def _job(raw: bytes, queue: str, step: int) -> Delivery | None:
    try:
        payload = envelope.read(raw)
        body = envelope.body(payload)
    except envelope.Unreadable:
        return None
    return describe_message(payload["headers"], body, queue, step)


def delivery_words(delivery: Delivery) -> dict[str, Any]:
    """A delivery as the worker sends it to its keeper."""
    words = asdict(delivery)
    return dict(json.loads(json.dumps(words, default=lambda value: getattr(value, "isoformat", value.__repr__)())))


def _delivery(words: dict[str, Any]) -> Delivery:
    return Delivery(**{**words, "enqueued_at": as_time(words["enqueued_at"]), "eta": as_time(words["eta"])})
