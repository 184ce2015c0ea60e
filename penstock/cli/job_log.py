"""`jobs logs`: what a job has logged, line by line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.text import Text

from penstock.app import PenstockApp
from penstock.cli.output import json_form
from penstock.client import Job
from penstock.log import LogLine, level_of
from penstock.operations.jobs.as_json import line_as_json
from penstock.operations.jobs.watching import jobs_of, require_known, watch_jobs
from penstock.operations.wording import short_id
from penstock.wording import counted, one_line, printable

INDENT = " " * 4
COLOURS = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


def print_log(
    app: PenstockApp, console: Console, given: str, *, level: str, after: str | None, follow: bool, as_json: bool
) -> None:
    """The lines that are kept, and with ``follow`` those that come until the job has ended.

    Raises:
        JobNotFound: nobody knows it, or its id is the beginning of several.
    """
    (job,) = jobs_of(app, [given])
    printer = LinePrinter(console, ZoneInfo(app.settings.timezone), level=level, as_json=as_json)
    if not follow:
        log = job.logs(after=after)
        if not log.lines:
            # A job that a worker has just claimed may have lines before it has a row.
            require_known(job)
        printer.print(job, log.lines)
        printer.print_gap(job, log.left_out)
        return
    news = None
    for _, news in watch_jobs(app, [job], after):
        printer.print(job, news.lines)
    printer.print_gap(job, news.left_out if news else 0)


class LinePrinter:
    """Prints lines of one job, or of several whose short ids stand in front."""

    def __init__(
        self, console: Console, zone: tzinfo, *, level: str = "debug", as_json: bool = False, names: bool = False
    ) -> None:
        self._console = console
        self._zone = zone
        self._level = level_of(level)
        self._as_json = as_json
        self._names = names
        self._gaps: dict[str, int] = {}
        self._attempts: dict[str, int] = {}

    def print(self, job: Job[Any], lines: Iterable[LogLine]) -> None:
        """Prints those of the level, and before each how many are left out."""
        for line in lines:
            self._gaps[job.id] = self._gaps.get(job.id, 0) + line.left_out
            if number_of(line.level) < self._level:
                continue
            gap = self._gaps.pop(job.id)
            if self._as_json:
                click.echo(json.dumps({"job": job.id, **line_as_json(line), "left_out": gap}, default=json_form))
                continue
            self.print_gap(job, gap)
            self._print_attempt(job, line)
            self.say(job, self._text(line))

    def print_gap(self, job: Job[Any], count: int) -> None:
        """Says that lines are left out, if there are any."""
        if count and not self._as_json:
            self.say(job, Text(f"… {counted(count, 'line')} left out …", style="dim"))

    def say(self, job: Job[Any], text: Text) -> None:
        """Prints one line, with the job's name where there are several."""
        name = Text(f"{short(job)} ", style="dim") if self._names else Text()
        text = name.append_text(text)
        self._console.print(self._wrapped(text) if self._console.is_terminal else text, soft_wrap=True)

    def _wrapped(self, text: Text) -> Text:
        """At words, and what goes on stands as far in as further lines do."""
        lines: list[Text] = []
        for line in text.split("\n", allow_blank=True):
            first, *rest = line.wrap(self._console, self._console.width - len(INDENT)) or [line]
            lines += [first, *(Text(INDENT).append_text(each) for each in rest)]
        return Text("\n").join(lines)

    def _print_attempt(self, job: Job[Any], line: LogLine) -> None:
        before = self._attempts.get(job.id, 1)
        if line.start != before:
            self.say(job, Text(f"── attempt {line.start} ──", style="bold"))
        self._attempts[job.id] = line.start

    def _text(self, line: LogLine) -> Text:
        text = Text(f"{line.at.astimezone(self._zone):%Y-%m-%d %H:%M:%S.%f}"[:-3], style="dim")
        text.append(f" {line.level:<7} ", style=f"not dim {COLOURS.get(line.level, '')}".strip())
        text.append(f"{one_line(line.logger)}: ", style="dim")
        first, *rest = printable(line.text).rstrip("\n").split("\n")
        colour = COLOURS.get(line.level, "")
        text.append(first, style=f"not dim {colour}".strip())
        for each in rest:
            # Further back than a line of its own, so that no text passes for another line of the log.
            text.append(f"\n{INDENT}{each}", style=f"not dim {colour}".strip())
        return text


def short(job: Job[Any]) -> str:
    """Its id in short, for a terminal."""
    return one_line(short_id(job.id))


def number_of(level: str) -> int:
    """Python's number of a level; of one that somebody has made up, as ``Level 25``, the one in its name."""
    known = logging.getLevelName(level)
    if isinstance(known, int):
        return known
    digits = level.rpartition(" ")[2]
    return int(digits) if digits.isdigit() else logging.INFO
