"""Jobs that go into a session's transaction instead of to Redis."""

from __future__ import annotations

from collections.abc import Callable

from penstock.client.publishing import Destination, Outgoing
from penstock.client.signals import announced
from penstock.outbox import Outbox


def keep(block: Outbox, destination: Destination, jobs: list[Outgoing]) -> Callable[[], None]:
    """Puts jobs into a session's transaction; there is nothing to wait for in what is returned."""
    from penstock.ledger.records import FollowUp

    messages, tell = announced(jobs)
    block.put(
        [
            FollowUp(key=id, job_id=id, task=way.task, payload=raw, **destination._asdict())
            for (_, way, _), (id, raw) in zip(jobs, messages, strict=True)
        ]
    )
    if tell is not None:
        tell()
    return _nothing


def _nothing() -> None:
    pass
