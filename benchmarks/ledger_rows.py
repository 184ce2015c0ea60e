"""Makes a large ledger on PostgreSQL: jobs of a month as a busy deployment has them. The server makes them itself.

    python -m benchmarks.ledger_rows DATABASE_URL [--rows N]

fills the empty database at that address.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, make_url, text

from benchmarks.conditions import BenchmarkError
from penstock.ledger import schema
from penstock.ledger.tables import jobs

ROWS, SLICE = 10_000_000, 250_000
BYTES_PER_ROW = 1_100
"""Of table, indexes and the log that filling them takes; measured."""
TASKS, QUEUES = 60, ("default", "mail", "web", "reports", "imports", "slow")
RARE_TASK, RARE_SCHEDULE = "shop.year.close", "year-end"
"""Of some sixty jobs among all: the filter for which a list must not read everything else."""
SOUND_TASK = "shop.module_7.task_7"
"""Of many jobs, none of which fails."""
BUSY_TASK = "shop.module_0.task_0"

_INSERT = f"""
INSERT INTO jobs (id, task, queue, priority, state, reason, args, kwargs, result, error_type, error_message, exception,
    error_traceback, error_fingerprint, retries, deliveries, token, attempts, worker, enqueued_at, started_at,
    finished_at, updated_at, parent_id, root_id, schedule)
SELECT id,
    CASE WHEN n % (:rows / 60) = 0 THEN '{RARE_TASK}' ELSE 'shop.module_' || task % 10 || '.task_' || task END,
    (ARRAY{list(QUEUES)!r})[1 + task % {len(QUEUES)}],
    0,
    state,
    CASE state WHEN 'failed' THEN 'error' WHEN 'cancelled' THEN 'expired' WHEN 'blocked' THEN 'unknown task' END,
    json_build_array(n, 'customer-' || n % 100000),
    json_build_object('template', 'default', 'attempt', n % 7),
    CASE state WHEN 'succeeded' THEN json_build_object('sent', true, 'bytes', n % 4096) END,
    CASE WHEN has_error THEN (ARRAY['ValueError','requests.exceptions.ReadTimeout','KeyError'])[1 + error % 3] END,
    CASE WHEN has_error THEN 'customer ' || n % 100000 || ' of shop ' || n % 500 || ': '
        || (ARRAY['read timed out after 30 s','no such key','not a number'])[1 + error % 3] END,
    CASE WHEN has_error THEN json_build_object('exc_type', 'ValueError', 'exc_message', json_build_array(n)) END,
    CASE WHEN has_error THEN repeat('  File "shop/module.py", line ' || error || ', in call' || chr(10), 25) END,
    CASE WHEN has_error THEN left(md5(task || '-' || error), 12) END,
    CASE WHEN chance < 0.02 THEN 2 ELSE 0 END,
    0,
    'web-' || n % 40 || '@host/1f0c9a2e:' || n,
    CASE WHEN state IN ('queued', 'scheduled', 'blocked') THEN 0 WHEN chance < 0.02 THEN 3 ELSE 1 END,
    'web@host-' || n % 40,
    at - interval '3 seconds', at - interval '200 milliseconds',
    CASE WHEN state IN ('succeeded', 'failed', 'cancelled') THEN at END,
    at,
    CASE WHEN n % 20 = 0 THEN parent END, CASE WHEN n % 20 = 0 THEN parent END,
    CASE WHEN n % (:rows / 60) = 0 THEN '{RARE_SCHEDULE}' WHEN n % 10 = 0 THEN 'each-minute-' || task % 20 END
