"""How many jobs have come to each end, one side of the balance sheet."""

from __future__ import annotations

import os
import socket
import zlib
from collections import Counter

from sqlalchemy import Connection

from penstock.job import State
from penstock.ledger.queries import insert_into
from penstock.ledger.tables import tallies

SHARDS = 16
Ends = Counter[tuple[str, State]]


def add_tallies(connection: Connection, ends: Ends) -> None:
    """Adds the ends, by queue and state. Last in its transaction, because rows of sums are what others wait for, and in
    the order of the key, so that none of two waits for ever.
    """
    shard = _shard()
    rows = [
        {"queue": queue, "state": state.value, "shard": shard, "count": count}
        for (queue, state), count in sorted(ends.items())
    ]
    if rows:
        statement = insert_into(connection, tallies)
        statement = statement.on_conflict_do_update(
            index_elements=list(tallies.primary_key), set_={"count": tallies.c.count + statement.excluded.count}
        )
        connection.execute(statement, rows)


def _shard() -> int:
    """Of this process."""
    return zlib.crc32(f"{socket.gethostname()}:{os.getpid()}".encode()) % SHARDS
