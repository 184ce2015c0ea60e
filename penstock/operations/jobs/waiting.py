"""A job that has no row yet: where it waits, as far as Redis knows, and what people have done to it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from penstock.app import PenstockApp
from penstock.broker.waiting import find_notes
from penstock.errors import BrokerUnavailable
from penstock.job import State
from penstock.ledger import fires, outbox, queries
from penstock.ledger.fires import FireRow
from penstock.ledger.outbox import OutboxRow
from penstock.ledger.rows import AuditRow
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, known_queues


@dataclass(frozen=True)
class Waiting:
    """A job that nobody has claimed."""

    id: str
    state: State
    queue: str | None
    since: datetime | None
    """From when on it may be claimed: since it was enqueued, or when it is due."""
    place: Place
    outbox: OutboxRow | None
    """Its message, if it was enqueued in a SQL transaction, or as part of another job's outcome."""
    audit: list[AuditRow]
    fire: FireRow | None
    """The planned time of a schedule that it is for."""


class Place(StrEnum):
    """Where its message is."""

    REDIS = "redis"
    OUTBOX = "outbox"


def find_waiting(app: PenstockApp, id: str) -> Waiting | None:
    """Where the job with this full id waits; None when neither Redis knows of it nor the outbox.

    A Redis that does not answer knows nothing; what is in the outbox is told all the same.
    """
    with reading(app.settings.database_url) as connection:
        row = outbox.find_waiting(connection, id)
        audit = queries.audit_of(connection, id)
        fire = fires.fire_of_job(connection, id)
    with suppress(BrokerUnavailable), broker_of(app) as scripts:
        (note,) = find_notes(scripts.client, scripts.keys, [(id, known_queues(app, scripts))])
        if note is not None:
            since = datetime.fromtimestamp(note.since_ms / 1000, UTC) if note.since_ms is not None else None
            return Waiting(id, note.state, note.queue, since, Place.REDIS, row, audit, fire)
    if row is None:
        return None
    return Waiting(id, row.state, row.queue, row.due or row.created_at, Place.OUTBOX, row, audit, fire)
