"""Queues for people, as a table, and for machines, as lines or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.broker.queues import QueueStatus
from penstock.cli.output import GAP, WHOLE
from penstock.operations.payload import Payload, shown_bytes
from penstock.operations.wording import short_id
from penstock.wording import counted, distance, duration, one_line

if TYPE_CHECKING:
    from penstock.operations.queues import Look, Peek

NUMBERS = ("ready", "oldest", "in flight", "parked", "blocked")
LATE_SECONDS = 60.0
"""Waits longer than this stand out."""


def status_as_json(status: QueueStatus) -> dict[str, Any]:
    """Every number; ``pause`` is null for an open queue."""
    return asdict(status)


def print_table(console: Console, look: Look) -> None:
    """A heading, the queues, and what there is in all."""
    console.print(table_of(look))


def table_of(look: Look, changes: Mapping[str, int] | None = None) -> RenderableType:
    """A table that fits the terminal.

    Args:
        changes: of the depths since the look before; given, they have a column.
    """
    table = plain_table()
    table.add_column("queue", no_wrap=True, min_width=8, overflow="ellipsis")
    for name in NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
        if name == "ready" and changes is not None:
            table.add_column("change", justify="right", no_wrap=True)
    table.add_column("paused", overflow="fold")
    now = datetime.now(UTC)
    for status in look.queues:
        table.add_row(*_cells(status, changes, now))
    return Group(table, _summary(look))


def plain_table() -> Table:
    """Columns two blanks apart under faint headings, without lines."""
    return Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", collapse_padding=True)


def _cells(status: QueueStatus, changes: Mapping[str, int] | None, now: datetime) -> list[Text]:
    cells = [Text(one_line(status.queue), style="bold"), _number(status.ready)]
    if changes is not None:
        cells.append(_change(changes.get(status.queue, 0)))
    cells += [_oldest(status.oldest_seconds), _number(status.in_flight, "cyan"), _number(status.parked, "yellow")]
    cells += [_number(status.blocked, "bold red"), Text(_pause(status, now), style="magenta")]
    return cells


def _number(count: int, style: str = "") -> Text:
    return Text(f"{count:,}", style=style if count else "dim")


def _change(change: int) -> Text:
    return Text(f"{change:+,}", style="yellow" if change > 0 else "green") if change else Text("=", style="dim")


def _oldest(seconds: float | None) -> Text:
    if seconds is None:
        return Text("")
    return Text(duration(seconds), style="yellow" if seconds >= LATE_SECONDS else "")


def _pause(status: QueueStatus, now: datetime) -> str:
    if status.pause is None:
        return ""
    why = f": {status.pause.note}" if status.pause.note else ""
    return one_line(f"{distance(status.pause.at, now)} by {status.pause.by}{why}")


def _summary(look: Look) -> Text:
    ready, in_flight = (sum(getattr(status, name) for status in look.queues) for name in ("ready", "in_flight"))
    text = f"{counted(len(look.queues), 'queue')}: {ready:,} ready, {in_flight:,} in flight"
    if look.held_by_stock:
        text += f"; stock workers hold {counted(look.held_by_stock, 'message')} besides"
    return Text(text, style="dim")


def print_lines(look: Look) -> None:
    """One queue a line, separated by tabs, no heading, nothing cut; an empty column where nothing is known."""
    for status in look.queues:
        click.echo("\t".join(columns_of(status)))


def columns_of(status: QueueStatus) -> list[str]:
    """Queue, ready, oldest in seconds, in flight, parked, blocked, paused since, by, note."""
    oldest = "" if status.oldest_seconds is None else f"{status.oldest_seconds:.3f}"
    numbers = [str(status.ready), oldest, str(status.in_flight), str(status.parked), str(status.blocked)]
    pause = status.pause
    why = [pause.at.isoformat(), pause.by, pause.note] if pause else ["", "", ""]
    return [one_line(column) for column in (status.queue, *numbers, *why)]


def print_peeked(console: Console, found: Peek) -> None:
    """The messages in their order; on a terminal as a table that says how many there are in all."""
    if not console.is_terminal:
        for step, payload in found.messages:
            click.echo("\t".join(_peeked_columns(step, payload)))
        return
    table = plain_table()
    for name in ("priority", "job", "enqueued"):
        table.add_column(name, no_wrap=True)
    table.add_column("call", no_wrap=True, overflow="ellipsis", ratio=1)
    now = datetime.now(UTC)
    for step, payload in found.messages:
        when = distance(payload.enqueued_at, now) if payload.enqueued_at else ""
        call = Text(one_line(_call(payload)))
        if payload.problem:
            call.append(f"  {one_line(payload.problem)}", style="red")
        table.add_row(Text(str(step)), Text(one_line(short_id(payload.job))), Text(when), call)
    if found.messages:
        console.print(table)
    shown = len(found.messages)
    more = f", {shown:,} shown; --limit shows more" if shown < found.ready else ""
    console.print(Text(f"{counted(found.ready, 'message')} ready{more}", style="dim"))


def _peeked_columns(step: int, payload: Payload) -> list[str]:
    age = f"{(datetime.now(UTC) - payload.enqueued_at).total_seconds():.3f}" if payload.enqueued_at else ""
    return [one_line(column) for column in (str(step), payload.job, payload.task, age, _call(payload))]


def _call(payload: Payload) -> str:
    """Of what is no call, its bytes."""
    return payload.call or shown_bytes(payload.raw, WHOLE)
