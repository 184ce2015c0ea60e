"""How a fault is declared: which windows it shows, on which sides, and within which bound everything must go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.faults.sides import LATE, OURS, STOCK, Side

if TYPE_CHECKING:
    from tests.faults.ground import Ground

WINDOWS = (*(f"W{number}" for number in range(1, 25)), "SQL", "poison")
"""The windows that must have a row, in the order of the page."""
SQLITE, POSTGRESQL = "sqlite", "postgresql"
"""Where results go, of both sides, in a row that is about it."""
CHILD_BOUND, WORKER_BOUND = 1.0, 15.0
"""Seconds within which the job of a dead child, and of a dead worker, starts again."""

Act = Callable[["Ground"], None]


@dataclass(frozen=True)
class Scenario:
    """One row: a fault, and what must hold when it strikes."""

    window: str
    fault: str
    act: Act
    sides: tuple[Side, ...]
    bound: float
    """Seconds from the fault to the next start of what it interrupted; on our side later is a damage."""
    patience: float = 0.0
    """Seconds without any job's end after which a full run calls the rest stuck; the bound unless told."""
    stock: dict[str, Any] = field(default_factory=dict)
    """Settings of the stock side beyond Celery's defaults."""
    config: dict[str, Any] = field(default_factory=dict)
    """Settings of every side beyond Celery's defaults."""
    redis: dict[str, str] = field(default_factory=dict)
    """Configuration of the Redis."""
    store: str = ""
    """The database of both sides' results; unless told, stock's are in Redis and ours in a SQLite of their own."""
    settings: dict[str, str] = field(default_factory=dict)
    """Settings of the PostgreSQL."""
    remark: str = ""
    not_reproducible: str = ""
    """Why stock Celery shows no damage here."""
    limit: str = ""
    """Why our side does what ``covered`` names, which the guarantees say."""
    covered: tuple[str, ...] = ()
    runs: int = 2
    """How often a full run plays it on each side; a quick run once."""

    @property
    def name(self) -> str:
        """Names it in progress lines."""
        return self.act.__name__


SCENARIOS: list[Scenario] = []


def fault(
    window: str,
    fault: str,
    *,
    sides: tuple[Side, ...] = (STOCK, LATE, OURS),
    bound: float = WORKER_BOUND,
    **rest: Any,
) -> Callable[[Act], Act]:
    """Declares the decorated function as what happens in one row."""

    def declare(act: Act) -> Act:
        SCENARIOS.append(Scenario(window, fault, act, sides, bound, **rest))
        return act

    return declare
