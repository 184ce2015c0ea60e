"""Schedules and planned times for people, as tables, and for machines, as lines or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from penstock.checks.schedules import is_at_work
from penstock.cli.output import GAP
from penstock.cli.queue_table import plain_table
from penstock.ledger.fires import FireRow
from penstock.ledger.schedules import BeatRow
from penstock.operations.schedules import Phase, at_work, is_within_minute, moment, phase_of, phase_text, when_text
from penstock.scheduler.changes import Known
from penstock.wording import counted, distance, one_line

HEADINGS = ("schedule", "when", "next", "last", "task")
STYLES = {
    Phase.PLANNED: "cyan",
    Phase.LATE: "bold red",
    Phase.PAUSED: "magenta",
    Phase.OVER: "dim",
    Phase.UNKNOWN: "dim",
}


def known_as_json(known: Known) -> dict[str, Any]:
    """Every column, the definition among them."""
    return asdict(known.row)


def fire_as_json(fire: FireRow) -> dict[str, Any]:
    """Every column."""
    return asdict(fire)


def beat_as_json(beat: BeatRow, now: datetime) -> dict[str, Any]:
    """Every column, and whether it is at work."""
    return {**asdict(beat), "is_at_work": is_at_work(beat, now)}


def next_as_json(upcoming: Sequence[tuple[datetime, str]]) -> list[dict[str, Any]]:
    """Planned times in UTC, and as clocks in the schedule's zone show them."""
    return [
        {"schedule": name, "planned_at": time.astimezone(UTC), "local": time.isoformat()} for time, name in upcoming
    ]


def print_table(console: Console, known: Sequence[Known], beats: Sequence[BeatRow], now: datetime) -> None:
    """The schedules, and who looks after them.

    Args:
        now: by the clock of the ledger, which all schedulers go by.
    """
    lines = [_cells(each, now) for each in known]
    widths = _widths(lines, console.width)
    table = plain_table()
    for heading, width in zip(HEADINGS, widths, strict=True):
        wraps = heading == "when"
        table.add_column(heading, width=width, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")
    for line in lines:
        task = line[-1]
        if task.cell_len > widths[-1]:
            # The end of a task's name says more than the packages that it lies in.
            line[-1] = Text("…" + task.plain[1 - widths[-1] :], style=task.style)
        table.add_row(*line)
    if known:
        console.print(table)
    console.print(_summary(known, beats, now))


def _widths(lines: Sequence[Sequence[Text]], available: int) -> list[int]:
    """As wide as the contents; when that is too much, whichever is widest gives way."""
    widths = [
        max([len(heading), *(line[column].cell_len for line in lines)]) for column, heading in enumerate(HEADINGS)
    ]
    for _ in range(sum(widths) + GAP * (len(widths) - 1) - available):
        widest = widths.index(max(widths))
        widths[widest] = max(widths[widest] - 1, 1)
    return widths


def _cells(known: Known, now: datetime) -> list[Text]:
    row, schedule = known.row, known.schedule
    last = distance(row.previous_at, now) if row.previous_at else ""
    return [
        Text(one_line(row.name), style="bold"),
        Text(when_text(schedule)),
        next_text(known, now),
        Text(last, style="dim"),
        Text(one_line(schedule.task), style="dim"),
    ]


def next_text(known: Known, now: datetime) -> Text:
    """When it fires next, or why it does not."""
    return Text(phase_text(known.row, now), style=STYLES[phase_of(known.row, now)])


def _summary(known: Sequence[Known], beats: Sequence[BeatRow], now: datetime) -> Text:
    paused = sum(each.row.paused_at is not None for each in known)
    text = Text(counted(len(known), "schedule") if known else "no schedules")
    if paused:
        text.append(f", {paused} paused", style="magenta")
    if busy := at_work(beats, now):
        return text.append(f"; {counted(len(busy), 'beat')} at work", style="green")
    last = f" (the last one was seen {distance(max(beat.seen_at for beat in beats), now)})" if beats else ""
    return text.append(f"; no beat is at work{last}: start one with `celery -A … beat`", style="bold red")


def print_lines(known: Sequence[Known]) -> None:
    """One schedule a line: name, timetable, zone, next, last, paused since, task, separated by tabs."""
    for each in known:
        row = each.row
        times = [time.isoformat() if time else "" for time in (row.planned_at, row.previous_at, row.paused_at)]
        columns = (row.name, str(each.schedule.when), each.schedule.timezone or "UTC", *times, each.schedule.task)
        click.echo("\t".join(one_line(column) for column in columns))


def print_next(console: Console, upcoming: Sequence[tuple[datetime, str]]) -> None:
    """Planned times with their offset; in a pipe, time and name separated by a tab."""
    if not console.is_terminal:
        for time, name in upcoming:
            click.echo(f"{time.isoformat()}\t{one_line(name)}")
        return
    now = datetime.now(UTC)
    table = plain_table()
    for heading in ("planned", "", "schedule"):
        table.add_column(heading, no_wrap=heading != "schedule")
    moments = moment_texts([time for time, _ in upcoming])
    for text, (time, name) in zip(moments, upcoming, strict=True):
        table.add_row(text, Text(distance(time, now), style="dim"), Text(one_line(name), style="bold"))
    console.print(table if upcoming else Text("nothing is planned", style="dim"))


def moment_texts(times: Sequence[datetime], *, has_seconds: bool | None = None) -> list[Text]:
    """Days and times for one column; with seconds if any of them has some, unless it is said."""
    if has_seconds is None:
        has_seconds = any(map(is_within_minute, times))
    return [Text(f"{time:%a} {moment(time, has_seconds=has_seconds)}") for time in times]
