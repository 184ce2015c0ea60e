"""A job that has no row yet: where it waits, as far as Redis knows, and what people have done to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from penstock.app import PenstockApp
from penstock.broker.waiting import waiting_state
from penstock.cli.broker import broker_of, known_queues
from penstock.cli.output import COLOURS, print_json
from penstock.cli.portrait import print_audit
from penstock.cli.wording import distance, one_line
from penstock.errors import BrokerUnavailable
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import AuditRow
from penstock.ledger.session import reading


@dataclass(frozen=True)
class Waiting:
    """A job that nobody has claimed."""

    id: str
    state: State
    queue: str | None
    since: datetime | None
    """From when on it may be claimed: since it was enqueued, or when it is due."""
    audit: list[AuditRow]


def find_waiting(app: PenstockApp, id: str) -> Waiting | None:
    """Where the job with this full id waits; None when Redis does not know of it, or does not answer."""
    try:
        with broker_of(app) as scripts:
            for queue in known_queues(app, scripts):
                state = waiting_state(scripts.client, scripts.keys, id, queue)
                if state is not None:
                    score = scripts.client.zscore(scripts.keys.waiting(queue), id)
                    break
            else:
                return None
    except BrokerUnavailable:
        return None
    with reading(app.settings.database_url) as connection:
        audit = queries.audit_of(connection, id)
    since = datetime.fromtimestamp(score / 1000, UTC) if score is not None else None
    return Waiting(id, state, queue if score is not None else None, since, audit)


def print_waiting(console: Console, waiting: Waiting, as_json: bool) -> None:
    """In the form of `jobs show`."""
    if as_json:
        job = {"id": waiting.id, "state": waiting.state, "queue": waiting.queue, "since": waiting.since}
        audit = [asdict(entry) for entry in waiting.audit]
        print_json({"job": job, "attempts": [], "parent": None, "children": [], "audit": audit})
        return
    console.print(Text(one_line(waiting.id), style="bold"), soft_wrap=True)
    facts = Text(waiting.state.value, style=COLOURS[waiting.state])
    if waiting.queue:
        facts.append(f", queue {one_line(waiting.queue)}", style="default")
    if waiting.since:
        word = "due" if waiting.state is State.SCHEDULED else "enqueued"
        facts.append(f", {word} {distance(waiting.since, datetime.now(UTC))}", style="default")
    facts.append("; no worker has claimed it yet", style="default")
    console.print(facts, soft_wrap=True)
    print_audit(console, waiting.audit, UTC)
