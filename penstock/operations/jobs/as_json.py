"""Jobs for machines: plain values, times and enumerations left to whoever writes the JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from penstock.ledger.reports import ReportRow
from penstock.ledger.rows import JobRow
from penstock.ledger.search import Page
from penstock.log import LogLine
from penstock.operations.jobs.life import Life
from penstock.operations.jobs.timeline import Event, Phase
from penstock.operations.jobs.waiting import Waiting
from penstock.watching import News


def job_as_json(row: JobRow) -> dict[str, Any]:
    """Every column of the job, and its runtime in seconds."""
    return {**asdict(row), "runtime": row.runtime}


def page_as_json(page: Page) -> dict[str, Any]:
    """``after`` is None at the end of the list."""
    return {
        "jobs": [job_as_json(row) for row in page.jobs],
        "after": page.after.cursor if page.after else None,
        "is_cut_short": page.is_cut_short,
    }


def life_as_json(life: Life) -> dict[str, Any]:
    """Relatives by id, task and state; offsets and lengths in seconds."""
    return {
        "job": job_as_json(life.job),
        "attempts": [asdict(attempt) for attempt in life.attempts],
        "timeline": [_event(event, life.beginning) for event in life.events()],
        "phases": [_phase(phase, life.now) for phase in life.phases],
        "parent": _relative(life.parent) if life.parent else None,
        "children": [_relative(child) for child in life.children],
        "replays": [_relative(replay) for replay in life.replays],
        "chord": asdict(life.chord) if life.chord else None,
        "outbox": asdict(life.outbox) if life.outbox else None,
        "failures": [asdict(letter) for letter in life.letters],
        "audit": [asdict(entry) for entry in life.audit],
        "reports": [_said(report) for report in life.reports],
        "fire": asdict(life.fire) if life.fire else None,
    }


def news_as_json(job: str, news: News) -> dict[str, Any]:
    """What a job says, with its id; its lines as :func:`line_as_json` has them."""
    return {
        "job": job,
        "state": news.state,
        "attempt": news.starts,
        "progress": asdict(news.progress) if news.progress else None,
        "rate": news.rate,
        "lines": [line_as_json(line) for line in news.lines],
        "left_out": news.left_out,
        "cursor": news.cursor,
    }


def line_as_json(line: LogLine) -> dict[str, Any]:
    """A line of a job's log; ``left_out`` is how many before it are not kept."""
    return _said(line)


def _said(by: LogLine | ReportRow) -> dict[str, Any]:
    """What one start of a job has said, which commands and pages call an attempt."""
    words = asdict(by)
    return {"attempt": words.pop("start"), **words}


def _event(event: Event, beginning: datetime) -> dict[str, Any]:
    return {**asdict(event), "offset": (event.at - beginning).total_seconds()}


def _phase(phase: Phase, now: datetime) -> dict[str, Any]:
    return {
        "phase": "runs" if phase.attempt else "waits",
        "attempt": phase.attempt,
        "start": phase.start,
        "end": phase.end,
        "seconds": phase.seconds(now),
        "outcome": phase.outcome or None,
    }


def _relative(row: JobRow) -> dict[str, Any]:
    return {"id": row.id, "task": row.task, "state": row.state}


def waiting_as_json(waiting: Waiting) -> dict[str, Any]:
    """With the keys of a job that has a row, as far as they make sense."""
    names = ("id", "state", "queue", "since", "place")
    return {
        "job": {name: getattr(waiting, name) for name in names},
        "attempts": [],
        "timeline": [],
        "phases": [],
        "parent": None,
        "children": [],
        "replays": [],
        "chord": None,
        "outbox": asdict(waiting.outbox) if waiting.outbox else None,
        "failures": [],
        "audit": [asdict(entry) for entry in waiting.audit],
        "reports": [],
        "fire": asdict(waiting.fire) if waiting.fire else None,
    }
