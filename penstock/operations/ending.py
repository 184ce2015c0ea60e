"""Ending the jobs of messages that a person deletes: every job is on the books, and so is its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from penstock.broker import envelope
from penstock.job import Reason, State
from penstock.ledger.delivery import describe_message
from penstock.ledger.recorder import Recorder
from penstock.ledger.records import Record, Step, Verdict
from penstock.ledger.rows import Outcome
from penstock.message import OUTBOX


def cancel_messages(database_url: str | None, queue: str, raws: Sequence[bytes]) -> int:
    """Records the jobs of these messages as cancelled, those that have ended left alone; how many.

    Args:
        database_url: None: there is no ledger, and nothing to record.
    """
    ends = [end for raw in raws if (end := _end(raw, queue))]
    if not ends or database_url is None:
        return 0
    return Recorder(database_url).write(ends).verdicts.count(Verdict.WON)


def _end(raw: bytes, queue: str) -> Record | None:
    """None for a message that names no job."""
    try:
        payload = envelope.read(raw)
    except envelope.Unreadable:
        return None
    headers = payload["headers"]
    job = describe_message(headers, envelope.body(payload), {"routing_key": queue})
    if job is None:
        return None
    outcome = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)
    key = headers.get(OUTBOX)
    return Record(step=Step.END, delivery=job, outcome=outcome, at=datetime.now(UTC), outbox_key=key)
