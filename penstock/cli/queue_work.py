"""What the verbs of `queues` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
from celery import Celery
from rich.console import Console

from penstock.broker import queues
from penstock.broker.queues import QueueStatus
from penstock.broker.scripts import Scripts
from penstock.broker.unacked import unacked_size
from penstock.cli.command import actor
from penstock.cli.ending import cancel_messages
from penstock.cli.output import print_json
from penstock.cli.queue_table import print_peeked
from penstock.ledger import queries
from penstock.ledger.backend import ledger_url
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, known_queues, note, options_of, require_known
from penstock.operations.payload import decode, payload_as_json
from penstock.operations.wording import counted, distance, one_line


@dataclass(frozen=True)
class Look:
    """Queues at one moment."""

    queues: list[QueueStatus]
    held_by_stock: int
    """Messages that stock workers have taken; of which queue, only they know."""


def look(app: Celery, names: Sequence[str]) -> Look:
    """The queues that are named, or all."""
    with broker_of(app) as scripts:
        return look_again(app, scripts, names)


def look_again(app: Celery, scripts: Scripts, names: Sequence[str]) -> Look:
    """:func:`look` over a client that there is already."""
    known = known_queues(app, scripts)
    require_known(names, known)
    chosen = list(dict.fromkeys(names)) or known
    return Look(queues.status(scripts, chosen), unacked_size(scripts, options_of(app)))


def pause(app: Celery, name: str, why: str, as_json: bool) -> None:
    """Closes a queue. Redis first, the audit then: a ledger that is away is a reason to pause, not to fail."""
    with broker_of(app) as scripts:
        require_known([name], known_queues(app, scripts))
        before = queues.pause(scripts, name, actor(), why)
        (status,) = queues.status(scripts, [name])
    if as_json:
        print_json({"queue": name, "paused": True, "was_paused": before is not None})
    else:
        again = f" (it was already, {distance(before.at, datetime.now(UTC))} by {before.by})" if before else ""
        running = f"; {status.in_flight:,} in flight run to their end" if status.in_flight else ""
        click.echo(f"{name} is paused{one_line(again)}{running}; `queues resume {name}` opens it")
    note(app, actor(), "pause", {"queue": name, "note": why}, f"{name} is paused")


def resume(app: Celery, name: str, as_json: bool) -> None:
    """Opens a queue."""
    with broker_of(app) as scripts:
        require_known([name], known_queues(app, scripts))
        opened = queues.resume(scripts, name)
        (status,) = queues.status(scripts, [name])
    if as_json:
        print_json({"queue": name, "paused": False, "was_paused": opened})
    else:
        click.echo(f"{name} is open again; {status.ready:,} wait" if opened else f"{name} was open; nothing to do")
    if opened:
        note(app, actor(), "resume", {"queue": name}, f"{name} is open again")


def purge(app: Celery, name: str, yes: bool, as_json: bool) -> None:
    """Deletes what waits in a queue, after asking.

    The jobs are recorded slice by slice, right after their messages are gone: in the other order a worker could run
    a job that is on the books as cancelled. Killed in between, this leaves one slice of jobs without an end.
    """
    with broker_of(app) as scripts:
        require_known([name], known_queues(app, scripts))
        (status,) = queues.status(scripts, [name])
        _require_ledger(app)
        if not yes:
            click.confirm(_question(status), abort=True, err=True)
        gone = {"ready": 0, "parked": 0, "blocked": 0}
        cancelled = 0
        try:
            for place, raws in queues.purge(scripts, name):
                gone[place] += len(raws)
                cancelled += _end(app, scripts, name, raws)
        finally:
            done = f"{counted(sum(gone.values()), 'message')} of {name} deleted: {_parts(gone)}"
            if as_json:
                print_json({"queue": name, **gone, "cancelled": cancelled})
            else:
                click.echo(f"{done}; {counted(cancelled, 'job')} recorded as cancelled")
            note(app, actor(), "purge", {"queue": name, **gone, "cancelled": cancelled}, done)


def _end(app: Celery, scripts: Scripts, name: str, raws: list[bytes]) -> int:
    """Records the jobs of deleted messages as cancelled; how many. Jobs without an end count as purged."""
    url = ledger_url(app)
    recorded = False
    try:
        cancelled = cancel_messages(url, name, raws)
        recorded = url is not None
    finally:
        if not recorded and (accepted := queues.accepted_among(raws)):
            scripts.tally("purged", name, accepted)
    return cancelled


def _require_ledger(app: Celery) -> None:
    """Before anything is deleted: what cannot be recorded is not done."""
    if url := ledger_url(app):
        with reading(url) as connection:
            queries.ping(connection)


def _question(status: QueueStatus) -> str:
    counts = {"ready": status.ready, "parked": status.parked, "blocked": status.blocked}
    stays = f"; {status.in_flight:,} in flight stay" if status.in_flight else ""
    total = counted(sum(counts.values()), "message")
    return f"{total} of {status.queue} will be deleted ({_parts(counts)}){stays}. Delete them?"


def _parts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {place}" for place, count in counts.items())


def peek(app: Celery, console: Console, name: str, limit: int, as_json: bool) -> None:
    """Shows the messages that are next."""
    with broker_of(app) as scripts:
        require_known([name], known_queues(app, scripts))
        found = [(message.step, decode(message.raw)) for message in queues.peek(scripts, name, limit)]
        (status,) = queues.status(scripts, [name])
    if as_json:
        rows: list[dict[str, Any]] = [
            {"step": step, "job": payload.job or None, "task": payload.task or None, **payload_as_json(payload)}
            for step, payload in found
        ]
        print_json(rows)
    else:
        print_peeked(console, found, status.ready)
