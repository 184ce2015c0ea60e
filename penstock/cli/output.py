"""Where output goes: a terminal with colours and a width, or a file or pipe with neither."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from penstock.job import State

GAP = 2
WHOLE = "--json has all"
NARROWEST_TEXT = 20
COLOURS = {
    State.QUEUED: "default",
    State.SCHEDULED: "yellow",
    State.BLOCKED: "bold yellow",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "bold red",
    State.CANCELLED: "magenta",
}


def console_of(context: click.Context) -> Console:
    """Standard output. NO_COLOR and `celery --no-color` take the colours away."""
    return Console(no_color=True if context.obj.no_color else None, highlight=False, markup=False, emoji=False)


def print_rows(console: Console, rows: Sequence[Sequence[Text]], indent: int = 0) -> None:
    """Columns two blanks apart; a terminal gets the last one wrapped under itself, a pipe gets long lines."""
    widths = [max(row[column].cell_len for row in rows) for column in range(len(rows[0]) - 1)] if rows else []
    start = indent + sum(widths) + GAP * len(widths)
    for row in rows:
        line = Text(" " * indent)
        for cell, width in zip(row[:-1], widths, strict=True):
            line.append_text(cell).append(" " * (width - cell.cell_len + GAP))
        room = console.width - start if console.is_terminal else row[-1].cell_len
        wrapped = row[-1].wrap(console, max(room, NARROWEST_TEXT)) if row[-1] else [Text()]
        console.print(Text("\n" + " " * start).join([line.append_text(wrapped[0]), *wrapped[1:]]), soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document, ASCII, times as ISO 8601 in UTC; on one line unless a person looks at it."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=json_form))


def json_form(value: Any) -> Any:
    """What JSON has no word for (results may hold dates, decimals and UUIDs) as text."""
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
