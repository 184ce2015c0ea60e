"""`celery -A workers workers …`: what workers do, and which one is stuck."""

from __future__ import annotations

import click

from penstock.cli.command import Group, Word, any_app_of

WORD = Word()


@click.group(cls=Group)
def workers() -> None:
    """Workers: what their processes do, and which one is stuck.

    They work on any Celery app whose broker is Redis; of stock workers they know what Celery tells. What workers are
    told goes by Celery's own command: `control pool_grow`, `pool_shrink`, `shutdown`, and our `stop_claiming` and
    `claim_again`, each with `--destination NAME`.

    Exit code: 0 well, 1 a worker is stuck, or refused or failed (the reason is on stderr), 2 wrong usage.
    """


@workers.command("list", short_help="Lists workers, those that are stuck first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array with an object for each worker.")
@click.pass_context
def list_workers(context: click.Context, /, as_json: bool) -> None:
    """Lists the workers that answer, and those that hold a lease and do not.

    \b
    stuck     it does not answer, stands still, claims nothing while jobs wait, or
              runs a job for ten times as long as its task takes as a rule
    draining  it ends after its jobs, and answers nobody meanwhile
    paused    it claims nothing, because somebody wants that
    answers   a stock worker; no more is known
    well      none of these

    In a pipe each worker is one line of tab-separated columns: worker, state, jobs that run, children, memory in KiB,
    queues, why.

    Exit code: 0 when no worker is stuck, 1 otherwise.

    \b
    Example:
      celery -A workers workers list
    """
    from penstock.cli.output import console_of, print_json
    from penstock.cli.worker_table import as_json as json_of
    from penstock.cli.worker_table import print_lines, print_table
    from penstock.operations.workers.look import look
    from penstock.operations.workers.view import Verdict

    found = look(any_app_of(context))
    console = console_of(context)
    if as_json:
        print_json([json_of(view) for view in found])
    elif console.is_terminal:
        print_table(console, found)
    else:
        print_lines(found)
    context.exit(int(any(view.verdict is Verdict.STUCK for view in found)))


@workers.command("show", short_help="Shows the processes of one worker.")
@click.argument("name", metavar="NAME", type=WORD)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all that it tells.")
@click.pass_context
def show_worker(context: click.Context, /, name: str, as_json: bool) -> None:
    """Shows one worker: how it is and why, what each child runs for how long, and what its processes take.

    \b
    Example:
      celery -A workers workers show cpu@$HOSTNAME
    """
    from penstock.cli.output import console_of, print_json
    from penstock.cli.worker_table import as_json as json_of
    from penstock.cli.worker_table import print_worker
    from penstock.operations.workers.look import show

    found = show(any_app_of(context), name)
    if as_json:
        print_json(json_of(found))
    else:
        print_worker(console_of(context), found)
