"""Many jobs for machines, as tab-separated lines."""

from __future__ import annotations

import click

from penstock.cli.paging import more_of
from penstock.ledger.search import Page
from penstock.operations.wording import error_in_short
from penstock.wording import one_line


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
