"""Where a job waits, as far as the broker knows: publishing notes its id, and claiming takes the note away."""

from __future__ import annotations

from typing import Any

from redis import Redis

from penstock.broker.keys import Keys
from penstock.job import State


def waiting_state(client: Redis, keys: Keys, id: str, queue: str | None = None) -> State | None:
    """QUEUED, SCHEDULED or BLOCKED; None when the broker does not know the job, or a worker has claimed it.

    Args:
        queue: where it was put; None looks on every queue.
    """
    queues = [queue] if queue else _queues(client, keys)
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hexists(keys.blocked, id)
        pipeline.time()
        for name in queues:
            pipeline.zscore(keys.waiting(name), id)
        is_blocked, (seconds, microseconds), *scores = pipeline.execute()
    found = [score for score in scores if score is not None]
    if is_blocked:
        return State.BLOCKED
    if not found:
        return None
    return State.SCHEDULED if min(found) > seconds * 1000 + microseconds / 1000 else State.QUEUED


def _queues(client: Redis, keys: Keys) -> list[str]:
    names: Any = client.smembers(keys.queues)
    return [name.decode() for name in names]
