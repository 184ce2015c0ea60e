"""What `release` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from celery import Celery

from penstock.actor import actor
from penstock.broker.release import Released, live_workers, release_all
from penstock.broker.scripts import Scripts
from penstock.broker.unacked import adopt_unacked, unacked_size
from penstock.cli.output import print_json
from penstock.engine.keeping.relay import publish_for_good
from penstock.errors import PenstockError
from penstock.ledger.backend import ledger_url
from penstock.operations.broker import broker_of, lease_seconds, note, options_of, served_queues
from penstock.operations.failures.entries import bring_to_ledger
from penstock.wording import counted, one_line

LOOK_SECONDS = 0.5
REPLY_SECONDS = 2.0
"""How long stock workers have to answer."""


class WorkersRunning(PenstockError):
    """Workers are running whose jobs would be taken away; end them and repeat."""


def go_back(app: Celery, *, unacked: bool, wait: float, force: bool, as_json: bool) -> None:
    """Releases everything and prints what went back.

    Raises:
        WorkersRunning: workers that must not run do; nothing was changed.
    """
    with broker_of(app) as scripts:
        running = _await_end(scripts, lease_seconds(app), wait)
        if running and not force:
            raise WorkersRunning(_refusal(running))
        if unacked and not force:
            _require_no_stock_worker(app, running)
        released = release_all(scripts, served_queues(app))
        back = adopt_unacked(scripts, options_of(app), at_once=unacked)
        held_by_stock = unacked_size(scripts, options_of(app))
        dead = _bury(app, scripts)
        published = _empty_outbox(app, scripts)
    counts = {
        **asdict(released),
        "outbox": published,
        "unacked": back,
        "held_by_stock_workers": held_by_stock,
        "dead_letters_in_redis": dead,
    }
    if as_json:
        print_json({**counts, "still_running": running})
    else:
        for line in _lines(released, back, published, held_by_stock, dead, running):
            click.echo(line)
    note(app, actor(), "release", {**counts, "taken from": running}, "everything is released")


def _await_end(scripts: Scripts, lease: float, wait: float) -> list[str]:
    """The workers that run when the time is up."""
    deadline = time.monotonic() + wait
    said: list[str] = []
    while (running := live_workers(scripts, lease)) and time.monotonic() < deadline:
        if running != said:
            click.echo(f"waiting for {_named(running)}", err=True)
            said = running
        time.sleep(LOOK_SECONDS)
    return running


def _refusal(running: Sequence[str]) -> str:
    return (
        f"{counted(len(running), 'worker')} {'holds' if len(running) == 1 else 'hold'} a lease: {_named(running)}; "
        "nothing was changed. End them (SIGTERM lets their jobs finish) and repeat; --wait 60 waits for them, and "
        "--force takes their running jobs away, which may then run twice"
    )


def _named(workers: Sequence[str]) -> str:
    return one_line(", ".join(workers))


def _require_no_stock_worker(app: Celery, ours: Sequence[str]) -> None:
    """Whoever answers is a stock worker, since none of ours is left. One of a single process that is busy does not."""
    answers: list[dict[str, Any]] = app.control.ping(timeout=REPLY_SECONDS) or []
    stock = [name for answer in answers for name in answer]
    if stock and not ours:
        raise WorkersRunning(
            f"stock workers are running, and would lose what they are working on: {_named(stock)}; nothing was "
            "changed. End them and repeat, or leave --unacked out"
        )


def _bury(app: Celery, scripts: Scripts) -> int:
    """Brings dead entries to the ledger, which no keeper does any more; how many are left in Redis."""
    url = ledger_url(app)
    if url is not None:
        try:
            bring_to_ledger(scripts, url)
        except PenstockError as error:
            click.echo(f"penstock: dead letters stay in Redis for now: {error}", err=True)
    return int(scripts.client.llen(scripts.keys.dead))


def _empty_outbox(app: Celery, scripts: Scripts) -> int:
    """Publishes what waits in the ledger's outbox, which nobody does any more, and forgets the rest of it."""
    url = ledger_url(app)
    if url is not None:
        try:
            return publish_for_good(scripts, url)
        except PenstockError as error:
            click.echo(f"penstock: jobs wait in the ledger's outbox; repeat this when it answers: {error}", err=True)
    return 0


def _lines(released: Released, unacked: int, published: int, held: int, dead: int, running: Sequence[str]) -> list[str]:
    counts = {
        "in flight": released.in_flight,
        "parked": released.parked,
        "blocked": released.blocked,
        "unacknowledged by stock workers": unacked,
    }
    total = sum(counts.values())
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    lines = [f"{counted(total, 'message')} went back to their queues" + (f": {parts}" if parts else "")]
    if published:
        lines.append(f"{counted(published, 'message')} of the outbox went to their queues for the first time")
    if released.resumed:
        lines.append(f"opened: {one_line(', '.join(released.resumed))}")
    if held:
        lines.append(f"stock workers hold {counted(held, 'message')}: theirs until their visibility timeout has passed")
    if dead:
        lines.append(f"{counted(dead, 'dead letter')} in Redis, not in the ledger yet")
    if running:
        lines.append(f"still running, and claiming again: {_named(running)}; end them, their jobs may run twice")
    return lines
