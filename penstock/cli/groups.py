"""Failed jobs by error, for people and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from penstock.cli.output import GAP, print_rows
from penstock.cli.portrait import print_block
from penstock.ledger.failure_groups import FailureGroup, Groups
from penstock.ledger.rows import JobRow
from penstock.operations.failures.groups import Group, trend_of
from penstock.operations.wording import error_in_short, in_short
from penstock.wording import counted, distance, one_line

FAILED = "failed"
BARS = "▁▂▃▄▅▆▇█"
NONE_AT_ALL = "·"
DELETED = "(retention has deleted its last job)"


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
        Text(sparkline(trend_of(group, since)), style="red"),
    ]


def _job_cells(job: JobRow, now: datetime) -> Sequence[Text]:
    when = distance(job.finished_at, now) if job.finished_at else ""
    return [Text(one_line(job.id)), Text(when, style="dim"), Text(one_line(job.error_message or ""))]


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
