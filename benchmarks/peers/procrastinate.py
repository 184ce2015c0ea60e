"""procrastinate on PostgreSQL: every job is a row, and stays one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from benchmarks.peers import body, producer

CHUNK = 1000
app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_DATABASE_URL"]))


@app.task(name="note", queue="bench")
async def note(slot: int) -> None:
    """The body."""
    await body.note_in_loop(slot)


def enqueue(slot: int) -> None:
    """Its one call."""
    note.defer(slot=slot)


def enqueue_many(slots: Sequence[int]) -> None:
    """Its bulk call."""
    for first in range(0, len(slots), CHUNK):
        note.batch_defer(*({"slot": slot} for slot in slots[first : first + CHUNK]))


if __name__ == "__main__":
    # The module under its own name, and a producer that is not asynchronous; the worker is.
    from benchmarks.peers import procrastinate as module

    plain = SyncPsycopgConnector(conninfo=os.environ["BENCH_DATABASE_URL"])
    with module.app.replace_connector(plain) as connected, connected.open():
        producer.serve(module.enqueue, module.enqueue_many)
