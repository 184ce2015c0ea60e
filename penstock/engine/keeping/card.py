"""What a keeper tells of its worker to whoever asks why a job waits: it lies in Redis, and nobody has to answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Card:
    """Of one worker."""

    places: Callable[[], tuple[int, bool]]
    """How many jobs it can run at once, and whether each of its children runs one at a time; (0, True): not known."""
    away_since: Callable[[], float | None]
    """Since when the ledger could not be written, in seconds since 1970."""
    is_full: bool = False
    """Whether it claims nothing because too much waits for the ledger."""
    served: set[str] = field(default_factory=set)
    """Queues that it has ever claimed from."""

    def text(self, queues: Iterable[str]) -> str:
        """As JSON; see :class:`penstock.broker.whereabouts.WorkerCard`.

        Args:
            queues: those that it claims from.
        """
        queues = list(queues)
        places, is_single = self.places()
        away = self.away_since()
        told = {
            "queues": queues,
            "stopped": sorted(self.served.difference(queues)),
            "full": self.is_full,
            "away": int(away * 1000) if away is not None else None,
            "places": places,
            "single": is_single,
        }
        return json.dumps(told, separators=(",", ":"))
