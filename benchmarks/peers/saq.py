"""saq: keeps jobs in Redis for ten minutes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from saq import Queue

from benchmarks.peers import body, producer

CHUNK = 500
queue = Queue.from_url(os.environ["BENCH_REDIS"], name="bench")


async def note(_context: dict[str, Any], *, slot: int) -> None:
    """The body."""
    await body.note_in_loop(slot)


settings = {"queue": queue, "functions": [note], "concurrency": body.CONCURRENCY or 10}


async def enqueue(slot: int) -> None:
    """Its one call."""
    await queue.enqueue("note", slot=slot)


async def enqueue_many(slots: Sequence[int]) -> None:
    """Many at the same time; it has no bulk."""
    for first in range(0, len(slots), CHUNK):
        await asyncio.gather(*(queue.enqueue("note", slot=slot) for slot in slots[first : first + CHUNK]))


if __name__ == "__main__":
    producer.serve(enqueue, enqueue_many)
