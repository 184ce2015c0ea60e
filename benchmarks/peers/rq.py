"""rq with its simple worker, which does not fork for each job: ten times as fast as its default."""

from __future__ import annotations

import os
from collections.abc import Sequence

import redis
from rq import Queue

from benchmarks.peers import body, producer

CHUNK = 500
queue = Queue("bench", connection=redis.Redis.from_url(os.environ["BENCH_REDIS"]))


def enqueue(slot: int) -> None:
    """Its one call."""
    queue.enqueue(body.note, slot)


def enqueue_many(slots: Sequence[int]) -> None:
    """Its bulk call."""
    for first in range(0, len(slots), CHUNK):
        queue.enqueue_many([Queue.prepare_data(body.note, (slot,)) for slot in slots[first : first + CHUNK]])


if __name__ == "__main__":
    producer.serve(enqueue, enqueue_many)
