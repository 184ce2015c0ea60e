"""One schedule, whole: its rules, what comes next, and what has become of its last fires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.console import Console
from rich.text import Text

from penstock.cli.output import print_rows
from penstock.cli.schedule_table import fire_as_json, known_as_json, moment_texts, next_text
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.operations.schedules import Phase, is_within_minute, phase_of, rules, when_text
from penstock.scheduler.changes import Portrait, Remains
from penstock.scheduler.forecast import oddities
from penstock.wording import distance, duration, one_line

STYLES = {
    FireState.FIRED: "green",
    FireState.WAITING: "yellow",
    FireState.SKIPPED: "magenta",
    FireState.MISSED: "bold red",
}
SHOWN = 5
"""Jobs that have not ended, of which each is named."""


def portrait_as_json(portrait: Portrait, upcoming: Sequence[datetime], now: datetime) -> dict[str, Any]:
    """All that is known."""
    return {
        "schedule": known_as_json(portrait.known),
        "next": [time.astimezone(UTC) for time in upcoming],
        "fires": [fire_as_json(fire) for fire in portrait.fires],
        "counts": portrait.counts,
        "open_jobs": list(portrait.open_jobs),
        "oddities": [asdict(each) for each in oddities(portrait.known.schedule, now)],
    }


def remains_as_json(remains: Remains) -> dict[str, Any]:
    """The same of a schedule that was removed; without the schedule."""
    return {
        "schedule": None,
        "next": [],
        "fires": [fire_as_json(fire) for fire in remains.fires],
        "counts": remains.counts,
        "open_jobs": list(remains.open_jobs),
        "oddities": [],
    }


def print_remains(console: Console, remains: Remains, zone: tzinfo) -> None:
    """For people; the same in a pipe.

    Args:
        zone: of the planned times, as the schedule's own is not known any more.
    """
    removed = Text("was removed; its fires are kept", style="magenta")
    console.print(Text(one_line(remains.name), style="bold"), removed, soft_wrap=True)
    if remains.open_jobs:
        print_rows(console, [(Text("open", style="dim"), _open(remains.open_jobs))], indent=2)
    console.print()
    _print_fires(console, remains, zone)


def print_portrait(console: Console, portrait: Portrait, upcoming: Sequence[datetime] | str, now: datetime) -> None:
    """For people; the same in a pipe.

    Args:
        upcoming: the next planned times, or why they are not known here.
        now: by the clock of the ledger, which all schedulers go by.
    """
    schedule = portrait.known.schedule
    console.print(Text(one_line(schedule.name), style="bold"), Text(one_line(f"→ {schedule.task}")), soft_wrap=True)
    print_rows(console, [(Text(label, style="dim"), value) for label, value in _facts(portrait, now)], indent=2)
    console.print()
    _print_next(console, portrait, upcoming, now)
    console.print()
    _print_fires(console, portrait, portrait.known.schedule.zone)


def _facts(portrait: Portrait, now: datetime) -> Iterator[tuple[str, Text]]:
    row, schedule = portrait.known.row, portrait.known.schedule
    yield "when", Text(when_text(schedule))
    if row.paused_at is not None:
        note = f": {one_line(row.pause_note)}" if row.pause_note else ""
        yield "paused", Text(f"{distance(row.paused_at, now)} by {one_line(row.paused_by or '')}{note}", "magenta")
    if schedule.args or schedule.kwargs:
        call = [*map(repr, schedule.args), *(f"{name}={value!r}" for name, value in schedule.kwargs.items())]
        yield "call", Text(one_line(", ".join(call)))
    yield "rules", Text(one_line("; ".join(f"{name} {value}" for name, value in rules(schedule))))
    if schedule.tags:
        yield "tags", Text(one_line(", ".join(schedule.tags)))
    if row.declared_by:
        yield "declared", Text(f"by {one_line(row.declared_by)}")
    else:
        yield "added", Text(f"at run time, {distance(row.created_at, now)}")
    if portrait.open_jobs:
        yield "open", _open(portrait.open_jobs)
    if row.failures:
        yield "failures", Text(f"{row.failures} in a row", style="red")
    label = "clocks"
    for each in oddities(schedule, now):
        yield label, Text(f"{each.day}: {each.text}", style="yellow")
        label = ""


def _open(ids: Sequence[str]) -> Text:
    noun = "job" if len(ids) == 1 else "jobs"
    more = f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
    return Text(one_line(f"{noun} {', '.join(ids[:SHOWN])}{more}"), style="yellow")


def _print_next(console: Console, portrait: Portrait, upcoming: Sequence[datetime] | str, now: datetime) -> None:
    label = Text("next", style="dim")
    if portrait.known.row.paused_at is not None:
        print_rows(console, [(label, Text("skipped until it is resumed", style="magenta"))])
    elif isinstance(upcoming, str):
        print_rows(console, [(label, next_text(portrait.known, now).append(f"; {one_line(upcoming)}", style="dim"))])
    elif not upcoming:
        print_rows(console, [(label, next_text(portrait.known, now))])
    else:
        is_overdue = phase_of(portrait.known.row, now) is Phase.LATE
        rows = []
        for number, (time, text) in enumerate(zip(upcoming, moment_texts(upcoming), strict=True)):
            far = Text(distance(time, now), style="dim")
            if not number and is_overdue:
                far = next_text(portrait.known, now)
            rows.append((label if not number else Text(), text, far))
        print_rows(console, rows)


def _print_fires(console: Console, portrait: Portrait | Remains, zone: tzinfo) -> None:
    counts = [
        Text(f"{portrait.counts[state]:,} {state.value}", STYLES[state])
        for state in FireState
        if state in portrait.counts
    ]
    console.print(Text("fires ", style="dim"), Text(", ").join(counts) if counts else Text("none so far", style="dim"))
    # Those that somebody has triggered have no planned second.
    has_seconds = any(
        is_within_minute(fire.planned_at) for fire in portrait.fires if fire.origin is not Origin.TRIGGERED
    )
    moments = moment_texts([fire.planned_at.astimezone(zone) for fire in portrait.fires], has_seconds=has_seconds)
    rows = [
        (text, Text(fire.state.value, STYLES[fire.state]), _what(fire))
        for text, fire in zip(moments, portrait.fires, strict=True)
    ]
    print_rows(console, rows, indent=2)


def _what(fire: FireRow) -> Text:
    """The job, and whose doing it was if it was no plan, or how late it was made; or the reason for none."""
    if fire.job_id is None:
        return Text(one_line(fire.reason or ""))
    text = Text(one_line(f"job {fire.job_id}"))
    late = (fire.decided_at - fire.planned_at).total_seconds()
    if fire.origin is not Origin.PLANNED:
        text.append(f" ({fire.origin.value})", style="cyan")
    elif late >= 1:
        text.append(f" ({duration(late)} late)", style="yellow")
    return text
