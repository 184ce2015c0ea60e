"""Moves parked messages that are due to their queues."""

from __future__ import annotations

import time

from penstock.engine.keeping import Duty, Ward

TICK_SECONDS, STAND_BY_SECONDS = 0.05, 0.5
QUEUES_SECONDS = 0.5


class Promote(Duty):
    """One elected keeper looks twenty times a second; a message that is due sooner sets the time itself."""

    def __init__(self, ward: Ward) -> None:
        super().__init__(ward)
        self._queues: list[str] = []
        self._listed = 0.0
        self._elected = float("-inf")

    @property
    def is_elected(self) -> bool:
        """Whether it is this keeper, which was so half a second ago at the most."""
        return time.monotonic() - self._elected <= STAND_BY_SECONDS

    def perform(self) -> float:
        """Moves a slice of what is due."""
        now = time.monotonic()
        if now - self._elected > STAND_BY_SECONDS:
            if not self.ward.elect(self.ward.scripts.keys.promoter):
                return STAND_BY_SECONDS
            self._elected = now
        if now - self._listed > QUEUES_SECONDS:
            members = self.ward.scripts.client.smembers(self.ward.scripts.keys.queues)
            self._queues = sorted(member.decode() for member in members)
            self._listed = now
        if not self._queues:
            return TICK_SECONDS
        promoted = self.ward.scripts.promote(self._queues)
        if promoted.moved:
            return 0.0
        until_due = (promoted.next_due_ms - promoted.now_ms) / 1000 if promoted.next_due_ms else TICK_SECONDS
        return min(max(until_due, 0.001), TICK_SECONDS)
