"""What every job does: it notes when it started, and nothing else."""

from __future__ import annotations

import os
from functools import cache

from benchmarks import facts
from benchmarks.marks import Marks


def note(slot: int) -> None:
    """Writes the time into the job's slot."""
    _marks().note(slot)


@cache
def _marks() -> Marks:
    # With the first job of each process, when the system's worker has loaded what it is made of.
    facts.write()
    return Marks(os.environ["BENCH_MARKS"])
