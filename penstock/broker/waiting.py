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


def waiting_states(client: Redis, keys: Keys, jobs: Sequence[tuple[str, str | None]]) -> list[State | None]:
    """QUEUED, SCHEDULED or BLOCKED; None when the broker does not know a job, or a worker has claimed it.

    Args:
        jobs: ids, and the queues where they were put; None looks on every queue.
    """
    everywhere = _queues(client, keys) if any(queue is None for _, queue in jobs) else []
    notes = find_notes(client, keys, [(id, [queue] if queue else everywhere) for id, queue in jobs])
    return [note.state if note else None for note in notes]


def find_notes(client: Redis, keys: Keys, jobs: Sequence[tuple[str, Sequence[str]]]) -> list[Note | None]:
    """What is noted of jobs on these queues, in one trip whatever their number; None like :func:`waiting_states`."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.hmget(keys.blocked, [id for id, _ in jobs])
        for id, queues in jobs:
            for name in queues:
                pipeline.zscore(keys.waiting(name), id)
        (seconds, microseconds), blocked, *scores = pipeline.execute()
    now, rest = seconds * 1000 + microseconds / 1000, iter(scores)
    return [
        _note(is_blocked is not None, [(next(rest), name) for name in queues], now)
        for (_, queues), is_blocked in zip(jobs, blocked, strict=True)
    ]


def _note(is_blocked: bool, places: Sequence[tuple[float | None, str]], now_ms: float) -> Note | None:
    found = [(score, queue) for score, queue in places if score is not None]
    since, place = min(found) if found else (None, None)
    if is_blocked:
        return Note(State.BLOCKED, place, since)
    if since is None:
        return None
    return Note(State.QUEUED if since <= now_ms else State.SCHEDULED, place, since)


def _queues(client: Redis, keys: Keys) -> list[str]:
    names: Any = client.smembers(keys.queues)
    return [name.decode() for name in names]
