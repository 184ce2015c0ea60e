"""Ending the jobs of messages that a person deletes: every job is on the books, and so is its end."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from penstock.broker import envelope
from penstock.errors import UnserialisableResult
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.delivery import describe_message
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import encode_json, writing


def cancel_messages(database_url: str | None, queue: str, raws: Sequence[bytes]) -> int:
    """Records the jobs of these messages as cancelled, those that have ended left alone; how many.

    Args:
        database_url: None: there is no ledger, and nothing to record.
    """
    jobs = [job for raw in raws if (job := _job(raw, queue))]
    if not jobs or database_url is None:
        return 0
    with writing(database_url) as connection:
        return sum(_cancel(connection, job) for job in sorted(jobs, key=lambda job: job.id))


def _cancel(connection: Connection, job: Delivery) -> bool:
    return queries.end_attempt(connection, job, Outcome(state=State.CANCELLED, reason=Reason.REVOKED))


def _job(raw: bytes, queue: str) -> Delivery | None:
    """None for a message that names no job."""
    try:
        payload = envelope.read(raw)
    except envelope.Unreadable:
        return None
    job = describe_message(payload["headers"], envelope.body(payload), {"routing_key": queue})
    try:
        encode_json([job.args, job.kwargs] if job else None)
    except UnserialisableResult:
        return job.with_arguments_as_text() if job else None
    return job
