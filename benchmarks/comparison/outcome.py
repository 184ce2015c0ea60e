"""What was found out about a system: each value of each run, and their medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.harness import percentile

UNITS = {
    "run": "jobs/s",
    "enqueue": "jobs/s",
    "enqueue_many": "jobs/s",
    "idle_p50": "ms",
    "idle_p95": "ms",
    "idle_p99": "ms",
    "worker_cpu": "µs/job",
    "redis_cpu": "µs/job",
    "sql_cpu": "µs/job",
    "redis_commands": "per job",
    "pss": "MiB",
}
"""Every quantity; with jobs/s more is better, with the others less."""


@dataclass(frozen=True)
class Drained:
    """One way through a filled queue: jobs a second from the first body to the last settled job.

    Costs are per job, those inside scripts are counted among Redis's commands; None: it does not run here.
    """

    jobs: int
    run: float
    worker_cpu: float
    redis_cpu: float
    sql_cpu: float | None
    redis_commands: float
    pss: float


@dataclass(frozen=True)
class Run:
    """One run of one system.

    Attributes:
        enqueue: one after the other, jobs a second.
        enqueue_many: by the quickest way, jobs a second.
        idle: milliseconds from each call to the start of its body.
        keys_left: of Redis, when all is done.
        rows_left: of SQL.
        checked: what was found in order, of Penstock's.
        facts: what the worker's parents were made of, where it is Celery's.
    """

    drained: Drained
    enqueue_many: float
    enqueue: float | None = None
    idle: Sequence[float] = ()
    keys_left: int = 0
    rows_left: int | None = None
    checked: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    def value(self, quantity: str) -> float | None:
        """One of :data:`UNITS`."""
        if quantity.startswith("idle_p"):
            return percentile(list(self.idle), float(quantity.removeprefix("idle_p"))) if self.idle else None
        found: float | None = getattr(self, quantity) if hasattr(self, quantity) else getattr(self.drained, quantity)
        return found


@dataclass(frozen=True)
class Outcome:
    """All runs of one system."""

    name: str
    title: str
    keeps: str
    settings: str
    versions: dict[str, str]
    runs: Sequence[Run]

    def values(self, quantity: str) -> list[float]:
        """Of each run that has it."""
        return [value for run in self.runs if (value := run.value(quantity)) is not None]

    def median(self, quantity: str) -> float | None:
        """None: no run has it."""
        values = self.values(quantity)
        return median(values) if values else None

    def as_data(self) -> dict[str, Any]:
        """Everything, for machines."""
        medians = {f"{quantity} ({unit})": self.median(quantity) for quantity, unit in UNITS.items()}
        return asdict(self) | {"medians": medians}
