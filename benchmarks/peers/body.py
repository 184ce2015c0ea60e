"""What every job does: it notes when it started, and waits for as long as the run asks, mostly not at all."""

from __future__ import annotations

import asyncio
import os
import time
from functools import cache

from benchmarks import facts
from benchmarks.marks import Marks

SECONDS = float(os.environ.get("BENCH_SECONDS", "0"))
"""That each job waits as for somebody's answer."""
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "0"))
"""Jobs that a worker runs at once, where the run says it and the system is told in its code; 0: as is best here."""


def note(slot: int) -> None:
    """Writes the time into the job's slot."""
    _marks().note(slot)
    if SECONDS:
        time.sleep(SECONDS)


async def note_in_loop(slot: int) -> None:
    """The same of a coroutine."""
    _marks().note(slot)
    if SECONDS:
        await asyncio.sleep(SECONDS)


@cache
def _marks() -> Marks:
    # With the first job of each process, when the system's worker has loaded what it is made of.
    facts.write()
    return Marks(os.environ["BENCH_MARKS"])
