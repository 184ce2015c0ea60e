"""What Flower's live pages know is what events tell: whether those are sampled, and no secrets in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from penstock.redaction import Redaction

REMEMBERED_SECONDS = 60.0
SECRETIVE = ("args", "kwargs", "result", "exception", "traceback")
"""Fields of events that hold a task's own words."""


class Sampling:
    """Stands between the events of workers and Flower's memory of them."""

    def __init__(self, events: Any, redaction: Redaction) -> None:
        self._pass_on: Callable[[dict[str, Any]], None] = events.on_event
        self._redaction = redaction
        self._sampled_at: float | None = None
        # Flower's thread asks its object for this method when it begins to listen, which is later.
        events.on_event = self._on_event

    @property
    def is_active(self) -> bool:
        """Whether events of the last minute were sampled: more happened than the live pages know."""
        return self._sampled_at is not None and time.monotonic() - self._sampled_at < REMEMBERED_SECONDS

    def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("sampled", 1) > 1:
            self._sampled_at = time.monotonic()
        for field in SECRETIVE:
            if isinstance(event.get(field), str):
                event[field] = self._redaction.text(event[field])
        self._pass_on(event)
