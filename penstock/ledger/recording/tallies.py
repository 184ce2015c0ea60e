"""How many jobs have come to each end, one side of the balance sheet."""

from __future__ import annotations

import os
import socket
import zlib
from collections import Counter
from typing import NamedTuple

from sqlalchemy import Connection

from penstock.ledger.queries import insert_into
from penstock.ledger.recording.columns import fit, knows_better
from penstock.ledger.recording.fence import Found, Judgement, target
from penstock.ledger.recording.plain import SUCCEEDED
from penstock.ledger.records import Record, Verdict
from penstock.ledger.tables import tallies

SHARDS = 16
OF_STOCK = "stock "
"""Before the state of jobs that stock producers have sent, which nobody has counted when they were accepted."""


class End(NamedTuple):
    """What one end adds to."""

    queue: str
    state: str


Ends = Counter[End]


def end_of(record: Record, judgement: Judgement, found: Found | None) -> End | None:
    """What the record adds to the tallies, if anything.

    A job counts on the queue on which it was accepted. One that was cancelled before anybody had seen its message has a
    row that knows no queue, and counts when the message is seen: until then that still waits, and counts as waiting.
    """
    if judgement.verdict is Verdict.WON and target(record).is_final and not judgement.is_repeated:
        state = target(record)
    elif judgement.verdict is Verdict.ENDED and found and found.queue is None and knows_better(found, record.delivery):
        state = found.state
    else:
        return None
    queue = fit((found.queue if found else None) or record.delivery.queue)
    if queue is None:
        return None
    is_accepted = ((found.enqueued_at if found else None) or record.delivery.enqueued_at) is not None
    return End(queue, state.value if is_accepted else f"{OF_STOCK}{state.value}")


def end_of_plain(queue: str, *, is_accepted: bool) -> End:
    """The same of a plain success whose row is new."""
    return End(fit(queue), SUCCEEDED if is_accepted else f"{OF_STOCK}{SUCCEEDED}")


def add_tallies(connection: Connection, ends: Ends) -> None:
    """Adds the ends, by queue and state. Last in its transaction, because rows of sums are what others wait for, and in
    the order of the key, so that none of two waits for ever.
    """
    own = shard(SHARDS)
    rows = [{**end._asdict(), "shard": own, "count": count} for end, count in sorted(ends.items())]
    if rows:
        statement = insert_into(connection, tallies)
        statement = statement.on_conflict_do_update(
            index_elements=list(tallies.primary_key), set_={"count": tallies.c.count + statement.excluded.count}
        )
        connection.execute(statement, rows)


def shard(shards: int) -> int:
    """This process's, of so many."""
    return zlib.crc32(f"{socket.gethostname()}:{os.getpid()}".encode()) % shards
