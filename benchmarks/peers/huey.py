"""huey by process: it pops and acknowledges nothing, so a crash loses what was popped."""

from __future__ import annotations

import os
from collections.abc import Sequence

from huey import RedisHuey

from benchmarks.peers import body, producer

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=False)


@huey.task()
def note(slot: int) -> None:
    """The body."""
    body.note(slot)


def enqueue_many(slots: Sequence[int]) -> None:
    """One by one; it has no other way."""
    for slot in slots:
        note(slot)


if __name__ == "__main__":
    # The name by which the worker finds the task, not `__main__`.
    from benchmarks.peers import huey as module

    producer.serve(module.note, module.enqueue_many)
