"""`celery -A workers why JOB`: why a job does not run."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from penstock.cli.command import Command, Word, booked_app_of

WORD = Word()


@click.command(cls=Command, short_help="Why a job does not run, in one sentence.")
@click.argument("id", metavar="JOB", type=WORD)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object: id, reasons (for machines), sentence and facts."
)
@click.pass_context
def why(context: click.Context, /, id: str, as_json: bool) -> None:
    """Tells in one sentence why a job does not run, and the facts behind it. Of one that runs or has ended it says so.

    JOB is an id; its first characters are enough for a job that has a row. The id of a group tells of its chord, that
    of a dead letter of what was quarantined, and the name of a schedule of the planned time that waits for an earlier
    job.

    No worker is asked: Redis and the ledger know. Where one of both does not answer, the other tells what it knows.

    Exit code: 0 told, 1 nobody has heard of it (the sentence on stderr says what may be), 2 wrong usage.

    \b
    Examples:
      celery -A workers why 3f2a91c0
      celery -A workers why 3f2a91c0-8a55-4c0e-9d9a-0d3c8f1f2b7e --json
    """
    from rich.text import Text

    from penstock.cli.output import console_of, print_json, print_rows
    from penstock.operations.jobs.why import why as ask

    app = booked_app_of(context)
    found = ask(app, id)
    if as_json:
        told = {"id": found.id, "reasons": found.names, "sentence": found.sentence, "facts": found.facts}
        print_json(told)
        return
    console = console_of(context)
    console.print(Text(found.spoken), soft_wrap=not console.is_terminal)
    zone = ZoneInfo(app.settings.timezone)
    rows = [[Text(name, style="dim"), Text(_shown(value, zone))] for name, value in found.facts.items()]
    print_rows(console, rows, indent=2)


def _shown(value: Any, zone: ZoneInfo) -> str:
    from penstock.wording import one_line

    if isinstance(value, datetime):
        return f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))
