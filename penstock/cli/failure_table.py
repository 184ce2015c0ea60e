"""Failures for people, as a table and a portrait, and for machines, as lines or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from penstock.cli.groups import group_columns, print_groups
from penstock.cli.output import GAP, WHOLE, json_form, print_json, print_rows
from penstock.cli.portrait import print_block
from penstock.ledger.failure_groups import Groups
from penstock.operations.failures.as_json import group_as_json
from penstock.operations.failures.entries import UNKNOWN, Entry, Found, Opened
from penstock.operations.payload import Payload, payload_as_json, shown_bytes
from penstock.wording import counted, distance, one_line

COLOURS = {"buried": "bold red", "quarantined": "magenta", UNKNOWN: "yellow"}


def print_failures(console: Console, groups: tuple[datetime, Groups] | None, found: Found, as_json: bool) -> None:
    """As JSON, as tables on a terminal, else one failure a line.

    Args:
        groups: of failed jobs, and since when they were counted; None: they were not asked for.
    """
    since, grouped = groups or (datetime.now(UTC), Groups([], 0, 0))
    if as_json:
        as_data = [group_as_json(group, since) for group in grouped.groups]
        print_json({"groups": as_data, "entries": [asdict(entry) for entry in found.entries]})
    elif console.is_terminal:
        if groups:
            print_groups(console, grouped, since)
        if found.counts or not groups:
            _print_table(console, found)
    else:
        for columns in (*map(group_columns, grouped.groups), *map(_columns, found.entries)):
            click.echo("\t".join(one_line(column) for column in columns))


def _columns(entry: Entry) -> Iterator[str]:
    yield from (entry.id, entry.kind, entry.job_id or "", entry.task or "", entry.queue, str(entry.messages))
    yield "" if entry.deliveries is None else str(entry.deliveries)
    yield from (entry.at.isoformat() if entry.at else "", entry.resolution or "open", entry.reason)


def _print_table(console: Console, found: Found) -> None:
    now = datetime.now(UTC)
    _print_group(console, [entry for entry in found.entries if entry.kind == UNKNOWN], now)
    _print_group(console, [entry for entry in found.entries if entry.kind != UNKNOWN], now)
    _print_summary(console, found)


def _print_group(console: Console, entries: Sequence[Entry], now: datetime) -> None:
    """What happened stands below its entry: it is a sentence, and the columns are needed for names."""
    lines = [_cells(entry, now) for entry in entries]
    widths = [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]
    for entry, cells in zip(entries, lines, strict=True):
        for cell, width in zip(cells, widths, strict=True):
            cell.align("left", width)
        line = Text(" " * GAP).join(cell for cell in cells if cell)
        line.rstrip()
        line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)
        console.print(Padding(Text(one_line(entry.reason), style="dim"), (0, 0, 0, GAP)))
        if entry.resolution:
            console.print(Padding(Text(_resolution(entry), style="green"), (0, 0, 0, GAP)))


def _cells(entry: Entry, now: datetime) -> list[Text]:
    when = Text(distance(entry.at, now) if entry.at else "", style="dim")
    if entry.kind == UNKNOWN:
        # The name of the entry says its task and its queue.
        return [Text(one_line(entry.id), style=COLOURS[UNKNOWN]), Text(counted(entry.messages, "message")), when]
    return [
        Text(one_line(entry.short_id), style="bold"),
        Text(entry.kind, style=COLOURS[entry.kind]),
        Text(one_line(entry.task or "")),
        Text(one_line(entry.queue)),
        when,
    ]


def _resolution(entry: Entry) -> str:
    if entry.resolution is None:
        return ""
    new = f" as {entry.replay_job_id}" if entry.replay_job_id else ""
    return one_line(f"{entry.resolution}{new} by {entry.resolved_by}")


def _print_summary(console: Console, found: Found) -> None:
    total = sum(found.counts.values())
    if not total:
        console.print(Text("no failures match", style="dim"))
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items() if count)
    more = f"; {len(found.entries):,} listed, --limit lists more" if len(found.entries) < total else ""
    console.print(Text(f"{counted(total, 'failure')}: {kinds}{more}", style="dim"))


def print_entry(console: Console, opened: Opened, as_json: bool) -> None:
    """Everything about one failure."""
    if as_json:
        messages = [payload_as_json(message) for message in opened.messages]
        print_json({"entry": asdict(opened.entry), "messages": messages})
        return
    entry = opened.entry
    console.print(Text(one_line(entry.id), style="bold"), soft_wrap=True)
    rows = [(Text(name, style="dim"), Text(one_line(text))) for name, text in _facts(entry)]
    print_rows(console, rows)
    for number, message in enumerate(opened.messages, 1):
        many = f" {number} of {entry.messages:,}" if entry.messages > 1 else ""
        _print_message(console, f"message{many}", message)


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    now = datetime.now(UTC)
    yield "kind", entry.kind
    yield "what", entry.reason
    if entry.task:
        yield "task", entry.task
    if entry.job_id:
        yield "job", entry.job_id
    yield "queue", entry.queue + (f", priority step {entry.step}" if entry.step else "")
    if entry.deliveries is not None:
        yield "delivered", counted(entry.deliveries, "time")
    if entry.at:
        when = f"{entry.at:%Y-%m-%d %H:%M:%S} UTC, {distance(entry.at, now)}"
        yield ("oldest", f"enqueued {when}") if entry.kind == UNKNOWN else ("at", when)
    if entry.kind == UNKNOWN:
        yield "messages", f"{entry.messages:,}"
    if entry.resolution:
        when = f", {distance(entry.resolved_at, now)}" if entry.resolved_at else ""
        yield "settled", f"{_resolution(entry)}{when}"


def _print_message(console: Console, title: str, message: Payload) -> None:
    """Decoded as far as it goes; the rest as bytes."""
    if message.problem:
        title += f": {message.problem}"
    if message.headers:
        print_block(console, title, (message.body is not None and message.call) or shown_bytes(message.raw, WHOLE))
        headers = {name: value for name, value in message.headers.items() if value not in (None, [], {}, [None, None])}
        print_block(console, "headers", json.dumps(headers, indent=2, ensure_ascii=False, default=json_form))
    else:
        print_block(console, title, shown_bytes(message.raw, WHOLE))
