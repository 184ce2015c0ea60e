"""What a keeper does, a file per duty. Each is repeated for ever and can be left out at any moment without harm."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from penstock.broker.scripts import Scripts
from penstock.retention import RetentionRules

LEASE_SECONDS, CRASH_LIMIT = 10.0, 3
"""Defaults of kombu's transport options ``lease_seconds`` and ``crash_limit``, which are ours as ``retention`` is."""
ROW_SECONDS = 1.0
"""How long a job runs before the ledger shows it as running."""
TERM_MS = 3000
"""How long a role lasts without its holder's word."""


@dataclass
class Ward:
    """The worker that is kept, and the means to do it."""

    scripts: Scripts
    tell: Callable[..., None]
    selector: selectors.BaseSelector
    broker_url: str
    transport_options: dict[str, Any]
    database_url: str | None
    lease_seconds: float
    crash_limit: int
    retention: RetentionRules
    workers: list[str] = field(default_factory=list)
    """Incarnations that hold claims: the present one last."""
    queues: list[str] = field(default_factory=list)

    def elect(self, role: str) -> bool:
        """Whether this keeper holds the role now. Roles save work; nothing is wrong if two hold one."""
        if not self.workers:
            return False  # It has no name yet, and would hold the role under none until the term is over.
        return bool(self.scripts.call("elect", role, self.workers[-1], TERM_MS))

    def resign(self, role: str) -> None:
        """Gives a role up, so that the next keeper need not wait for its end."""
        holder = self.workers[-1] if self.workers else ""
        if self.scripts.client.get(role) == holder.encode():
            self.scripts.client.delete(role)


class Duty:
    """Something to be done again and again."""

    due = 0.0
    """Monotonic time of the next performance."""
    failures = 0
    """How often it failed in a row because Redis did not answer."""

    def __init__(self, ward: Ward) -> None:
        self.ward = ward

    def perform(self) -> float:
        """Does it once; seconds until the next time. Errors of Redis pass through, and it is tried again."""
        raise NotImplementedError