FROM (
    SELECT n, md5('job' || n)::uuid::text AS id, md5('job' || n - n % 1000)::uuid::text AS parent, at, chance, task,
        -- A few errors are nearly all of them, and the last of them are rare.
        floor(12 * random() * random() * random())::int AS error,
        CASE WHEN :rows - n < 12000 THEN
                 (ARRAY['scheduled','scheduled','scheduled','scheduled','queued','blocked','running'])[1 + n % 7]
             WHEN chance > 0.98 AND task % 10 <> 7 THEN 'failed'
             WHEN chance > 0.975 THEN 'cancelled'
             ELSE 'succeeded' END AS state
    FROM (
        SELECT n, random() AS chance, floor({TASKS} * random() * random() * random())::int AS task,
            now() - interval '30 days' * ((:rows - n)::float / :rows) - interval '2 seconds' * random() AS at
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
    ) AS drawn
) AS state_of, LATERAL (SELECT state_of.state IN ('failed', 'scheduled') AS has_error) AS row
"""  # noqa: S608
_ATTEMPTS = """
INSERT INTO attempts (job_id, number, retries, deliveries, token, worker, started_at, finished_at, outcome, error_type,
    error_message)
SELECT id, number, number - 1, 0, token, worker, started_at - (3 - number) * interval '1 minute',
    started_at - (3 - number) * interval '1 minute' + interval '1 second',
    CASE WHEN number < 3 THEN 'retried' ELSE state END, 'ConnectionError', 'connection refused'
FROM jobs, generate_series(1, 3) AS number WHERE attempts = 3
"""
_HOURS = """
INSERT INTO failure_hours (fingerprint, task, hour, shard, count, first_at, last_at, job_id)
SELECT error_fingerprint, task, date_trunc('hour', finished_at), shard, count(*), min(finished_at), max(finished_at),
    (array_agg(id ORDER BY finished_at DESC))[1]
FROM (SELECT error_fingerprint, task, finished_at, id, (random() * 3)::int AS shard FROM jobs WHERE state = 'failed') f
GROUP BY 1, 2, 3, 4
"""


@contextmanager
def database_at(server: str, name: str, keep: bool) -> Iterator[str]:
    """The address of a database of this name on the server: made when it is not there, and dropped at the end."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        there = connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}).scalar()
        if not there:
            connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        if not keep:
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def fill(url: str, rows: int, tell: Callable[[str], None]) -> None:
    """Makes the tables and their rows, unless they are there already.

    Raises:
        BenchmarkError: there is not enough room, as far as this host can tell, or there are other rows.
    """
    schema.upgrade(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        # Every index is made after the rows: filling them row by row takes five times as long.
        here = connection.execute(text("SELECT count(*) FROM (SELECT 1 FROM jobs LIMIT 1) AS first")).scalar_one()
    if here:
        tell("the rows are there")
        return
    need_room(rows)
    with engine.begin() as connection:
        for index in jobs.indexes:
            index.drop(connection)
    begun = time.monotonic()
    for first in range(1, rows + 1, SLICE):
        last = min(first + SLICE - 1, rows)
        with engine.begin() as connection:
            connection.execute(text(_INSERT), {"first": first, "last": last, "rows": rows})
        tell(f"{last:,} of {rows:,} rows, {time.monotonic() - begun:.0f} s")
    with engine.begin() as connection:
        _finish(connection, tell)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    tell(f"ready after {time.monotonic() - begun:.0f} s")
    engine.dispose()


def _finish(connection: Connection, tell: Callable[[str], None]) -> None:
    connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
    for index in sorted(jobs.indexes, key=lambda index: str(index.name)):
        index.create(connection)
        tell(f"index {index.name}")
    connection.execute(text(_ATTEMPTS))
    connection.execute(text(_HOURS))


def need_room(rows: int) -> None:
    """Raises BenchmarkError when this host's disk has less than the rows take; the server's may be another."""
    free = shutil.disk_usage("/").free
    if free < rows * BYTES_PER_ROW * 1.5:
        raise BenchmarkError(
            f"{rows:,} rows take about {rows * BYTES_PER_ROW / 1e9:.0f} GB and {free / 1e9:.0f} GB are free; "
            "give fewer by --rows"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rows", type=int, default=ROWS)
    asked = parser.parse_args()
    fill(asked.url, asked.rows, lambda said: print(said, file=sys.stderr, flush=True))
