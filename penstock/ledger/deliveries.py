"""How far jobs have come, for claims that may be repeated deliveries. The caller brings the transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from penstock.job import State
from penstock.ledger.rows import Standing
from penstock.ledger.tables import jobs


def states_of(connection: Connection, ids: Sequence[str]) -> dict[str, Standing]:
    """How far the jobs with these ids have come, by primary key; who has no row is missing.

    A job's row carries worker and time of its newest attempt, so that one table tells it all.
    """
    columns = (jobs.c.id, jobs.c.state, jobs.c.worker, jobs.c.started_at, jobs.c.retries)
    rows = connection.execute(select(*columns).where(jobs.c.id.in_(ids)))
    return {row.id: Standing(State(row.state), row.worker, row.started_at, row.retries) for row in rows}
