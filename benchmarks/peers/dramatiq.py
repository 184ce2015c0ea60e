"""dramatiq, two processes of eight threads: its own defaults but for the processes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import body, producer

broker = RedisBroker(url=os.environ["BENCH_REDIS"])
dramatiq.set_broker(broker)


@dramatiq.actor
def note(slot: int) -> None:
    """The body."""
    body.note(slot)


def enqueue_many(slots: Sequence[int]) -> None:
    """A group, as its documentation has it."""
    dramatiq.group([note.message(slot) for slot in slots]).run()


if __name__ == "__main__":
    producer.serve(note.send, enqueue_many)
