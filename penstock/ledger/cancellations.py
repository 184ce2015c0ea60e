"""Requests to cancel jobs: what the audit keeps of them, and the end of jobs that wait, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from penstock.job import Reason, State
from penstock.ledger.queries import add_audit
from penstock.ledger.recording import record
from penstock.ledger.records import Record, Step, Verdict
from penstock.ledger.rows import Delivery, JobRow, Outcome, clip
from penstock.ledger.tables import audit, outbox

CANCEL = "cancel"
"""The audit's word."""
ASKS_FIRST = (State.QUEUED, State.SCHEDULED)
"""States of a row from which no attempt begins without asking the ledger: the job was claimed before, or goes on."""


def note(connection: Connection, ids: Iterable[str], *, actor: str, grace: float | None, reason: str | None) -> None:
    """Notes who wants these jobs cancelled, and why; what the last request for a job says already is not repeated."""
    details = {"grace": grace} | ({"reason": reason} if reason else {})
    ids = list(ids)
    last = _last(connection, ids)
    for id in ids:
        if last.get(id) != (clip(actor), details):
            add_audit(connection, actor=actor, action=CANCEL, job_id=clip(id), details=details)


def requested(connection: Connection, ids: Sequence[str]) -> dict[str, float | None]:
    """The grace of those of these jobs, some hundred at most, that somebody wants cancelled."""
    return {id: _grace(details) for id, (_, details) in _last(connection, ids).items()}


def _last(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Actor and details of the last request for each; by the index on the job."""
    columns = select(audit.c.job_id, audit.c.actor, audit.c.details)
    known = {clip(id): id for id in ids}
    rows = columns.where(audit.c.job_id.in_(known), audit.c.action == CANCEL).order_by(audit.c.at, audit.c.id)
    return {known[row.job_id]: (row.actor, row.details) for row in connection.execute(rows)}


def _grace(details: Any) -> float | None:
    """Of a request; one that says nothing, as older versions wrote, let the body run on."""
    grace = details.get("grace") if isinstance(details, Mapping) else None
    return float(grace) if isinstance(grace, (int, float)) else None


def in_outbox(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Those of these jobs that have a message in the outbox, and their tasks."""
    rows = select(outbox.c.job_id, outbox.c.task).where(outbox.c.job_id.in_([clip(id) for id in ids]))
    return {row.job_id: row.task for row in connection.execute(rows)}


def end_asking(connection: Connection, ids: Sequence[str], rows: Mapping[str, JobRow]) -> set[str]:
    """Ends those jobs that start only when the ledger agrees, and that wait: they never will. Which they are.

    An attempt of such a job takes its start row first. Either that is there, and the job is left to run; or the end is,
    and the attempt is refused. Its message is dropped by whoever has it.
    """
    sent = in_outbox(connection, ids)
    tasks = {id: row.task for id in ids if (row := rows.get(id)) is not None and row.state in ASKS_FIRST}
    tasks |= {id: sent[id] for id in ids if id not in rows and id in sent}
    ends = [end_of_waiting(Delivery(id=id, task=task)) for id, task in tasks.items()]
    verdicts = record(connection, ends).verdicts
    return {end.delivery.id for end, verdict in zip(ends, verdicts, strict=True) if verdict is Verdict.WON}


def end_of_waiting(delivery: Delivery, **of_message: Any) -> Record:
    """The end of a cancelled job that waits.

    Args:
        delivery: what is known of it. Without a queue, it is counted when its message is dropped.
        of_message: what a message that is dropped now says besides.
    """
    return Record(
        step=Step.END,
        delivery=delivery,
        outcome=Outcome(state=State.CANCELLED, reason=Reason.REVOKED),
        at=datetime.now(UTC),
        only_if_waiting=True,
        **of_message,
    )
