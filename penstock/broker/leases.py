"""Leases as Redis has them: which workers of ours there are, when each was heard of, and which of them end."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.broker.scripts import Scripts


@dataclass(frozen=True)
class Lease:
    """One worker's right to its claims.

    Attributes:
        worker: the incarnation's name.
        renewed_seconds_ago: since its keeper was heard of.
        draining_seconds: since when the worker ends; None: it goes on.
    """

    worker: str
    renewed_seconds_ago: float
    draining_seconds: float | None

    @property
    def hostname(self) -> str:
        """The worker's name without its incarnation, as Celery knows it."""
        return self.worker.rpartition("/")[0]


def leases(scripts: Scripts) -> list[Lease]:
    """The leases that nobody has taken away, in the order of their workers' names; two questions to Redis."""
    client, keys = scripts.client, scripts.keys
    pipe = client.pipeline(transaction=False)
    pipe.time().zrange(keys.leases, 0, -1, withscores=True)
    (seconds, micros), found = pipe.execute()
    now = seconds * 1000 + micros / 1000
    renewed = {worker.decode(): at for worker, at in sorted(found)}
    for worker in renewed:
        pipe.hget(keys.worker(worker), "draining")
    return [
        Lease(worker, max(now - at, 0) / 1000, max(now - int(draining), 0) / 1000 if draining else None)
        for (worker, at), draining in zip(renewed.items(), pipe.execute(), strict=True)
    ]
