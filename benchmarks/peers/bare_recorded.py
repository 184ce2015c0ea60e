"""The bare loop that also writes, for each job, the row that Penstock's ledger keeps: staged by COPY, then inserted
where it is new, in one transaction per batch, before the batch is acknowledged. The table is the ledger's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from benchmarks.peers import bare

BATCH = 500
"""The fastest of 100, 200, 500 and 1,000."""
COLUMNS = (
    *("id", "task", "queue", "worker", "token", "parent_id", "root_id", "group_id", "replay_of", "schedule"),
    *("state", "reason", "retries", "deliveries", "attempts", "priority", "tags"),
    *("args", "kwargs", "result", "progress"),
    *("error_type", "error_message", "exception", "error_traceback", "error_fingerprint"),
    *("enqueued_at", "eta", "started_at", "finished_at", "updated_at"),
)
STAGE = "CREATE TEMPORARY TABLE staged (LIKE jobs) ON COMMIT DELETE ROWS"
COPY = f"COPY staged ({', '.join(COLUMNS)}) FROM STDIN"
INSERT = (
    f"INSERT INTO jobs ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM staged ORDER BY id "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)


def work() -> None:
    """One process of the loop, until it is ended."""
    with psycopg.connect(os.environ["BENCH_DATABASE_URL"]) as connection:
        connection.execute(STAGE)
        connection.commit()
        bare.work(lambda messages: record(connection, messages), BATCH)


def record(connection: psycopg.Connection[Any], messages: Sequence[bare.Message]) -> None:
    """One transaction for all of them."""
    with connection.cursor() as cursor:
        with cursor.copy(COPY) as copy:
            for row in rows(messages):
                copy.write_row(row)
        cursor.execute(INSERT)
    connection.commit()


def rows(messages: Sequence[bare.Message]) -> Iterator[Sequence[Any]]:
    """What the ledger keeps of a job that has succeeded at once."""
    worker, now = f"bare@{os.getpid()}", datetime.now(UTC)
    for headers, args, kwargs in messages:
        id = headers["id"]
        yield (
            *(id, headers["task"], bare.QUEUE, worker, f"{worker}:{id}", None, headers["root_id"], None, None, None),
            *("succeeded", None, 0, 0, 1, 0, None),
            *(json.dumps(args), json.dumps(kwargs), "null", None),
            *(None, None, None, None, None),
            *(datetime.fromtimestamp(headers["sent"], UTC), None, now, now, now),
        )


if __name__ == "__main__":
    {"produce": bare.produce, "work": work}[sys.argv[1]]()
