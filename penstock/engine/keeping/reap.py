"""Takes back the claims of workers that are silent: whole hosts, mostly."""

from __future__ import annotations

import logging

from penstock.engine.keeping import Duty

logger = logging.getLogger("penstock.keeper")
TICK_SECONDS, GAP_SECONDS = 1.0, 3.0


class Reap(Duty):
    """Every keeper ticks: if only one did, its death would break the ticks when they are needed most."""

    def perform(self) -> float:
        """One tick; more at once while there is more to take back."""
        lease_ms, gap_ms = int(self.ward.lease_seconds * 1000), int(GAP_SECONDS * 1000)
        reaped = self.ward.scripts.reap(lease_ms, gap_ms, self.ward.crash_limit)
        for worker in reaped.workers:
            logger.warning("%s was silent for %s s; its claims go back", worker, self.ward.lease_seconds)
        return 0.0 if reaped.more else TICK_SECONDS
