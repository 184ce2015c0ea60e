"""Where a job waits, as far as the broker knows: publishing notes its id, and claiming takes the note away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis

from penstock.broker.keys import Keys
from penstock.job import State


class Note(NamedTuple):
    """What is noted of a job that nobody has claimed."""

    state: State
    """QUEUED, SCHEDULED or BLOCKED."""
    queue: str | None
    """None: it is blocked, and was claimed once."""
    since_ms: float | None
    """When it was enqueued, or is due; of the waiting index, in milliseconds since 1970."""


def waiting_state(client: Redis, keys: Keys, id: str, queue: str | None = None) -> State | None:
    """QUEUED, SCHEDULED or BLOCKED; None when the broker does not know the job, or a worker has claimed it.

    Args:
        queue: where it was put; None looks on every queue.
    """
    note = find_note(client, keys, id, [queue] if queue else _queues(client, keys))
    return note.state if note else None


def find_note(client: Redis, keys: Keys, id: str, queues: Sequence[str]) -> Note | None:
    """What is noted of a job on these queues, in one trip whatever their number; None like :func:`waiting_state`."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hexists(keys.blocked, id)
        pipeline.time()
        for name in queues:
            pipeline.zscore(keys.waiting(name), id)
        is_blocked, (seconds, microseconds), *scores = pipeline.execute()
    found = [(score, queue) for score, queue in zip(scores, queues, strict=True) if score is not None]
    since, place = min(found) if found else (None, None)
    if is_blocked:
        return Note(State.BLOCKED, place, since)
    if since is None:
        return None
    is_due = since <= seconds * 1000 + microseconds / 1000
    return Note(State.QUEUED if is_due else State.SCHEDULED, place, since)


def _queues(client: Redis, keys: Keys) -> list[str]:
    names: Any = client.smembers(keys.queues)
    return [name.decode() for name in names]
