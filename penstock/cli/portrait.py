"""A job's life for people: head, timeline, family, result or error, audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from penstock.cli.life import Life
from penstock.cli.output import COLOURS, json_form, print_rows
from penstock.cli.table import state_text
from penstock.cli.wording import counted, distance, duration, one_line, printable, short_id
from penstock.job import State
from penstock.ledger.recording.attempts import LOST
from penstock.ledger.rows import AttemptRow, AuditRow, JobRow

SHOWN_CHILDREN = 20
SHOWN_ATTEMPTS = 20
SHOWN_ARGUMENTS = 500
SHOWN_ERROR = 200
SHOWN_LINES = 40
SHOWN_CHARACTERS = 4000
OUTCOME_COLOURS = {state.value: colour for state, colour in COLOURS.items()} | {
    "retried": "yellow",
    "requeued": "yellow",
}


def print_life(console: Console, life: Life, zone: tzinfo) -> None:
    """In paragraphs with a heading each; times in ``zone``."""
    now = datetime.now(UTC)
    _print_head(console, life.job, now)
    _print_timeline(console, life, zone, now)
    _print_family(console, life, now)
    if life.job.state is State.SUCCEEDED:
        print_block(console, "result", _pretty(life.job.result))
    elif life.job.progress is not None:
        print_block(console, "progress", _pretty(life.job.progress))
    _print_error(console, life.job)
    print_audit(console, life.audit, zone)


def _print_head(console: Console, job: JobRow, now: datetime) -> None:
    console.print(Text(one_line(job.id), style="bold"), soft_wrap=True)
    call = one_line(f"{job.task}({_arguments(job)})")
    cut = f"{call[:SHOWN_ARGUMENTS]} … (cut; --json has all)" if len(call) > SHOWN_ARGUMENTS else call
    console.print(Text(cut), soft_wrap=True)
    facts = [state_text(job, now), *(Text(one_line(fact)) for fact in _facts(job))]
    console.print(Text(", ").join(facts), soft_wrap=True)


def _arguments(job: JobRow) -> str:
    """As they would be written in Python."""
    args = job.args if isinstance(job.args, list) else []
    kwargs = job.kwargs if isinstance(job.kwargs, dict) else {}
    return ", ".join([*(repr(value) for value in args), *(f"{name}={value!r}" for name, value in kwargs.items())])


def _facts(job: JobRow) -> Iterator[str]:
    if job.queue:
        yield f"queue {job.queue}"
    if job.priority:
        yield f"priority {job.priority}"
    if job.schedule:
        yield f"schedule {job.schedule}"
    if job.replay_of:
        yield f"replay of {job.replay_of}"


def _print_timeline(console: Console, life: Life, zone: tzinfo, now: datetime) -> None:
    _heading(console, f"timeline ({zone})")
    rows = []
    before: datetime | None = None
    for moment, event in _events(life, now):
        since = Text(f"+{_length(before, moment)}" if before else "", style="dim", justify="right")
        rows.append((Text(f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S.%f}"[:-3]), since, event))
        before = moment
    print_rows(console, rows, indent=2)
    console.print(Text(f"  {_timings(life, now)}", style="dim"), soft_wrap=True)


def _events(life: Life, now: datetime) -> Iterator[tuple[datetime, Text]]:
    job, shown = life.job, life.attempts[-SHOWN_ATTEMPTS:]
    if job.enqueued_at:
        yield job.enqueued_at, Text("enqueued")
    if len(shown) < len(life.attempts):
        hidden = counted(len(life.attempts) - len(shown), "earlier attempt")
        yield life.attempts[0].started_at, Text(f"{hidden}; --json has all", style="dim")
    for attempt in shown:
        worker = one_line(attempt.worker or "an unnamed worker")
        yield attempt.started_at, Text(f"attempt {attempt.number} starts on {worker}")
        if attempt.finished_at:
            yield attempt.finished_at, _end(attempt)
    if job.finished_at and not any(attempt.finished_at == job.finished_at for attempt in shown):
        yield job.finished_at, state_text(job, now)
    if job.state is State.SCHEDULED and job.eta:
        yield job.eta, Text(f"due {distance(job.eta, now)}", style="dim")


def _end(attempt: AttemptRow) -> Text:
    outcome = attempt.outcome or "ended"
    end = Text(f"attempt {attempt.number} ").append(outcome, style=OUTCOME_COLOURS.get(outcome, ""))
    if outcome == LOST:
        end.append(": its worker died or fell silent", style="red")
    if attempt.error_type:
        error = one_line(f"{attempt.error_type.rpartition('.')[2]}: {attempt.error_message or ''}")
        end.append(f": {error[:SHOWN_ERROR]}{'…' if len(error) > SHOWN_ERROR else ''}", style="red")
    return end


def _timings(life: Life, now: datetime) -> str:
    job, parts = life.job, []
    if job.enqueued_at and life.attempts:
        parts.append(f"waited {_length(job.enqueued_at, life.attempts[0].started_at)}")
    closed = [attempt for attempt in life.attempts if attempt.finished_at]
    if closed:
        ran = sum(
            (attempt.finished_at - attempt.started_at).total_seconds() for attempt in closed if attempt.finished_at
        )
        parts.append(f"ran {duration(ran)}" + (f" in {len(closed)} attempts" if len(closed) > 1 else ""))
    if job.state is State.RUNNING and job.started_at:
        parts.append(f"running for {_length(job.started_at, now)}")
    if job.enqueued_at and job.finished_at:
        parts.append(f"ended {_length(job.enqueued_at, job.finished_at)} after it was enqueued")
    return ", ".join(parts)


def _length(start: datetime, end: datetime) -> str:
    return duration((end - start).total_seconds())


def _print_family(console: Console, life: Life, now: datetime) -> None:
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
