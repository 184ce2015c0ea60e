"""Finding the job that a person means by the first characters of its id."""

from __future__ import annotations

from sqlalchemy import Connection

from penstock.errors import JobNotFound
from penstock.ledger import queries
from penstock.ledger.rows import JobRow

CANDIDATES = 5


def find_job(connection: Connection, given: str) -> JobRow:
    """The job whose id is ``given``, or the only one whose id starts with it.

    Raises:
        JobNotFound: there is none, or there are several.
    """
    row = queries.find_job(connection, given)
    if row:
        return row
    ids = queries.ids_like(connection, given, CANDIDATES + 1)
    if not ids:
        raise JobNotFound(
            f"the ledger has no job {given}, and it waits on no queue that we know of: it was never enqueued here, or "
            "a worker has just claimed it, or a stock producer sent it and it still waits; `queues list` and "
            "`queues peek` show what waits"
        )
    if len(ids) > 1:
        listed = "\n".join(f"  {id}" for id in ids[:CANDIDATES]) + ("\n  …" if len(ids) > CANDIDATES else "")
        raise JobNotFound(f"{given} is the beginning of several ids; give more of it:\n{listed}")
    found = queries.find_job(connection, ids[0])
    if found is None:
        raise JobNotFound(f"the job {ids[0]} has just been deleted from the ledger")
    return found
