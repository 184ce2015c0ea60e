"""What `jobs cancel` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from penstock.app import PenstockApp
from penstock.cli.command import actor
from penstock.cli.output import print_json
from penstock.errors import NotCancellable
from penstock.ledger.rows import JobRow
from penstock.operations.jobs.cancel import Meaning, cancel
from penstock.operations.wording import counted, distance


def cancel_each(app: PenstockApp, given: Sequence[str], terminate: bool, as_json: bool) -> None:
    """What it means for each job.

    Raises:
        NotCancellable: some had ended already, and the others were cancelled.
    """
    done = cancel(app, given, terminate=terminate, actor=actor())
    means = {id: _in_words(meaning) for id, meaning in done.means.items()}
    if as_json:
        print_json([{"job": id, "workers": done.workers, "means": text} for id, text in means.items()])
    else:
        for id, text in means.items():
            click.echo(f"{id}: {_heard(done.workers)}; {text}")
    if done.ended:
        raise NotCancellable("\n".join(f"{row.id} {_ending(row)}" for row in done.ended))


def _in_words(meaning: Meaning) -> str:
    if meaning is Meaning.RUNS_ON:
        return "it runs to its end (--terminate stops it), and is not retried"
    return meaning.value


def _heard(workers: Sequence[str]) -> str:
    return f"{counted(len(workers), 'worker')} heard it" if workers else "noted; no worker has heard it yet"


def _ending(row: JobRow) -> str:
    ago = f" {distance(row.finished_at, datetime.now(UTC))}" if row.finished_at else ""
    return f"has already ended: {row.state}{ago}"
