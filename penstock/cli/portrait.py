"""A job's life for people: head, timeline, family, result or error, audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from penstock.cli.output import COLOURS, GAP, json_form, print_rows
from penstock.cli.table import state_text
from penstock.job import State
from penstock.ledger.rows import AuditRow, JobRow
from penstock.operations.jobs.life import Life
from penstock.operations.jobs.timeline import Event, Phase, What
from penstock.operations.wording import call_of, planned_text, progress_in_words, short_id
from penstock.wording import counted, distance, duration, one_line, printable

SHOWN_CHILDREN = 20
SHOWN_ATTEMPTS = 20
SHOWN_ARGUMENTS = 500
SHOWN_LINES = 40
SHOWN_CHARACTERS = 4000
NARROWEST_BAR = 10
OUTCOME_COLOURS = {state.value: colour for state, colour in COLOURS.items()} | {
    "retried": "yellow",
    "requeued": "yellow",
    "snoozed": "blue",
    "replaced": "yellow",
    "crashed": "bold red",
    "lost": "bold red",
}


def print_life(console: Console, life: Life, zone: tzinfo) -> None:
    """In paragraphs with a heading each; times in ``zone``."""
    now = life.now
    _print_head(console, life, now)
    _print_timeline(console, life, zone)
    _print_phases(console, life)
    _print_family(console, life, now)
    if life.job.state is State.SUCCEEDED:
        print_block(console, "result", _pretty(life.job.result))
    elif life.job.progress is not None:
        print_block(console, "progress", _pretty(life.job.progress))
    _print_reports(console, life)
    _print_error(console, life.job)
    print_audit(console, life.audit, zone)


def _print_head(console: Console, life: Life, now: datetime) -> None:
    job = life.job
    console.print(Text(one_line(job.id), style="bold"), soft_wrap=True)
    call = one_line(call_of(job.task, job.args, job.kwargs))
    cut = f"{call[:SHOWN_ARGUMENTS]} … (cut; --json has all)" if len(call) > SHOWN_ARGUMENTS else call
    console.print(Text(cut), soft_wrap=True)
    facts = [state_text(job, now), *(Text(one_line(fact)) for fact in _facts(life))]
    console.print(Text(", ").join(facts), soft_wrap=True)
    if where := life.whereabouts:
        console.print(Text(one_line(where), style="yellow"), soft_wrap=True)


def _facts(life: Life) -> Iterator[str]:
    job = life.job
    if job.queue:
        yield f"queue {job.queue}"
    if job.priority:
        yield f"priority {job.priority}"
    if life.fire is not None:
        yield planned_text(life.fire)
    elif job.schedule:
        yield f"schedule {job.schedule}"
    if job.tags:
        yield f"tags {' '.join(job.tags)}"
    if job.replay_of:
        yield f"replay of {job.replay_of}"
    if job.group_id:
        yield f"group {job.group_id}"


def _print_timeline(console: Console, life: Life, zone: tzinfo) -> None:
    _heading(console, f"timeline ({zone})")
    hidden = max(len(life.attempts) - SHOWN_ATTEMPTS, 0)
    if hidden:
        console.print(Text(f"  {counted(hidden, 'earlier attempt')}; --json has all", style="dim"))
    rows = []
    for event in life.events(hidden):
        offset = Text(f"+{_length(life.beginning, event.at)}", style="dim")
        rows.append((Text(f"{event.at.astimezone(zone):%Y-%m-%d %H:%M:%S.%f}"[:-3]), offset, _told(event)))
    print_rows(console, rows, indent=2)
    console.print(Text(f"  {_timings(life)}", style="dim"), soft_wrap=True)


def _told(event: Event) -> Text:
    text = Text(event.text, style="dim" if event.what in (What.DUE, What.WAITS) else "")
    if event.what in (What.ENDED, What.FINISHED):
        text.stylize(OUTCOME_COLOURS.get(event.outcome, ""))
    if event.what is What.ENDED:
        text = Text(f"attempt {event.attempt} ").append_text(text)
    if event.what in (What.BLOCKED, What.BURIED):
        text.stylize("red")
    return text.append(f": {event.error}", style="red") if event.error else text


def _timings(life: Life) -> str:
    job, parts = life.job, []
    if job.enqueued_at and life.attempts:
        parts.append(f"waited {_length(job.enqueued_at, life.attempts[0].started_at)}")
    ran = [phase for phase in life.phases if phase.attempt and phase.end]
    if ran:
        total = duration(sum(phase.seconds(life.now) for phase in ran))
        parts.append(f"ran {total}" + (f" in {len(ran)} attempts" if len(ran) > 1 else ""))
    if job.state is State.RUNNING and job.started_at:
        parts.append(f"running for {_length(job.started_at, life.now)}")
    if job.enqueued_at and job.finished_at:
        parts.append(f"ended {_length(job.enqueued_at, job.finished_at)} after it was enqueued")
    return ", ".join(parts)


def _length(start: datetime, end: datetime) -> str:
    return duration((end - start).total_seconds())


def _print_phases(console: Console, life: Life) -> None:
    """A bar for each time in which the job waited or ran, all on one scale."""
    shown = life.phases[-2 * SHOWN_ATTEMPTS :]
    if not shown:
        return
    _heading(console, "phases")
    lengths = [duration(phase.seconds(life.now)) for phase in shown]
    name_width, length_width = max(len(phase.name) for phase in shown), max(map(len, lengths))
    notes = [_note(phase) for phase in shown]
    fixed = 2 + name_width + GAP + length_width + GAP
    width = max(console.width - fixed - GAP - max(map(len, notes)), NARROWEST_BAR)
    start, end = shown[0].start, max(phase.end or life.now for phase in shown)
    for phase, length, note in zip(shown, lengths, notes, strict=True):
        line = Text(f"  {phase.name:<{name_width}}{' ' * GAP}{length:>{length_width}}{' ' * GAP}")
        line.append_text(_bar(phase, start, end, life.now, width))
        line.append(f"{' ' * GAP}{note}", style=_colour(phase))
        line.rstrip()
        console.print(line, soft_wrap=True)


def _bar(phase: Phase, start: datetime, end: datetime, now: datetime, width: int) -> Text:
    """Where the phase lies between two moments; at least one character, so that a short one is seen."""
    scale = width / max((end - start).total_seconds(), 1e-6)
    first = min(round((phase.start - start).total_seconds() * scale), width - 1)
    last = max(min(round(((phase.end or now) - start).total_seconds() * scale), width), first + 1)
    cells = ("█" if phase.attempt else "░") * (last - first)
    return Text(" " * first).append(cells, style=_colour(phase)).append(" " * (width - last))


def _note(phase: Phase) -> str:
    return ("so far" if phase.end is None else "") if not phase.outcome else phase.outcome


def _colour(phase: Phase) -> str:
    if phase.attempt is None:
        return "dim"
    return OUTCOME_COLOURS.get(phase.outcome, "cyan")


def _print_family(console: Console, life: Life, now: datetime) -> None:
    _print_tree(console, life, now)
    if life.chord:
        ended = life.chord.total - life.chord.remaining
        then = f", the last {distance(life.chord.fired_at, now)}" if life.chord.fired_at else ""
        _heading(console, "chord")
        console.print(Text(f"  {ended:,} of its {counted(life.chord.total, 'part')} have ended{then}"))
    if life.replays:
        _heading(console, "replayed as")
        for replay in life.replays:
            console.print(Text("  ").append_text(_member(replay, now)), soft_wrap=True)


def _print_tree(console: Console, life: Life, now: datetime) -> None:
    if not (life.job.parent_id or life.children):
        return
    _heading(console, "family")
    this = Text("this job", style="bold")
    if life.job.parent_id:
        known = (
            _member(life.parent, now) if life.parent else Text(f"{one_line(life.job.parent_id)} (not in the ledger)")
        )
        tree = Tree(known, guide_style="dim")
        branch = tree.add(this)
    else:
        tree = branch = Tree(this, guide_style="dim")
    for child in life.children[:SHOWN_CHILDREN]:
        branch.add(_member(child, now))
    if len(life.children) > SHOWN_CHILDREN:
        branch.add(Text("and more; --json has all", style="dim"))
    console.print(Padding(tree, (0, 0, 0, 2)))


def _member(row: JobRow, now: datetime) -> Text:
    return Text(f"{one_line(short_id(row.id))}  {one_line(row.task)}  ").append_text(state_text(row, now))


def _print_reports(console: Console, life: Life) -> None:
    """How far it says that it is, and where its log is read."""
    if (progress := life.progress) is not None:
        _heading(console, "reported")
        told = [progress_in_words(progress, life.rate), f"reported {distance(progress.at, life.now)}"]
        console.print(Text(f"  {', '.join(told)}"), soft_wrap=True)
    if life.lines:
        _heading(console, "log")
        hint = f"  {counted(life.lines, 'line')}; `jobs logs {one_line(short_id(life.job.id))}` prints them"
        console.print(Text(hint), soft_wrap=True)


def _print_error(console: Console, job: JobRow) -> None:
    if not job.error_type:
        return
    print_block(console, "error", f"{job.error_type}: {job.error_message or ''}", style="red")
    fingerprint = job.error_fingerprint
    if fingerprint:
        hint = f"  fingerprint {fingerprint}; `jobs list --error {fingerprint}` finds its like"
        console.print(Text(hint, style="dim"), soft_wrap=True)
    if job.error_traceback:
        print_block(console, "traceback", job.error_traceback, from_end=True)


def print_block(console: Console, title: str, text: str, style: str = "", from_end: bool = False) -> None:
    """``text`` indented; what is too long is cut, and says so. Of a traceback the end is what matters."""
    _heading(console, title)
    text = printable(text).rstrip()
    bounded = text[-SHOWN_CHARACTERS:] if from_end else text[:SHOWN_CHARACTERS]
    lines = bounded.splitlines()
    kept = lines[-SHOWN_LINES:] if from_end else lines[:SHOWN_LINES]
    parts = [Text("\n".join(f"  {line}" for line in kept), style=style)]
    if len(kept) < len(lines) or len(bounded) < len(text):
        size = f"{len(text):,} characters in {counted(len(text.splitlines()), 'line')}"
        parts.insert(0 if from_end else 1, Text(f"  … cut: {size}; --json has all", style="dim"))
    for part in parts:
        console.print(part, soft_wrap=True)


def print_audit(console: Console, entries: list[AuditRow], zone: tzinfo) -> None:
    if entries:
        _heading(console, f"audit ({zone})")
    for entry in entries:
        details = f" {json.dumps(entry.details, ensure_ascii=False, default=json_form)}" if entry.details else ""
        event = one_line(f"{entry.action} by {entry.actor}{details}")
        console.print(Text(f"  {entry.at.astimezone(zone):%Y-%m-%d %H:%M:%S}  {event}"), soft_wrap=True)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=json_form)
