"""Many jobs for people: a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from penstock.cli.output import COLOURS, GAP
from penstock.cli.paging import more_of
from penstock.job import State
from penstock.ledger.rows import JobRow
from penstock.ledger.search import Counts, Page
from penstock.operations.wording import error_in_short, short_id, state_note
from penstock.wording import distance, duration, one_line

HEADINGS = ("id", "task", "queue", "state", "tries", "started", "ran")
TASK, TRIES, RAN = HEADINGS.index("task"), HEADINGS.index("tries"), HEADINGS.index("ran")
NARROWEST_COLUMN = 8
NARROWEST_TASK = 16
NARROWEST_WHY = 40
"""Columns that a long explanation needs to stand at the end of its job's line and not below it."""
FULL_ID_WIDTH = 180
"""Columns of a terminal from which on ids are shown in full."""


def print_table(console: Console, page: Page, counts: Counts) -> None:
    """A heading, the jobs, how many there are in each state, and where the list goes on."""
    now, rows = datetime.now(UTC), page.jobs
    full = console.width >= FULL_ID_WIDTH or len({short_id(row.id) for row in rows}) < len(rows)
    lines = [_cells(row, full, now) for row in rows]
    widths = _widths(lines, console.width)
    if rows:
        console.print(_fitted([Text(heading, style="dim") for heading in HEADINGS], widths), soft_wrap=True)
    for row, cells in zip(rows, lines, strict=True):
        _print_job(console, _fitted(cells, widths), _why(row, now), below=widths[0] + GAP)
    none_yet = page.is_cut_short and not counts.states
    console.print(Text("no jobs so far", style="dim") if none_yet else summary(counts))
    if page.after:
        console.print(Text(more_of(page), "dim"), soft_wrap=True)


def state_text(row: JobRow, now: datetime) -> Text:
    """The state in its colour, with its reason or its due time."""
    text, note = Text(row.state.value, style=COLOURS[row.state]), state_note(row, now)
    return text.append(f" ({note})", style="not bold") if note else text


def _cells(row: JobRow, full_id: bool, now: datetime) -> list[Text]:
    return [
        Text(one_line(row.id if full_id else short_id(row.id))),
        Text(one_line(row.task)),
        Text(one_line(row.queue or ""), style="dim"),
        Text(row.state.value, style=COLOURS[row.state]),
        Text(str(row.attempts), style="yellow" if row.attempts > 1 else "dim"),
        Text(distance(row.started_at, now) if row.started_at else "", style="dim"),
        Text(duration(row.runtime) if row.runtime is not None else ""),
    ]


def _widths(lines: Sequence[Sequence[Text]], available: int) -> list[int]:
    """As wide as the contents; when that is too much, tasks give way first, then whichever column is widest."""
    widths = [
        max([len(heading), *(line[column].cell_len for line in lines)]) for column, heading in enumerate(HEADINGS)
    ]
    excess = sum(widths) + GAP * (len(widths) - 1) - available
    from_task = max(0, min(excess, widths[TASK] - NARROWEST_TASK))
    widths[TASK] -= from_task
    for _ in range(excess - from_task):
        if max(widths) > NARROWEST_COLUMN:
            widths[widths.index(max(widths))] -= 1
    return widths


def _why(row: JobRow, now: datetime) -> Text:
    """The note on the state, and the error."""
    note = Text(state_note(row, now), style=COLOURS[row.state])
    error = Text(error_in_short(row), style="red")
    return Text(": ").join(part for part in (note, error) if part)


def _print_job(console: Console, line: Text, why: Text, below: int) -> None:
    """Why the job is as it is stands in a column of its own, else where its line is empty, else below."""
    if why and console.width - line.cell_len - GAP < min(why.cell_len, NARROWEST_WHY):
        line.rstrip()
        if console.width - line.cell_len - GAP < why.cell_len:
            console.print(_cut(line, console.width), soft_wrap=True)
            line = Text(" " * (below - GAP))
    if why:
        line.append(" " * GAP).append_text(why)
    console.print(_cut(line, console.width), soft_wrap=True)


def _fitted(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    fitted = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        if column == TASK and cell.cell_len > width:
            # The end of a task's name says more than the packages that it lies in.
            cell = Text("…" + cell.plain[1 - width :])
        cell = cell.copy()
        cell.align("right" if column in (TRIES, RAN) else "left", width)
        fitted.append(cell)
    return Text(" " * GAP).join(fitted)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.rstrip()
    return line


def summary(counts: Counts) -> Text:
    """`312 jobs: 10 running, 290 succeeded, 12 failed`; where nobody counted to the end, `10,000+`."""
    total = sum(counts.states.values())
    if not total:
        return Text("no jobs match", style="dim")
    states = [
        Text(f"{counts.states[state]:,}{'+' if state in counts.at_least else ''} {state}", COLOURS[state])
        for state in State
        if counts.states.get(state)
    ]
    all_of_them = f"{total:,}{'+' if counts.at_least else ''} job{'' if total == 1 and not counts.at_least else 's'}: "
    return Text(all_of_them).append_text(Text(", ").join(states))
