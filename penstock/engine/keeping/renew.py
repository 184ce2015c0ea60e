"""Renews the worker's lease."""

from __future__ import annotations

from penstock.engine.keeping import Duty, Ward
from penstock.engine.keeping.card import Card


class Renew(Duty):
    """Five times per lease, so that one lost answer costs nothing."""

    def __init__(self, ward: Ward, card: Card) -> None:
        super().__init__(ward)
        self._card = card
        self._written: dict[str, str] = {}
        """The card that Redis has of each worker."""

    def perform(self) -> float:
        """Renews; tells the worker when its lease has been taken away, which is the only reason to stop a job."""
        lost = [worker for worker in self.ward.workers if not self._renew(worker)]
        if lost:
            self.ward.workers = [worker for worker in self.ward.workers if worker not in lost]
            self.ward.tell(lost=lost)
        return self.ward.lease_seconds / 5

    def look(self) -> None:
        """Something on the card may have changed: it is written now if it has."""
        if any(self._card.text(self.ward.queues) != self._written.get(worker) for worker in self.ward.workers):
            self.due = 0.0

    def _renew(self, worker: str) -> bool:
        card = self._card.text(self.ward.queues)
        is_new = self._written.get(worker) != card
        is_renewed = self.ward.scripts.renew(worker, card if is_new else "")
        if is_renewed:
            self._written = {name: text for name, text in self._written.items() if name in self.ward.workers}
            self._written[worker] = card
        return is_renewed
