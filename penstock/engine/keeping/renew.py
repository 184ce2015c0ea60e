"""Renews the worker's lease."""

from __future__ import annotations

from penstock.engine.keeping import Duty


class Renew(Duty):
    """Five times per lease, so that one lost answer costs nothing."""

    def perform(self) -> float:
        """Renews; tells the worker when its lease has been taken away, which is the only reason to stop a job."""
        lost = [worker for worker in self.ward.workers if not self.ward.scripts.renew(worker)]
        if lost:
            self.ward.workers = [worker for worker in self.ward.workers if worker not in lost]
            self.ward.tell(lost=lost)
        return self.ward.lease_seconds / 5
