"""What Flower's live pages know is what workers tell: whether their events are sampled, and no secrets in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from penstock.flower.masking import Masking

REMEMBERED_SECONDS = 60.0


class Sampling:
    """Stands between the events of workers and Flower's memory of them.

    Args:
        events: Flower's thread that receives them.
        masking: takes secrets out of them.
        clock: seconds.
    """

    def __init__(self, events: Any, masking: Masking, clock: Callable[[], float] = time.monotonic) -> None:
        self._pass_on: Callable[[dict[str, Any]], None] = events.on_event
        self._masking = masking
        self._clock = clock
        self._sampled_at: float | None = None
        # Flower's thread asks its object for this method when it begins to listen, which is later.
        events.on_event = self._on_event

    @property
    def is_active(self) -> bool:
        """Whether events of the last minute were sampled: more happened than the live pages know."""
        return self._sampled_at is not None and self._clock() - self._sampled_at < REMEMBERED_SECONDS

    def _on_event(self, event: dict[str, Any]) -> None:
        sampled = event.get("sampled")
        if isinstance(sampled, int) and sampled > 1:
            self._sampled_at = self._clock()
        self._masking.event(event)
        self._pass_on(event)


def mask_reports(inspector: Any, masking: Masking) -> None:
    """Has Flower keep what workers answer to its inspections without secrets."""
    keep = inspector._on_update

    def keep_masked(worker: str, method: str, response: Any) -> None:
        keep(worker, method, masking.report(method, response))

    inspector._on_update = keep_masked
