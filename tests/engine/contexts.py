"""Many jobs at once, each of which looks whether anything of another one is in its contexts.

`make contexts` runs a hundred thousand in each kind of children: `python -m tests.engine.contexts --jobs 100000`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from penstock import Settings, client, enqueue_many
from penstock.client import publishing
from penstock.job import State
from penstock.ledger import schema
from penstock.ledger.session import reading
from penstock.ledger.tables import jobs
from tests.engine.coroutine_bodies import belong, belong_in_thread
from tests.engine.station import Station
from tests.live import wait_for

BODIES = {"asyncio": belong, "threads": belong_in_thread}
PATIENCE = 1200.0


def play(station: Station, kind: str, count: int) -> tuple[Counter[str], int]:
    """Runs so many in one child of this kind.

    Returns:
        How they have ended, by state and error, and how many of them had others run between two of their looks.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "_publisher", None)
        variables = {
            "REDIS_URL": station.server.url,
            "DATABASE_URL": station.ledger,
            "PENSTOCK_VAR": str(station.folder),
        }
        client.configure(Settings.load(variables))
        enqueue_many(BODIES[kind].bind(number) for number in range(count))
    with station.worker(penstock_kind=kind, penstock_size=200 if kind == "asyncio" else 20):
        wait_for(station.quiet, f"{count:,} jobs have ended", PATIENCE)
    with reading(station.ledger) as book:
        rows = book.execute(select(jobs.c.state, jobs.c.attempts, jobs.c.error_message, jobs.c.result)).all()
    ended = Counter(
        f"{State(row.state).value}, attempt {row.attempts}{f': {row.error_message}' if row.error_message else ''}"
        for row in rows
    )
    return ended, sum(row.result is True for row in rows)


def main() -> int:
    """The command; 1 when a job has found another one's."""
    parser = argparse.ArgumentParser("python -m tests.engine.contexts", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="in each kind (default: 100,000)")
    parser.add_argument("--kind", action="append", choices=list(BODIES), help="default: both")
    asked = parser.parse_args()
    are_right = True
    for kind in asked.kind or BODIES:
        with tempfile.TemporaryDirectory(prefix="contexts-") as folder:
            url = f"sqlite:///{folder}/ledger.db"
            schema.upgrade(url)
            with Station(Path(folder) / "station", ledger=url) as station:
                began = time.monotonic()
                ended, switched = play(station, kind, asked.jobs)
        are_right &= ended == {"succeeded, attempt 1": asked.jobs}
        took = time.monotonic() - began
        print(f"{kind}: {asked.jobs:,} jobs in {took:.0f} s, {switched:,} of them among others", flush=True)
        for end, times in ended.most_common(10):
            print(f"  {times:,} {end}")
    return 0 if are_right else 1


if __name__ == "__main__":
    sys.exit(main())
