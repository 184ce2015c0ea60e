"""Many jobs, one line each: a table for people, tab-separated columns for pipes, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.output import COLOURS
from penstock.cli.wording import counted, distance, duration, error_in_short, one_line
from penstock.job import Reason, State
from penstock.ledger.queries import JobRow

HEADINGS = ("id", "task", "queue", "state", "tries", "started", "ran")
TASK, TRIES, RAN = HEADINGS.index("task"), HEADINGS.index("tries"), HEADINGS.index("ran")
GAP = 2
NARROWEST_TASK = 14
NARROWEST_ERROR = 32
"""Columns that an error needs to stand at the end of its job's line; with less it gets a line of its own."""
SHORT_ID = 8
FULL_ID_WIDTH = 140
"""Columns of a terminal from which on ids are shown in full."""
UNSAID = (Reason.ERROR, Reason.REVOKED)
"""Reasons that are the rule for their state."""


def job_as_json(row: JobRow) -> dict[str, Any]:
    """Every column of the job, and its runtime in seconds."""
    return {**asdict(row), "runtime": row.runtime}


def print_lines(rows: Sequence[JobRow]) -> None:
    """One job a line: id, task, queue, state, reason, attempts, started, runtime, error, separated by tabs.

    No heading and nothing cut; times in ISO 8601, lengths in seconds; an empty column where nothing is known.
    """
    for row in rows:
        started = row.started_at.isoformat() if row.started_at else ""
        runtime = "" if row.runtime is None else f"{row.runtime:.6f}"
        values = (
            row.id,
            row.task,
            row.queue or "",
            row.state,
            row.reason or "",
            str(row.attempts),
            started,
            runtime,
        )
        click.echo("\t".join(one_line(value) for value in (*values, error_in_short(row))))


def print_table(console: Console, rows: Sequence[JobRow], counts: dict[State, int]) -> None:
    """A heading, the jobs, and how many there are in each state."""
    now = datetime.now(UTC)
    cells = [_cells(row, _shown_ids(rows, console.width), now) for row in rows]
    widths = _widths(cells, console.width)
    if rows:
        console.print(_line([Text(heading) for heading in HEADINGS], widths), style="dim")
    for row, line in zip(rows, cells, strict=True):
        _print_job(console, row, line, widths)
    console.print(summary(counts, len(rows)))


def summary(counts: dict[State, int], shown: int) -> Text:
    """`312 jobs: 290 succeeded, 12 failed, 10 running; the newest 50 are shown`."""
    total = sum(counts.values())
    if not total:
        return Text("no jobs match", style="dim")
    states = [
        Text(f"{counts[state]:,} {state}", style=COLOURS[state]) for state in State if counts.get(state)
    ]
    line = Text(f"{counted(total, 'job')}: ").append_text(Text(", ").join(states))
    return line.append(f"; the newest {shown:,} are shown (--limit)", style="dim") if shown < total else line


def state_text(row: JobRow, now: datetime) -> Text:
    """The state in its colour, with its reason or its due time."""
    note = str(row.reason) if row.reason and row.reason not in UNSAID else ""
    if row.state is State.SCHEDULED and row.eta and row.eta > now:
        note = distance(row.eta, now)
    return Text(row.state.value, style=COLOURS[row.state]).append(
        f" ({note})" if note else "", style="not bold"
    )


def short_id(id: str) -> str:
    """The first digits of a UUID, as `git log` shows hashes; any other id as it is."""
    return id[:SHORT_ID] if is_uuid(id) else id


def is_uuid(id: str) -> bool:
    """Whether an id has the form that clients make up, and not one that somebody chose."""
    return len(id) == 36 and all(character in "0123456789abcdef-" for character in id)


def _shown_ids(rows: Sequence[JobRow], width: int) -> dict[str, str]:
    short = [short_id(row.id) for row in rows]
    unique = len(set(short)) == len(rows)
    return {
        row.id: row.id if width >= FULL_ID_WIDTH or not unique else shown
        for row, shown in zip(rows, short, strict=True)
    }


def _cells(row: JobRow, shown_ids: dict[str, str], now: datetime) -> list[Text]:
    return [
        Text(one_line(shown_ids[row.id])),
        Text(one_line(row.task)),
        Text(one_line(row.queue or ""), style="dim"),
        state_text(row, now),
        Text(str(row.attempts), style="yellow" if row.attempts > 1 else "dim"),
        Text(distance(row.started_at, now) if row.started_at else "", style="dim"),
        Text(duration(row.runtime) if row.runtime is not None else ""),
    ]


def _widths(cells: Sequence[Sequence[Text]], available: int) -> list[int]:
    """As wide as the contents; when that is too much, task names give way first, then the longest columns."""
    lines = [[Text(heading) for heading in HEADINGS], *cells]
    widths = [max(line[column].cell_len for line in lines) for column in range(len(HEADINGS))]
    excess = sum(widths) + GAP * (len(widths) - 1) - available
    if excess > 0:
        given = min(excess, max(0, widths[TASK] - NARROWEST_TASK))
        widths[TASK] -= given
        excess -= given
    while excess > 0 and max(widths) > SHORT_ID:
        widths[widths.index(max(widths))] -= 1
        excess -= 1
    return widths


def _print_job(console: Console, row: JobRow, cells: list[Text], widths: list[int]) -> None:
    line = _line(cells, widths)
    error = Text(error_in_short(row), style="red")
    room = console.width - line.cell_len - GAP
    if error and room >= NARROWEST_ERROR:
        console.print(_cut(line.append(" " * GAP).append_text(error), console.width))
        return
    console.print(_cut(line, console.width))
    if error:
        console.print(_cut(Text(" " * (widths[0] + GAP)).append_text(error), console.width))


def _line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        if column == TASK and cell.cell_len > width:
            # The end of a task's name says more than the packages that it lies in.
            cell = Text("…" + cell.plain[1 - width :])
        fitted = cell.copy()
        fitted.align("right" if column in (TRIES, RAN) else "left", width)
        padded.append(fitted)
    return Text(" " * GAP).join(padded)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
