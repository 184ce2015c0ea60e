"""What the verbs of `queues` ask and print."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click
from celery import Celery
from rich.console import Console

from penstock.actor import actor
from penstock.broker.queues import QueueStatus
from penstock.cli.output import print_json
from penstock.cli.queue_table import print_peeked
from penstock.operations import queues
from penstock.operations.payload import payload_as_json
from penstock.operations.queues import Purged, in_parts
from penstock.wording import counted, distance, one_line


def pause(app: Celery, name: str, why: str, as_json: bool) -> None:
    """Closes a queue."""
    done = queues.pause(app, name, why, actor=actor())
    before, status = done.before, done.status
    if as_json:
        print_json({"queue": name, "paused": True, "was_paused": before is not None})
        return
    again = f" (it was already, {distance(before.at, datetime.now(UTC))} by {before.by})" if before else ""
    running = f"; {status.in_flight:,} in flight run to their end" if status.in_flight else ""
    click.echo(f"{name} is paused{one_line(again)}{running}; `queues resume {name}` opens it")


def resume(app: Celery, name: str, as_json: bool) -> None:
    """Opens a queue."""
    done = queues.resume(app, name, actor=actor())
    if as_json:
        print_json({"queue": name, "paused": False, "was_paused": done.was_paused})
    elif done.was_paused:
        click.echo(f"{name} is open again; {done.status.ready:,} wait")
    else:
        click.echo(f"{name} was open; nothing to do")


def purge(app: Celery, name: str, yes: bool, as_json: bool) -> None:
    """Deletes what waits in a queue, after asking; what is gone is told also when it ends half way."""
    status = queues.plan_purge(app, name)
    if not yes:
        click.confirm(_question(status), abort=True, err=True)
    gone = Purged(name)
    try:
        with closing(queues.purge(app, name, actor=actor())) as slices:
            for gone in slices:  # noqa: B007 - what is gone so far is told below
                pass
    finally:
        if as_json:
            print_json({"queue": name, **gone.counts, "cancelled": gone.cancelled})
        else:
            messages = f"{counted(sum(gone.counts.values()), 'message')} of {name} deleted: {in_parts(gone.counts)}"
            click.echo(f"{messages}; {counted(gone.cancelled, 'job')} recorded as cancelled")


def _question(status: QueueStatus) -> str:
    counts = {"ready": status.ready, "parked": status.parked, "blocked": status.blocked}
    stays = f"; {status.in_flight:,} in flight stay" if status.in_flight else ""
    total = counted(sum(counts.values()), "message")
    return f"{total} of {status.queue} will be deleted ({in_parts(counts)}){stays}. Delete them?"


def peek(app: Celery, console: Console, name: str, limit: int, as_json: bool) -> None:
    """Shows the messages that are next."""
    found = queues.peek(app, name, limit)
    if not as_json:
        print_peeked(console, found)
        return
    rows: list[dict[str, Any]] = [
        {"step": step, "job": payload.job or None, "task": payload.task or None, **payload_as_json(payload)}
        for step, payload in found.messages
    ]
    print_json(rows)
