"""`jobs watch`: how far jobs are, live, with what they log above; or a line for each piece of news."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from penstock.app import PenstockApp
from penstock.cli.job_log import LinePrinter, short
from penstock.cli.output import COLOURS, json_form
from penstock.client import Job
from penstock.job import UNSAID, State
from penstock.operations.jobs.as_json import news_as_json
from penstock.operations.jobs.watching import jobs_of, watch_jobs
from penstock.operations.wording import done_of, error_in_short, per_second, percent, progress_in_words
from penstock.progress import seconds_left
from penstock.watching import News
from penstock.wording import duration, one_line

REFRESHES = 4
"""Times a second that bars are drawn: what runs without a total moves."""
LINE_SECONDS = 1.0
"""Between two lines about a job's progress where there are no bars; the last one is told always."""
BAR_WIDTH, NARROW = 28, 100
"""Columns of a bar, and of a terminal in which it has half of them and the task is left out."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def watch(app: PenstockApp, console: Console, given: Sequence[str], *, level: str, as_json: bool) -> int:
    """Until the last of them has ended; the exit code, 1 if one has not succeeded."""
    jobs = jobs_of(app, given)
    printer = LinePrinter(console, ZoneInfo(app.settings.timezone), level=level, names=len(jobs) > 1)
    try:
        news = watch_jobs(app, jobs)
        if as_json:
            _print_json(news)
        elif console.is_terminal:
            _show(console, jobs, news, printer)
        else:
            _print(news, printer)
    except KeyboardInterrupt:
        click.echo("not watched any more; what has not ended goes on", err=True)
        return INTERRUPTED
    return int(any(job.state is not State.SUCCEEDED for job in jobs))


def _print_json(news: Iterator[tuple[Job[Any], News]]) -> None:
    for job, each in news:
        click.echo(json.dumps(news_as_json(job.id, each), default=json_form))


# -- lines -----------------------------------------------------------------------------------------------------------


def _print(news: Iterator[tuple[Job[Any], News]], printer: LinePrinter) -> None:
    states: dict[str, tuple[State | None, int]] = {}
    told: dict[str, float] = {}
    untold: dict[str, News] = {}
    for job, each in news:
        if states.get(job.id) != (each.state, each.starts) and each.state is State.RUNNING:
            printer.say(job, Text(_state(job, each)))
        states[job.id] = (each.state, each.starts)
        printer.print(job, each.lines)
        is_over = each.state is not None and each.state.is_final
        if each.progress is not None:
            untold[job.id] = each
        if job.id in untold and (is_over or time.monotonic() - told.get(job.id, -LINE_SECONDS) >= LINE_SECONDS):
            told[job.id] = time.monotonic()
            printer.say(job, Text(_told(untold.pop(job.id))))
        if is_over:
            printer.print_gap(job, each.left_out)
            printer.say(job, _end(job))


def _told(news: News) -> str:
    assert news.progress is not None
    is_over = news.state is not None and news.state.is_final
    return f"progress {progress_in_words(news.progress, None if is_over else news.rate)}"


# -- bars ------------------------------------------------------------------------------------------------------------


def _show(
    console: Console, jobs: Sequence[Job[Any]], news: Iterator[tuple[Job[Any], News]], printer: LinePrinter
) -> None:
    bars = _Bars(jobs, console)
    with Live(bars, console=console, refresh_per_second=REFRESHES, redirect_stderr=False) as live:
        for job, each in news:
            printer.print(job, each.lines)
            bars.last[job.id] = each
            if each.state is not None and each.state.is_final:
                printer.print_gap(job, each.left_out)
            live.refresh()


class _Bars:
    """A line for each job; those that say nothing of how far they are have a bar that moves."""

    def __init__(self, jobs: Sequence[Job[Any]], console: Console) -> None:
        self._jobs = jobs
        self._console = console
        self.last: dict[str, News] = {}

    def __rich__(self) -> RenderableType:
        """The table as it is now."""
        is_narrow = self._console.width < NARROW
        table = Table.grid(padding=(0, 2))
        for _ in range(4 if is_narrow else 5):
            table.add_column(no_wrap=True, overflow="ellipsis")
        notes: list[RenderableType] = []
        for job in self._jobs:
            news = self.last.get(job.id)
            names = [Text(short(job), style="bold"), *(() if is_narrow else (_task(job),))]
            bar = _bar(news, BAR_WIDTH // 2 if is_narrow else BAR_WIDTH)
            table.add_row(*names, _state_text(job, news), bar, _facts(news))
            if news is not None and news.state is not None and news.state.is_final:
                if job.row is not None and (error := error_in_short(job.row)):
                    notes.append(_cut(Text(f"{short(job)} {error}", style="red"), self._console))
            elif news is not None and news.progress is not None and news.progress.note:
                note = Text(f"{short(job)} ", style="dim").append(one_line(news.progress.note), style="italic")
                notes.append(_cut(note, self._console))
        return Group(table, *notes)


def _cut(text: Text, console: Console) -> Text:
    text.truncate(console.width, overflow="ellipsis")
    return text


def _task(job: Job[Any]) -> Text:
    name = one_line(job.row.task) if job.row is not None else ""
    return Text(name if len(name) <= BAR_WIDTH else f"…{name[1 - BAR_WIDTH :]}")


def _state_text(job: Job[Any], news: News | None) -> Text:
    if news is None:
        return Text("…", style="dim")
    return Text(_state(job, news), style=COLOURS[news.state] if news.state is not None else "dim")


def _state(job: Job[Any], news: News) -> str:
    state = news.state.value if news.state is not None else "running" if news.starts else "claimed"
    if job.row is not None and job.row.reason is not None and job.row.reason not in UNSAID:
        state = f"{state} ({job.row.reason.value})"
    return f"{state}, attempt {news.starts}" if news.starts > 1 else state


def _bar(news: News | None, width: int) -> RenderableType:
    progress = news.progress if news is not None else None
    is_over = news is not None and news.state is not None and news.state.is_final
    colour = COLOURS[news.state] if news is not None and news.state is not None else "cyan"
    if progress is not None and progress.fraction is not None:
        return ProgressBar(1.0, progress.fraction, width, complete_style=colour, finished_style=colour)
    if news is None or is_over or news.state in (State.QUEUED, State.SCHEDULED, State.BLOCKED):
        done = 1.0 if news is not None and news.state is State.SUCCEEDED else 0.0
        return ProgressBar(1.0, done, width, finished_style=colour)
    return ProgressBar(None, width=width, pulse=True, pulse_style=colour)


def _facts(news: News | None) -> Text:
    progress = news.progress if news is not None else None
    if news is None or progress is None:
        return Text()
    parts = [percent(progress), done_of(progress)]
    if news.state is None or not news.state.is_final:
        left = seconds_left(progress, news.rate)
        parts += [per_second(news.rate), f"{duration(left)} left" if left else ""]
    return Text("  ".join(part for part in parts if part))


def _end(job: Job[Any]) -> Text:
    row = job.row
    assert row is not None
    took = f" after {duration(row.runtime)}" if row.runtime is not None else ""
    error = error_in_short(row)
    ended = f"{row.state.value}{took}" + (f": {error}" if error else "")
    return Text(ended, style=COLOURS[row.state])
