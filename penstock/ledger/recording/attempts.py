"""The history of jobs: a row for each attempt that ended and left its job to another, and for the one that ended it.

The only attempt of a job has no row: the job's own says all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from penstock.job import Reason, State
from penstock.ledger.queries import insert_into
from penstock.ledger.recording.among import among
from penstock.ledger.recording.columns import fit
from penstock.ledger.recording.fence import (
    Found,
    is_new_attempt,
    is_own_attempt,
    is_waiting_again,
    outcome_of_attempt,
    pair_of,
)
from penstock.ledger.records import Record, Step
from penstock.ledger.tables import attempts, plain

KEPT_SNOOZES = 100
"""A job may snooze for months: of its attempts that ended so, the newest are kept."""
LOST = "lost"
"""Outcome of an attempt whose claim another one has now, and which nobody has heard of since."""
Tokens = dict[tuple[str, str], set[str]]


def history(found: Found | None, record: Record) -> Iterable[dict[str, Any]]:
    """The rows of the attempts that a record which has won ends: the one that it displaces, and its own."""
    if found is not None and found.state is State.RUNNING and not is_own_attempt(found, record):
        yield _lost(found, record)
    number = (found.attempts if found else 0) + is_new_attempt(found, record)
    if _ends_an_attempt(found, record) and (is_waiting_again(record) or record.step is Step.ASIDE or number > 1):
        yield _ended(found, record, number)


def _ends_an_attempt(found: Found | None, record: Record) -> bool:
    if record.step not in (Step.END, Step.ASIDE):
        return False
    return is_new_attempt(found, record) or (found is not None and is_own_attempt(found, record))


def _lost(found: Found, record: Record) -> dict[str, Any]:
    return {
        "job_id": found.id,
        "number": found.attempts,
        "retries": found.retries,
        "deliveries": found.deliveries,
        "token": found.token,
        "worker": found.worker,
        "started_at": found.started_at,
        "finished_at": record.at,
        "outcome": LOST,
        "error_type": None,
        "error_message": None,
    }


def _ended(found: Found | None, record: Record, number: int) -> dict[str, Any]:
    failure = record.outcome.failure if record.outcome else None
    retries, deliveries = pair_of(record)
    return {
        "job_id": fit(record.delivery.id),
        "number": number,
        "retries": retries,
        "deliveries": deliveries,
        "token": fit(record.delivery.token),
        "worker": fit(record.delivery.worker) or (found.worker if found else None),
        "started_at": record.started_at or (found.started_at if found else None),
        "finished_at": record.at,
        "outcome": outcome_of_attempt(record),
        "error_type": fit(failure.type) if failure else None,
        "error_message": plain(failure.message) if failure else None,
    }


def insert_attempts(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Writes history. A row that a version before has opened is closed."""
    if rows:
        statement = insert_into(connection, attempts)
        ended = {name: statement.excluded[name] for name in ("finished_at", "outcome", "error_type", "error_message")}
        key = [attempts.c.job_id, attempts.c.number]
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=ended), rows)
        _forget_snoozes(connection, rows)


def _forget_snoozes(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Each snooze takes the place of the one so many attempts before it; by the primary key."""
    old = [
        {"of": row["job_id"], "nth": row["number"] - KEPT_SNOOZES}
        for row in rows
        if row["outcome"] == Reason.SNOOZED and row["number"] > KEPT_SNOOZES
    ]
    if old:
        those = attempts.c.job_id == bindparam("of"), attempts.c.number == bindparam("nth")
        connection.execute(delete(attempts).where(*those, attempts.c.outcome == Reason.SNOOZED.value), old)


def ended_tokens(connection: Connection, ids: Sequence[str]) -> Tokens:
    """How the attempts of these jobs ended, by job and token; by the primary key."""
    known: Tokens = defaultdict(set)
    if ids:
        columns = (attempts.c.job_id, attempts.c.token, attempts.c.outcome)
        statement = select(*columns).where(among(connection, attempts.c.job_id, ids), attempts.c.token.is_not(None))
        for row in connection.execute(statement.where(attempts.c.outcome.is_not(None))):
            known[row.job_id, row.token].add(row.outcome)
    return known
