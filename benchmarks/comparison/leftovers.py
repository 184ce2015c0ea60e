"""What a run of Penstock must have left behind, or its figure is none."""

from __future__ import annotations

from collections.abc import Iterator

import redis
from sqlalchemy import Connection, Engine, text

from benchmarks.conditions import BenchmarkError

STEPS = ("", "\x06\x163", "\x06\x166", "\x06\x169")
READY = tuple(f"celery{step}" for step in STEPS)
HELD = ("penstock:inflight:*", "penstock:parked:*", "penstock:unknown*", "penstock:dead*", "penstock:spool")
"""Keys that are there only as long as something is in flight, put aside, or not in the ledger yet."""
_ROWS = """
SELECT count(*) AS jobs,
    coalesce(sum(CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END), 0) AS succeeded,
    coalesce(sum(CASE WHEN attempts = 1 AND retries = 0 AND deliveries = 0 THEN 1 ELSE 0 END), 0) AS first,
    (SELECT count(*) FROM attempts) AS attempts,
    (SELECT count(*) FROM outbox WHERE published_at IS NULL) AS unpublished
FROM jobs
"""


def check(client: redis.Redis, engine: Engine | None, jobs: int) -> str:
    """In a sentence what is there: each job recorded once, nothing waiting, nothing held.

    Args:
        engine: of the ledger; None: nothing is kept, and Redis alone is looked at.
        jobs: so many were submitted, and nothing else ever.

    Raises:
        BenchmarkError: with everything that is wrong.
    """
    wrong = list(_in_redis(client))
    if engine is not None:
        with engine.connect() as connection:
            wrong += _in_ledger(connection, jobs)
    if wrong:
        raise BenchmarkError(f"this run counts for nothing: {'; '.join(wrong)}")
    ledger = f"{jobs:,} rows, all first attempts, succeeded; nothing unpublished; " if engine is not None else ""
    return f"{ledger}Redis: nothing ready, in flight or parked"


def _in_redis(client: redis.Redis) -> Iterator[str]:
    for key in READY:
        if waiting := client.llen(key):
            yield f"{waiting} messages are ready in {key!r}"
    for pattern in HELD:
        for key in client.scan_iter(pattern, count=1000):
            yield f"{key.decode(errors='replace')} is not empty"


def _in_ledger(connection: Connection, jobs: int) -> Iterator[str]:
    row = connection.execute(text(_ROWS)).one()
    if row.jobs != jobs:
        yield f"the ledger holds {row.jobs} rows of {jobs} jobs"
    if row.succeeded != row.jobs:
        yield f"{row.jobs - row.succeeded} jobs have not succeeded"
    if row.first != row.jobs or row.attempts:
        yield f"{max(row.jobs - row.first, row.attempts)} jobs took more than a first attempt"
    if row.unpublished:
        yield f"{row.unpublished} rows of the outbox are not published"
