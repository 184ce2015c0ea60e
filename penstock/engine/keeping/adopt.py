"""Puts back what stock workers took and abandoned, as they would themselves, but by the server's clock."""

from __future__ import annotations

import logging

from penstock.broker.unacked import adopt_unacked
from penstock.engine.keeping import Duty

logger = logging.getLogger("penstock.keeper")
TICK_SECONDS = 10.0


class Adopt(Duty):
    """One elected keeper looks, for as long as stock workers may have run beside ours or before them."""

    def perform(self) -> float:
        """One look."""
        if self.ward.elect(self.ward.scripts.keys.promoter):
            adopted = adopt_unacked(self.ward.scripts, self.ward.transport_options)
            if adopted:
                logger.warning("%d messages that stock workers had abandoned went back to their queues", adopted)
        return TICK_SECONDS
