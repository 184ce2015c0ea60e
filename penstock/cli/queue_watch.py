"""`queues watch`: the same table, again and again."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import click
from celery import Celery
from rich.console import Console
from rich.live import Live

from penstock.cli.output import json_form
from penstock.cli.queue_table import columns_of, status_as_json, table_of
from penstock.operations.broker import broker_of
from penstock.operations.queues import Look, look_again


def watch(
    app: Celery, console: Console, names: Sequence[str], *, interval: float, times: int | None, as_json: bool
) -> None:
    """Looks each ``interval`` seconds, ``times`` times or until Ctrl-C, which is the normal end."""
    looks = _looks(app, names, interval, times)
    with suppress(KeyboardInterrupt):
        if console.is_terminal and not as_json:
            _show(console, looks)
        else:
            for look, changes in looks:
                _print(look, changes, as_json)


def _looks(
    app: Celery, names: Sequence[str], interval: float, times: int | None
) -> Iterator[tuple[Look, dict[str, int]]]:
    """Each look, and how the depths have changed since the one before."""
    before: dict[str, int] = {}
    with broker_of(app) as scripts:
        for number in itertools.count(1):
            look = look_again(app, scripts, names)
            depths = {status.queue: status.ready for status in look.queues}
            yield look, {queue: depth - before.get(queue, depth) for queue, depth in depths.items()}
            if number == times:
                return
            before = depths
            time.sleep(interval)


def _show(console: Console, looks: Iterator[tuple[Look, dict[str, int]]]) -> None:
    # The table is drawn when there is news; a refresh of Live's own would draw what is there already.
    with Live(console=console, auto_refresh=False) as live:
        for look, changes in looks:
            live.update(table_of(look, changes), refresh=True)


def _print(look: Look, changes: dict[str, int], as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        rows = [{**status_as_json(status), "change": changes[status.queue]} for status in look.queues]
        click.echo(json.dumps({"at": now, "queues": rows}, default=json_form))
        return
    for status in look.queues:
        click.echo("\t".join([now.isoformat(), *columns_of(status), str(changes[status.queue])]))
