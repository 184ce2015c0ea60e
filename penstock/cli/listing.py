"""Many jobs for machines: tab-separated lines, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from penstock.cli.wording import error_in_short, one_line
from penstock.ledger.rows import JobRow


def job_as_json(row: JobRow) -> dict[str, Any]:
    """Every column of the job, and its runtime in seconds."""
    return {**asdict(row), "runtime": row.runtime}


def print_lines(rows: Sequence[JobRow]) -> None:
    """One job a line: id, task, queue, state, reason, attempts, started, runtime, error, separated by tabs.

    No heading and nothing cut; times in ISO 8601, lengths in seconds; an empty column where nothing is known.
    """
    for row in rows:
        started = row.started_at.isoformat() if row.started_at else ""
        runtime = "" if row.runtime is None else f"{row.runtime:.6f}"
        what = (row.id, row.task, row.queue or "", row.state, row.reason or "")
        columns = (*what, str(row.attempts), started, runtime, error_in_short(row))
        click.echo("\t".join(one_line(column) for column in columns))
