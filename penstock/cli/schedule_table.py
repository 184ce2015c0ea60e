"""Schedules and planned times for people, as tables, and for machines, as lines or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from penstock.checks.schedules import is_at_work
from penstock.cli.queue_table import plain_table
from penstock.cli.wording import counted, distance, duration, one_line
from penstock.ledger.fires import FireRow
from penstock.ledger.schedules import BeatRow
from penstock.scheduler.changes import Known

LATE = timedelta(seconds=10)


def known_as_json(known: Known) -> dict[str, Any]:
    """Every column, the definition among them."""
    return asdict(known.row)


def fire_as_json(fire: FireRow) -> dict[str, Any]:
    """Every column."""
    return asdict(fire)


def beat_as_json(beat: BeatRow) -> dict[str, Any]:
    """Every column, and whether it is at work."""
    return {**asdict(beat), "is_at_work": is_at_work(beat, datetime.now(UTC))}


def print_table(console: Console, known: Sequence[Known], beats: Sequence[BeatRow]) -> None:
    """The schedules, and who looks after them."""
    now = datetime.now(UTC)
    table = plain_table()
    table.add_column("schedule", no_wrap=True, min_width=8, overflow="ellipsis")
    table.add_column("when", min_width=8, overflow="fold")
    table.add_column("next", no_wrap=True)
    table.add_column("last", no_wrap=True)
    table.add_column("task", overflow="fold")
    for each in known:
        table.add_row(*_cells(each, now))
    if known:
        console.print(table)
    console.print(_summary(known, beats, now))


def _cells(known: Known, now: datetime) -> list[Text]:
    row, schedule = known.row, known.schedule
    zone = f" {schedule.timezone}" if schedule.timezone not in (None, "UTC") else ""
    last = distance(row.previous_at, now) if row.previous_at else ""
    return [
        Text(one_line(row.name), style="bold"),
        Text(one_line(f"{schedule.when}{zone}")),
        next_text(known, now),
        Text(last, style="dim"),
        Text(one_line(schedule.task), style="dim"),
    ]


def next_text(known: Known, now: datetime) -> Text:
    """When it fires next, or why it does not."""
    row = known.row
    if row.paused_at is not None:
        return Text(f"paused {distance(row.paused_at, now)}", style="magenta")
    if row.planned_at is None or row.due_at is None:
        return Text("not known yet" if row.kind == "celery" and not row.fires else "over", style="dim")
    if row.due_at < now - LATE:
        return Text(f"overdue for {duration((now - row.due_at).total_seconds())}", style="bold red")
    return Text(distance(row.planned_at, now), style="cyan")


def _summary(known: Sequence[Known], beats: Sequence[BeatRow], now: datetime) -> Text:
    paused = sum(each.row.paused_at is not None for each in known)
    text = Text(counted(len(known), "schedule") if known else "no schedules")
    if paused:
        text.append(f", {paused} paused", style="magenta")
    at_work = [beat for beat in beats if is_at_work(beat, now)]
    if at_work:
        return text.append(f"; {counted(len(at_work), 'beat')} at work", style="green")
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
        table.add_column(heading, no_wrap=True)
    for time, name in upcoming:
        table.add_row(moment_text(time), Text(distance(time, now), style="dim"), Text(one_line(name), style="bold"))
    console.print(table if upcoming else Text("nothing is planned", style="dim"))


def moment_text(time: datetime) -> Text:
    """A day, a time, and the offset from UTC."""
    seconds = "" if not time.second and not time.microsecond else f":{time:%S}"
    text = Text(f"{time:%a %Y-%m-%d %H:%M}{seconds} ")
    return text.append(time.isoformat()[-6:] if time.utcoffset() else "UTC", style="dim")
