"""Sweeps what others leave behind: index entries of jobs that stock workers took, counts and revocations of old."""

from __future__ import annotations

from typing import Any

from penstock.broker import envelope
from penstock.broker.keys import PRIORITY_STEPS
from penstock.broker.scripts import SLICE
from penstock.engine.keeping import Duty
from penstock.message import ENQUEUED_AT

TICK_SECONDS = 30.0
SETTLING_MS = 60_000
"""Index entries younger than this are left alone: their message may be on its way from a list to a claimer."""
DAY_MS = 86_400_000
KEPT_DAYS = 30
"""How long a revocation and a delivery count are remembered."""


class Sweep(Duty):
    """One elected keeper sweeps; nothing depends on it but tidiness."""

    def perform(self) -> float:
        """One round over all queues."""
        if not self.ward.elect(self.ward.scripts.keys.promoter):
            return TICK_SECONDS
        client, keys = self.ward.scripts.client, self.ward.scripts.keys
        seconds, _ = client.time()
        now = int(seconds) * 1000
        for name in client.smembers(keys.queues):
            self._sweep_index(name.decode(), now)
        self._sweep_revocations(now - KEPT_DAYS * DAY_MS)
        self._sweep_counts(now - KEPT_DAYS * DAY_MS)
        return TICK_SECONDS

    def _sweep_index(self, queue: str, now: int) -> None:
        """Removes ids that must have left: they are older than every message that still waits."""
        client, keys = self.ward.scripts.client, self.ward.scripts.keys
        first = [client.lindex(keys.ready(queue, step), -1) for step in PRIORITY_STEPS]
        times = [_enqueued_ms(raw) for raw in first if raw is not None]
        if None in times or client.hlen(keys.unknown) or client.exists(keys.broken, keys.unbroken):
            return  # A message that tells no time, or messages aside, or back from there: older than the first.
        oldest = min([now, *(time for time in times if time is not None)])
        self.ward.scripts.sweep(queue, oldest - SETTLING_MS)

    def _sweep_revocations(self, before_ms: int) -> None:
        client, keys = self.ward.scripts.client, self.ward.scripts.keys
        version = before_ms * 1000
        old = client.zrange(keys.revoked, "-inf", version, byscore=True, offset=0, num=SLICE)
        if old:
            client.hdel(keys.revoked_signals, *old)
            client.zrem(keys.revoked, *old)
        client.zremrangebyscore(keys.revoked_stamps, "-inf", version)

    def _sweep_counts(self, before_ms: int) -> None:
        client, keys = self.ward.scripts.client, self.ward.scripts.keys
        for field, value in client.hscan_iter(keys.deliveries, count=SLICE):
            if int(value.rsplit(b":", 1)[1]) < before_ms:
                client.hdel(keys.deliveries, field)


def _enqueued_ms(raw: bytes) -> int | None:
    """When a message was enqueued, as its producer says; None if it does not."""
    try:
        headers: dict[str, Any] = envelope.read(raw)["headers"]
        return envelope.moment_ms(headers.get(ENQUEUED_AT))
    except envelope.Unreadable:
        return None
