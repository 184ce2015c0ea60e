"""`celery -A workers release`: the way back to stock Celery."""

from __future__ import annotations

import click

from penstock.cli.command import Command, any_app_of


@click.command(cls=Command, short_help="Puts everything back to where stock Celery finds it.")
@click.option("--all", "everything", is_flag=True, help="Of every queue; there is no less than that.")
@click.option("--unacked", is_flag=True, help="Also, at once, what stock workers took and never acknowledged.")
@click.option("--wait", type=click.FloatRange(0, 86_400), default=0.0, help="Seconds to wait for workers to end.")
@click.option("--force", is_flag=True, help="Take running workers' jobs away; they may run twice.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with what went back.")
@click.pass_context
def release(
    context: click.Context, /, everything: bool, unacked: bool, wait: float, force: bool, as_json: bool
) -> None:
    """Puts everything back to where stock Celery finds it, to go back to it or to another version.

    Messages in flight go to the front of their queues, parked and blocked ones to the end, and paused queues are
    opened. Then any stock worker can drain them. Refuses while workers of ours hold a lease: end them first. It
    may be repeated at any time, and does nothing when there is nothing.

    What stock workers have taken is theirs, until kombu's visibility timeout has passed. --unacked does not wait
    for that; it refuses while a stock worker answers.

    Exit code: 0 when everything is back, 1 refused or failed (the reason is on stderr), 2 wrong usage.

    \b
    Example, after your workers have been told to end:
      celery -A workers release --all --wait 60
    """
    if not everything:
        raise click.UsageError("say --all: all queues are released together")
    from penstock.cli.releasing import go_back

    go_back(any_app_of(context), unacked=unacked, wait=wait, force=force, as_json=as_json)
