"""arq: looks for jobs a hundred times a second, by default twice. It refuses clients of Redis from release 6 on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from benchmarks.peers import body, producer

CHUNK = 500
settings = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])
settings.max_connections = 2 * CHUNK
pools: list[ArqRedis] = []


async def note(_context: dict[str, Any], slot: int) -> None:
    """The body."""
    await body.note_in_loop(slot)


class WorkerSettings:
    """As its command line takes them."""

    functions: ClassVar = [note]
    redis_settings = settings
    max_jobs = body.CONCURRENCY or 100
    poll_delay = 0.01
    keep_result = 0
    log_results = False


async def enqueue(slot: int) -> None:
    """Its one call."""
    await (await pool()).enqueue_job("note", slot)


async def enqueue_many(slots: Sequence[int]) -> None:
    """Many at the same time; it has no bulk."""
    connected = await pool()
    for first in range(0, len(slots), CHUNK):
        await asyncio.gather(*(connected.enqueue_job("note", slot) for slot in slots[first : first + CHUNK]))


async def pool() -> ArqRedis:
    """Connected at the first call, by the loop that it belongs to."""
    if not pools:
        pools.append(await create_pool(settings))
    return pools[0]


if __name__ == "__main__":
    producer.serve(enqueue, enqueue_many)
