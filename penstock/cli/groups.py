"""Failed jobs by error: finding the groups, and how they look to people and machines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from sqlalchemy import Connection

from penstock.cli.output import GAP, print_rows
from penstock.cli.portrait import print_block
from penstock.job import Reason, State
from penstock.ledger.failure_groups import FailureGroup, GroupFilter, Groups, list_groups, trend
from penstock.ledger.rows import JobRow
from penstock.ledger.search import JobFilter, list_jobs
from penstock.operations.jobs.as_json import job_as_json
from penstock.operations.wording import counted, distance, error_in_short, in_short, one_line

FAILED = "failed"
WINDOW = timedelta(hours=24)
"""In which failed jobs are counted when nobody says since when."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MOST_PARTS = 25
SHOWN_JOBS, SHOWN_TASKS = 10, 20
BARS = "▁▂▃▄▅▆▇█"
NONE_AT_ALL = "·"
DELETED = "(retention has deleted its last job)"
KEPT = (Reason.CRASHED, Reason.REJECTED, Reason.UNREADABLE)
"""Reasons of jobs whose messages are dead letters."""


@dataclass(frozen=True)
class Group:
    """Everything about one error."""

    groups: list[FailureGroup]
    """One for each task that it has hit."""
    since: datetime
    latest: list[JobRow]

    @property
    def fingerprint(self) -> str:
        """Of the error."""
        return self.groups[0].fingerprint

    @property
    def example(self) -> JobRow | None:
        """The newest job whose row is still there."""
        return self.latest[0] if self.latest else None

    @property
    def commands(self) -> dict[str, str]:
        """What can be done about its jobs, by verb; those whose messages were buried are replayed from these."""
        if any(job.reason in KEPT for job in self.latest):
            tasks = sorted({group.task for group in self.groups})
            act = " ; ".join(f"celery -A workers failures VERB --kind buried --task {task}" for task in tasks)
            return {verb: act.replace("VERB", verb) for verb in ("replay", "discard")}
        chosen = f"celery -A workers jobs list --state failed --error {self.fingerprint} --limit 10000"
        return {"replay": f"{chosen} | cut -f1 | xargs celery -A workers jobs retry"}


def since_or_default(since: datetime | None) -> datetime:
    """The beginning of the time in which failed jobs are counted."""
    return since or datetime.now(UTC) - WINDOW


def find_group(connection: Connection, given: str, since: datetime | None) -> Group | None:
    """The error with this fingerprint; None if it is none, or hit nobody since then.

    Without ``since``, one that has been quiet for a day is shown from its beginning.
    """
    if not re.fullmatch("[0-9a-f]{12}", given):
        return None
    begin = since_or_default(since)
    found = list_groups(connection, GroupFilter(since=begin, fingerprint=given), SHOWN_TASKS).groups
    if not found and since is None:
        found = list_groups(connection, GroupFilter(since=LONG_AGO, fingerprint=given), SHOWN_TASKS).groups
        begin = min((group.first_at for group in found), default=begin)
    if not found:
        return None
    latest = list_jobs(connection, JobFilter(error=given, states=(State.FAILED,)), SHOWN_JOBS).jobs
    return Group(found, begin, latest)


def group_as_json(group: FailureGroup, since: datetime) -> dict[str, Any]:
    """For machines: every column, and the trend."""
    hours = {hour.isoformat(): count for hour, count in sorted(group.hours.items())}
    return {**asdict(group), "hours": hours, "trend": _trend(group, since)}


def opened_as_json(opened: Group) -> dict[str, Any]:
    """For machines: the groups by task, the latest jobs with every column, and what can be done."""
    return {
        "groups": [group_as_json(group, opened.since) for group in opened.groups],
        "since": opened.since,
        "jobs": [job_as_json(job) for job in opened.latest],
        "commands": opened.commands,
    }


def group_columns(group: FailureGroup) -> Iterator[str]:
    """As the columns of a failure in a pipe."""
    yield from (group.fingerprint, FAILED, group.job_id, group.task, "", str(group.count), "")
    yield from (group.last_at.isoformat(), "", _error(group))


def print_groups(console: Console, found: Groups, since: datetime) -> None:
    """The error stands below its group: it is a sentence, and the columns are needed for names."""
    now = datetime.now(UTC)
    lines = [_cells(group, since, now) for group in found.groups]
    widths = [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]
    for group, cells in zip(found.groups, lines, strict=True):
        for cell, width in zip(cells, widths, strict=True):
            cell.align("left", width)
        line = Text(" " * GAP).join(cells)
        line.rstrip()
        line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)
        error = Text(_error(group), style="dim")
        error.truncate(2 * console.width, overflow="ellipsis")
        console.print(Padding(error, (0, 0, 0, GAP)))
    console.print(Text(_summary(found, since, now), style="dim"))


def print_group(console: Console, opened: Group) -> None:
    """Everything about one error."""
    now = datetime.now(UTC)
    console.print(Text(opened.fingerprint, style="bold"), soft_wrap=True)
    example = opened.example
    console.print(Text(error_in_short(example) if example else DELETED, style="red"), soft_wrap=True)
    console.print()
    print_rows(console, [_cells(group, opened.since, now)[1:] for group in opened.groups])
    if example and example.error_traceback:
        print_block(console, f"traceback of {one_line(example.id)}", example.error_traceback)
    if opened.latest:
        _print_heading(console, "latest jobs")
        print_rows(console, [_job_cells(job, now) for job in opened.latest], indent=GAP)
    _print_heading(console, "commands")
    for verb, command in opened.commands.items():
        console.print(Text(f"  {verb}: {command}"), soft_wrap=True)


def _print_heading(console: Console, heading: str) -> None:
    console.print()
    console.print(Text(heading, style="bold"))


def _cells(group: FailureGroup, since: datetime, now: datetime) -> list[Text]:
    return [
        Text(group.fingerprint, style="bold red"),
        Text(one_line(group.task)),
        Text(counted(group.count, "job")),
        Text(f"first {distance(group.first_at, now)}", style="dim"),
        Text(f"last {distance(group.last_at, now)}", style="dim"),
        Text(sparkline(_trend(group, since)), style="red"),
    ]


def _job_cells(job: JobRow, now: datetime) -> Sequence[Text]:
    when = distance(job.finished_at, now) if job.finished_at else ""
    return [Text(one_line(job.id)), Text(when, style="dim"), Text(one_line(job.error_message or ""))]


def _trend(group: FailureGroup, since: datetime) -> list[int]:
    return trend(group, since, datetime.now(UTC), MOST_PARTS)


def sparkline(counts: Sequence[int]) -> str:
    """A bar for each count, the highest for the greatest; none at all is no bar."""
    most = max(counts, default=0)
    return "".join(BARS[(count * len(BARS) - 1) // most] if count else NONE_AT_ALL for count in counts)


def _error(group: FailureGroup) -> str:
    return in_short(group.error_type, group.error_message) or DELETED


def _summary(found: Groups, since: datetime, now: datetime) -> str:
    since_when = f"since {distance(since, now)}" if since < now else "from now on"
    if not found.total:
        return f"no job has failed {since_when}"
    more = f"; the largest {len(found.groups):,} listed, --limit lists more" if len(found.groups) < found.total else ""
    return f"{counted(found.total, 'error')} in {counted(found.jobs, 'failed job')} {since_when}{more}"
