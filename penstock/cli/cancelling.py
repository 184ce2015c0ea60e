"""What `jobs cancel` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.cancelling import Meaning, end_in_words
from penstock.cli.output import print_json
from penstock.errors import NotCancellable
from penstock.ledger.rows import JobRow
from penstock.operations.jobs.cancel import cancel
from penstock.wording import distance


def cancel_each(
    app: PenstockApp, given: Sequence[str], *, grace: float | None, reason: str | None, as_json: bool
) -> None:
    """What it means for each job.

    Raises:
        NotCancellable: some had ended already, and the others were cancelled.
    """
    done = cancel(app, given, actor=actor(), grace=grace, reason=reason)
    means = {id: in_words(meaning, grace) for id, meaning in done.means.items()}
    if as_json:
        print_json([{"job": id, "means": text} for id, text in means.items()])
    else:
        for id, text in means.items():
            click.echo(f"{id}: {text}")
    if done.ended:
        raise NotCancellable("\n".join(f"{row.id} {_ending(row)}" for row in done.ended))


def in_words(meaning: Meaning, grace: float | None) -> str:
    """The meaning, and how long a body that is asked has."""
    if meaning is Meaning.IS_ASKED:
        return f"{meaning}; " + ("nobody ends it" if grace is None else f"after {grace:g} s it is stopped")
    return meaning.value


def _ending(row: JobRow) -> str:
    ago = f" {distance(row.finished_at, datetime.now(UTC))}" if row.finished_at else ""
    return f"has already ended: {end_in_words(row)}{ago}"
