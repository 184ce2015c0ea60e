"""Many jobs for machines: tab-separated lines, or JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from penstock.cli.paging import more_of
from penstock.ledger.rows import JobRow
from penstock.ledger.search import Page
from penstock.operations.wording import error_in_short, one_line


def job_as_json(row: JobRow) -> dict[str, Any]:
    """Every column of the job, and its runtime in seconds."""
    return {**asdict(row), "runtime": row.runtime}


def page_as_json(page: Page) -> dict[str, Any]:
    """For machines; ``after`` is None at the end of the list."""
    return {
        "jobs": [job_as_json(row) for row in page.jobs],
        "after": page.after.cursor if page.after else None,
        "is_cut_short": page.is_cut_short,
    }


def print_lines(page: Page) -> None:
    """One job a line: id, task, queue, state, reason, attempts, started, runtime, error, separated by tabs.

    No heading and nothing cut; times in ISO 8601, lengths in seconds; an empty column where nothing is known. That
    there is more goes to stderr: whoever reads the lines takes each for a job.
    """
    for row in page.jobs:
        started = row.started_at.isoformat() if row.started_at else ""
        runtime = "" if row.runtime is None else f"{row.runtime:.6f}"
        what = (row.id, row.task, row.queue or "", row.state, row.reason or "")
        columns = (*what, str(row.attempts), started, runtime, error_in_short(row))
        click.echo("\t".join(one_line(column) for column in columns))
    if page.after:
        click.echo(more_of(page), err=True)
