"""`jobs show` of a job that has no row yet."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from penstock.cli.output import COLOURS, print_json
from penstock.cli.portrait import print_audit
from penstock.job import State
from penstock.operations.jobs.as_json import waiting_as_json
from penstock.operations.jobs.waiting import Waiting
from penstock.operations.wording import planned_text
from penstock.wording import distance, one_line


def print_waiting(console: Console, waiting: Waiting, why: str, as_json: bool) -> None:
    """In the form of `jobs show`.

    Args:
        why: it waits.
    """
    if as_json:
        print_json(waiting_as_json(waiting))
        return
    now = datetime.now(UTC)
    console.print(Text(one_line(waiting.id), style="bold"), soft_wrap=True)
    facts = Text(waiting.state.value, style=COLOURS[waiting.state])
    if waiting.queue:
        facts.append(f", queue {one_line(waiting.queue)}", style="default")
    if waiting.since:
        word = "due" if waiting.state is State.SCHEDULED else "enqueued"
        facts.append(f", {word} {distance(waiting.since, now)}", style="default")
    if waiting.fire:
        facts.append(f", {one_line(planned_text(waiting.fire))}", style="default")
    facts.append(f"; {one_line(why)}", style="default")
    console.print(facts, soft_wrap=True)
    print_audit(console, waiting.audit, UTC)
