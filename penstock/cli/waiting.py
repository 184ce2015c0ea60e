"""A job that has no row yet: where it waits, as far as Redis knows, and what people have done to it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.text import Text

from penstock.app import PenstockApp
from penstock.broker.waiting import waiting_state
from penstock.cli.output import COLOURS, print_json
from penstock.cli.portrait import planned_text, print_audit
from penstock.errors import BrokerUnavailable
from penstock.job import State
from penstock.ledger import fires, outbox, queries
from penstock.ledger.fires import FireRow
from penstock.ledger.outbox import OutboxRow
from penstock.ledger.rows import AuditRow
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, known_queues
from penstock.operations.wording import distance, one_line


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
        for queue in known_queues(app, scripts):
            state = waiting_state(scripts.client, scripts.keys, id, queue)
            if state is not None:
                score = scripts.client.zscore(scripts.keys.waiting(queue), id)
                since = datetime.fromtimestamp(score / 1000, UTC) if score is not None else None
                return Waiting(id, state, queue if score is not None else None, since, Place.REDIS, row, audit, fire)
    if row is None:
        return None
    return Waiting(id, row.state, row.queue, row.due or row.created_at, Place.OUTBOX, row, audit, fire)


def print_waiting(console: Console, waiting: Waiting, as_json: bool) -> None:
    """In the form of `jobs show`."""
    if as_json:
        print_json(_as_json(waiting))
        return
    now = datetime.now(UTC)
    console.print(Text(one_line(waiting.id), style="bold"), soft_wrap=True)
    facts = Text(waiting.state.value, style=COLOURS[waiting.state])
    if waiting.queue:
        facts.append(f", queue {one_line(waiting.queue)}", style="default")
    if waiting.since:
        word = "due" if waiting.state is State.SCHEDULED else "enqueued"
        facts.append(f", {word} {distance(waiting.since, now)}", style="default")
    if waiting.fire:
        facts.append(f", {one_line(planned_text(waiting.fire))}", style="default")
    facts.append(f"; {_why(waiting)}", style="default")
    console.print(facts, soft_wrap=True)
    print_audit(console, waiting.audit, UTC)


def _why(waiting: Waiting) -> str:
    if waiting.place is Place.REDIS or waiting.outbox is None:
        return "no worker has claimed it yet"
    if waiting.outbox.published_at is None:
        return "it is in the outbox, and Redis has not been told of it yet; a running worker tells it"
    return "it was published from the outbox, and a worker has just claimed it, or Redis has lost it and is told again"


def _as_json(waiting: Waiting) -> dict[str, Any]:
    """With the keys of a job that has a row, as far as they make sense."""
    names = ("id", "state", "queue", "since", "place")
    return {
        "job": {name: getattr(waiting, name) for name in names},
        "attempts": [],
        "timeline": [],
        "phases": [],
        "parent": None,
        "children": [],
        "replays": [],
        "chord": None,
        "outbox": asdict(waiting.outbox) if waiting.outbox else None,
        "failures": [],
        "audit": [asdict(entry) for entry in waiting.audit],
        "fire": asdict(waiting.fire) if waiting.fire else None,
    }
