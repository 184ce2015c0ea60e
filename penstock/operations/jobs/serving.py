"""Which workers serve a queue, as they say themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.app import PenstockApp
from penstock.operations.workers import asking

PATIENCE_SECONDS = 1.0
"""How long workers have to answer. Nobody waits so long unless one of them is silent."""


@dataclass(frozen=True)
class Serving:
    """The workers that hold a lease, and what those that answered said of one queue."""

    workers: list[str]
    serve: list[str]
    free: list[str]
    """Those that serve it and have room for a job."""
    silent: list[str]


def ask(app: PenstockApp, live: Sequence[str], queue: str) -> Serving:
    """Asks the workers that hold a lease.

    Args:
        live: names of their incarnations.

    Raises:
        BrokerUnavailable: Redis did not take the question.
    """
    workers = sorted({worker.rpartition("/")[0] for worker in live})
    answers = asking.ask(app, "claims", workers, PATIENCE_SECONDS)
    serve = [name for name in workers if queue in answers.get(name, {}).get("queues", ())]
    return Serving(
        workers=workers,
        serve=serve,
        free=[name for name in serve if answers[name].get("has_room")],
        silent=[name for name in workers if name not in answers],
    )
