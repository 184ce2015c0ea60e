"""One schedule, whole: its rules, what comes next, and what has become of its last fires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from penstock.cli.output import print_rows
from penstock.cli.schedule_table import fire_as_json, known_as_json, moment_text, next_text
from penstock.cli.wording import distance, duration, one_line
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.scheduler.changes import Portrait
from penstock.scheduler.forecast import oddities
from penstock.scheduler.schedule import Schedule

STYLES = {
    FireState.FIRED: "green",
    FireState.WAITING: "yellow",
    FireState.SKIPPED: "magenta",
    FireState.MISSED: "bold red",
}


def portrait_as_json(portrait: Portrait, upcoming: Sequence[datetime]) -> dict[str, Any]:
    """All that is known."""
    now = datetime.now(UTC)
    return {
        "schedule": known_as_json(portrait.known),
        "next": list(upcoming),
        "fires": [fire_as_json(fire) for fire in portrait.fires],
        "counts": portrait.counts,
        "open_jobs": list(portrait.open_jobs),
        "oddities": [asdict(each) for each in oddities(portrait.known.schedule, now)],
    }


def print_portrait(console: Console, portrait: Portrait, upcoming: Sequence[datetime] | str) -> None:
    """For people; the same in a pipe."""
    now = datetime.now(UTC)
    schedule = portrait.known.schedule
    console.print(Text(one_line(schedule.name), style="bold"), Text(one_line(f"→ {schedule.task}")), soft_wrap=True)
    print_rows(console, [(Text(label, style="dim"), value) for label, value in _facts(portrait, now)], indent=2)
    console.print()
    _print_next(console, portrait, upcoming, now)
    console.print()
    _print_fires(console, portrait)


def _facts(portrait: Portrait, now: datetime) -> Iterator[tuple[str, Text]]:
    row, schedule = portrait.known.row, portrait.known.schedule
    yield "when", Text(one_line(f"{schedule.when}, {schedule.timezone or 'UTC'}"))
    if row.paused_at is not None:
        note = f": {one_line(row.pause_note)}" if row.pause_note else ""
        yield "paused", Text(f"{distance(row.paused_at, now)} by {one_line(row.paused_by or '')}{note}", "magenta")
    if schedule.args or schedule.kwargs:
        call = [*map(repr, schedule.args), *(f"{name}={value!r}" for name, value in schedule.kwargs.items())]
        yield "call", Text(one_line(", ".join(call)))
    yield "rules", Text("; ".join(_rules(schedule)))
    if schedule.tags:
        yield "tags", Text(one_line(", ".join(schedule.tags)))
    yield "declared", Text(f"by {one_line(row.declared_by)}" if row.declared_by else "no, added at run time")
    if row.failures:
        yield "failures", Text(f"{row.failures} in a row", style="red")
    for each in oddities(schedule, now):
        yield "clocks", Text(f"{each.day}: {each.text}", style="yellow")


def _rules(schedule: Schedule) -> Iterator[str]:
    yield f"overlap {schedule.overlap}"
    late = schedule.catch_up if isinstance(schedule.catch_up, str) else duration(schedule.catch_up.total_seconds())
    yield f"catch up {late}"
    if schedule.dst != "cron":
        yield f"dst {schedule.dst}"
    if schedule.jitter:
        yield f"jitter {duration(schedule.jitter)}"
    for name in ("start", "end", "max_fires", "pause_after_failures", "on_missed"):
        if (value := getattr(schedule, name)) is not None:
            yield f"{name.replace('_', ' ')} {value}"
    if schedule.exclude:
        yield f"not on {', '.join(map(str, schedule.exclude[:5]))}{' …' if len(schedule.exclude) > 5 else ''}"
    for name, value in schedule.options.items():
        yield one_line(f"{name} {value}")


def _print_next(console: Console, portrait: Portrait, upcoming: Sequence[datetime] | str, now: datetime) -> None:
    if isinstance(upcoming, str) or not upcoming or portrait.known.row.paused_at is not None:
        console.print(Text("next  ", style="dim").append_text(next_text(portrait.known, now)))
        return
    rows = [
        (Text("next" if not number else "", style="dim"), moment_text(time), Text(distance(time, now), style="dim"))
        for number, time in enumerate(upcoming)
    ]
    print_rows(console, rows)


def _print_fires(console: Console, portrait: Portrait) -> None:
    counts = [Text(f"{count:,} {state.value}", STYLES[state]) for state, count in portrait.counts.items()]
    console.print(Text("fires ", style="dim"), Text(", ").join(counts) if counts else Text("none so far", style="dim"))
    zone = portrait.known.schedule.zone
    rows = [
        (
            moment_text(fire.planned_at.astimezone(zone)),
            Text(fire.state.value, STYLES[fire.state]),
            Text("" if fire.origin is Origin.PLANNED else fire.origin.value, style="cyan"),
            Text(one_line(_what(fire))),
        )
        for fire in portrait.fires
    ]
    print_rows(console, rows, indent=2)


def _what(fire: FireRow) -> str:
    """The job, and how late it was made; or the reason."""
    if fire.job_id is None:
        return fire.reason or ""
    late = (fire.decided_at - fire.planned_at).total_seconds()
    return f"job {fire.job_id}" + (f", {duration(late)} late" if late >= 1 and fire.origin is Origin.PLANNED else "")
