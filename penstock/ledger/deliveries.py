"""Statements for deliveries that came to no end: lost with their process, put aside, or made twice.

The caller brings the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, select

from penstock.job import Reason, State, may_become
from penstock.ledger.queries import end_attempt, insert_into
from penstock.ledger.rows import Delivery, Failure, Outcome, Standing, clip
from penstock.ledger.tables import attempts, jobs

RETRIED = Outcome(state=State.SCHEDULED).of_attempt
BLOCKED_FROM = [state.value for state in may_become(State.BLOCKED)]


def lose_attempt(connection: Connection, delivery: Delivery, failure: Failure) -> bool:
    """Ends the attempt that died with its process, as crashed, and puts its job back.

    Nobody who is still alive knows the attempt's number: it was in the process. The dead attempt is the newest one, if
    the job still runs and it started at this worker. No later one can exist as long as the caller holds the claim; when
    the claim was taken away before, the newest attempt is another worker's. A start that comes between the two
    statements gets the next number, which ``end_attempt`` refuses.

    Returns:
        False when the message is done with, and must not be delivered again: the job has ended, or this very message's
        attempt had sent its retry, which carries the job on.
    """
    newest = _newest_attempt(connection, clip(delivery.id))
    if newest is None:
        return True  # It died before it had started anything.
    if State(newest.state).is_final:
        return False
    is_ours = delivery.worker is not None and newest.worker == clip(delivery.worker)
    if newest.state == State.RUNNING and is_ours:
        lost = Outcome(state=State.QUEUED, reason=Reason.CRASHED, failure=failure)
        end_attempt(connection, delivery, lost, newest.number)
        return True
    return not (newest.outcome == RETRIED and newest.retries == delivery.retries)


def _newest_attempt(connection: Connection, id: str) -> Row[*tuple[Any, ...]] | None:
    """The newest attempt with its job's state; the attempt's columns are empty if there was none."""
    is_newest = and_(attempts.c.job_id == jobs.c.id, attempts.c.number == jobs.c.attempts)
    statement = select(
        jobs.c.state,
        jobs.c.retries,
        attempts.c.number,
        attempts.c.worker,
        attempts.c.outcome,
    )
    return connection.execute(statement.outerjoin_from(jobs, attempts, is_newest).where(jobs.c.id == id)).one_or_none()


def block_job(connection: Connection, delivery: Delivery, reason: Reason) -> bool:
    """Marks a job as put aside; its next start takes the mark away.

    An attempt that is open stays so: it may be one that has sent a retry, which is what is put aside here, and has not
    yet reported.

    Returns:
        False when the job had ended, and nothing was changed.
    """
    changes = {"state": State.BLOCKED.value, "reason": reason.value, "updated_at": datetime.now(UTC)}
    upsert = insert_into(connection, jobs).values(**delivery.columns(), **changes)
    upsert = upsert.on_conflict_do_update(
        index_elements=[jobs.c.id], set_=changes, where=jobs.c.state.in_(BLOCKED_FROM)
    ).returning(jobs.c.id)
    return connection.execute(upsert).one_or_none() is not None


def states_of(connection: Connection, ids: Sequence[str]) -> dict[str, Standing]:
    """How far the jobs with these ids have come, by primary key; who has no row is missing.

    A job's row carries worker and time of its newest attempt, so that one table tells it all.
    """
    columns = (jobs.c.id, jobs.c.state, jobs.c.worker, jobs.c.started_at, jobs.c.retries)
    rows = connection.execute(select(*columns).where(jobs.c.id.in_(ids)))
    return {row.id: Standing(State(row.state), row.worker, row.started_at, row.retries) for row in rows}
