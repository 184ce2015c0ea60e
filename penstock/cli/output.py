"""Where output goes: a terminal with colours and a width, or a file or pipe with neither."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import click
from rich.console import Console

from penstock.job import State

COLOURS = {
    State.QUEUED: "default",
    State.SCHEDULED: "yellow",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "bold red",
    State.CANCELLED: "magenta",
}


def console_of(context: click.Context) -> Console:
    """Standard output. NO_COLOR and `celery --no-color` take the colours away."""
    return Console(
        no_color=True if context.obj.no_color else None, highlight=False, markup=False, emoji=False
    )


def print_json(value: Any) -> None:
    """One JSON document, ASCII, times as ISO 8601 in UTC."""
    click.echo(json.dumps(value, indent=2, default=json_form))


def json_form(value: Any) -> Any:
    """What JSON has no word for (results may hold dates, decimals and UUIDs) as text."""
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
