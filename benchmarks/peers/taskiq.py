"""taskiq on a Redis list: it pops and acknowledges nothing; its streams are as fast."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from taskiq_redis import ListQueueBroker

from benchmarks.peers import body, producer

CHUNK = 500
broker = ListQueueBroker(os.environ["BENCH_REDIS"], queue_name="bench")


@broker.task("note")
async def note(slot: int) -> None:
    """The body."""
    await body.note_in_loop(slot)


async def enqueue(slot: int) -> None:
    """Its one call."""
    await note.kiq(slot)


async def enqueue_many(slots: Sequence[int]) -> None:
    """Many at the same time; it has no bulk."""
    for first in range(0, len(slots), CHUNK):
        await asyncio.gather(*(note.kiq(slot) for slot in slots[first : first + CHUNK]))


if __name__ == "__main__":
    producer.serve(enqueue, enqueue_many)
