"""`celery -A workers queues …`: what waits where, and stopping, starting and emptying queues."""

from __future__ import annotations

from datetime import datetime

import click

from penstock.cli.command import Group, Since, Word, any_app_of, booked_app_of, in_zone

WORD = Word()
STEPS = ("1m", "5m", "15m", "1h", "6h")
QUEUES = click.argument("names", metavar="[QUEUE]...", type=WORD, nargs=-1)


@click.group(cls=Group)
def queues() -> None:
    """Queues: what waits in them; pause, resume and purge them.

    Known are the queues that this app names and those that Redis remembers. They work on any Celery app whose
    broker is Redis; stock workers beside ours obey no pause.

    Exit code: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage.
    """


@queues.command("list")
@QUEUES
@click.option("--json", "as_json", is_flag=True, help="One JSON array with an object for each queue.")
@click.pass_context
def list_queues(context: click.Context, /, names: tuple[str, ...], as_json: bool) -> None:
    """Lists queues, all of them or those that are named.

    \b
    ready      messages that wait to be claimed
    oldest     how long the first of them has waited, if its producer says
    in flight  claimed by workers: running, or about to
    parked     not due yet
    blocked    put aside: of tasks that no worker so far knew (see
               `failures list`), or behind an open breaker (see
               `failures breakers`)
    paused     since when, by whom and why nothing is claimed

    In a pipe each queue is one line of tab-separated columns: queue, ready, oldest in seconds, in flight, parked,
    blocked, paused since, by, note.

    \b
    Examples:
      celery -A workers queues list
      celery -A workers queues list default --json
    """
    from penstock.cli.output import console_of, print_json
    from penstock.cli.queue_table import print_lines, print_table, status_as_json
    from penstock.operations.queues import look

    console = console_of(context)
    found = look(any_app_of(context), names)
    if as_json:
        print_json([status_as_json(status) for status in found.queues])
    elif console.is_terminal:
        print_table(console, found)
    else:
        print_lines(found)


@queues.command("watch")
@QUEUES
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--times", type=click.IntRange(1), help="End after so many looks.  [default: Ctrl-C]")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each look.")
@click.pass_context
def watch_queues(
    context: click.Context, /, names: tuple[str, ...], interval: float, times: int | None, as_json: bool
) -> None:
    """Shows `queues list` again and again, with how each depth has changed since the look before.

    In a pipe each look prints its lines, with the time in front and the change of depth at the end.

    \b
    Example:
      celery -A workers queues watch default --interval 5
    """
    from penstock.cli.output import console_of
    from penstock.cli.queue_watch import watch

    watch(any_app_of(context), console_of(context), names, interval=interval, times=times, as_json=as_json)


@queues.command("history", short_help="Shows how a queue has been over time.")
@click.argument("name", metavar="QUEUE", type=WORD)
@click.option(
    "--since",
    type=Since(),
    default="1h",
    show_default=True,
    help="From 30m, 2h, 1d ago on, or from an ISO time (zone: PENSTOCK_TIMEZONE).",
)
@click.option("--step", type=click.Choice(STEPS), help="Length of each step.  [default: what suits the time]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: what came of it, and a point for each step.")
@click.pass_context
def show_history(context: click.Context, /, name: str, since: datetime, step: str | None, as_json: bool) -> None:
    """Shows how deep and how late a queue has been, what came in and went out, and how long jobs waited and ran.

    It is what keepers have measured at the beginning of each minute and counted until its end, of the last two days
    (PENSTOCK_RETENTION, series). Where none was there, there is a gap. A percentile may be 15% too high or too low.

    In a pipe each step is one line of tab-separated columns: time, ready, oldest in seconds, in flight, parked,
    blocked; accepted, succeeded, failed, cancelled and retried per second; p50, p95 and p99 of waits and of runs.

    \b
    Examples:
      celery -A workers queues history default
      celery -A workers queues history default --since 1d --step 15m --json
    """
    from penstock.cli.output import console_of
    from penstock.cli.queue_history import print_history
    from penstock.operations.history import look_back

    app = booked_app_of(context)
    begin = in_zone(since, app.settings.timezone) or since
    print_history(console_of(context), look_back(app, name, begin, step), as_json)


@queues.command("pause", short_help="Stops claims from a queue.")
@click.argument("name", metavar="QUEUE", type=WORD)
@click.option("--note", type=WORD, help="Why, for those who find it paused.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def pause_queue(context: click.Context, /, name: str, note: str | None, as_json: bool) -> None:
    """Stops all workers from claiming from a queue, until `queues resume`.

    It is kept in Redis: it holds for the whole cluster at once and survives restarts. Jobs that run go on, and
    producers go on submitting. What a worker had claimed before (at most its prefetch) still runs.

    \b
    Example:
      celery -A workers queues pause web --note "the API is down until 14:00"
    """
    from penstock.cli.queue_work import pause

    pause(any_app_of(context), name, note or "", as_json)


@queues.command("resume", short_help="Lets workers claim from a queue again.")
@click.argument("name", metavar="QUEUE", type=WORD)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def resume_queue(context: click.Context, /, name: str, as_json: bool) -> None:
    """Lets workers claim from a paused queue again; idle ones do at once.

    \b
    Example:
      celery -A workers queues resume web
    """
    from penstock.cli.queue_work import resume

    resume(any_app_of(context), name, as_json)


@queues.command("purge", short_help="Deletes what waits in a queue.")
@click.argument("name", metavar="QUEUE", type=WORD)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with what went.")
@click.pass_context
def purge_queue(context: click.Context, /, name: str, yes: bool, as_json: bool) -> None:
    """Deletes what waits in a queue: ready, parked and blocked messages, those behind an open breaker
    too. What is in flight stays.

    Asks first, and says how many go. The ledger records their jobs as cancelled, as far as the messages say which
    they are, and the audit how many there were. Messages that producers add meanwhile stay.

    \b
    Example:
      celery -A workers queues purge web --yes
    """
    from penstock.cli.queue_work import purge

    purge(any_app_of(context), name, yes, as_json)


@queues.command("peek", short_help="Shows the next messages of a queue.")
@click.argument("name", metavar="QUEUE", type=WORD)
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many are shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array with all that the messages say.")
@click.pass_context
def peek_queue(context: click.Context, /, name: str, limit: int, as_json: bool) -> None:
    """Shows the ready messages that come next, in the order in which they will be claimed, and leaves them there.

    In a pipe each message is one line of tab-separated columns: priority step, job, task, age in seconds, call.

    \b
    Example:
      celery -A workers queues peek default --limit 3
    """
    from penstock.cli.output import console_of
    from penstock.cli.queue_work import peek

    peek(any_app_of(context), console_of(context), name, limit, as_json)
