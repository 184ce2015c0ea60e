"""`celery -A workers jobs …`: what became of jobs, and what to do about it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import click

from penstock.cli.command import Group, NamedValue, Since, Word, booked_app_of, in_zone
from penstock.client.job import CANCEL_GRACE
from penstock.job import State

WORD = Word()


@click.group(cls=Group)
def jobs() -> None:
    """Jobs: what became of them; retry and cancel them.

    Every job that a worker has seen is a row of the ledger, until retention deletes it. A job that waits in
    its queue has no row yet; `jobs show` with its full ID tells where it waits.

    Exit code: 0 done, 1 refused or nothing found (the reason is on stderr), 2 wrong usage.
    """


@jobs.command("list")
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in State]),
    multiple=True,
    help="One of these states; repeatable.",
)
@click.option("--task", type=WORD, help="Full name of a task.")
@click.option("--queue", type=WORD, help="Name of a queue.")
@click.option("--schedule", type=WORD, help="Name of the schedule that started them.")
@click.option("--tag", type=WORD, help="A tag that they have, as a whole.")
@click.option(
    "--argument",
    "arguments",
    type=NamedValue(),
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument that was given by name, one of those in PENSTOCK_SEARCHABLE; repeatable.",
)
@click.option(
    "--since",
    type=Since(),
    help="Changed within 30m, 2h, 7d, or since an ISO time (zone: PENSTOCK_TIMEZONE).",
)
@click.option("--until", type=Since(), help="Changed before that, given like --since.")
@click.option("--error", type=WORD, help="Text in the error's type or message, or a fingerprint.")
@click.option("--id", "id_prefix", type=WORD, help="How the id begins.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many are listed.")
@click.option("--after", type=WORD, metavar="CURSOR", help="The page after the one that ended with this cursor.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: jobs with every column, and after, the cursor.")
@click.pass_context
def list_jobs(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """Lists jobs, the most recently changed first.

    When there are more than --limit, the last line has the cursor for --after (in a pipe it goes to stderr). Text in
    errors, tags, arguments, and conditions that no index has together, are looked for in some thousand jobs at a
    time: when the list ends before that, it says how far it looked, and --after looks on.

    On a terminal an error stands at the end of its job's line or below it. In a pipe each job is one line of
    tab-separated columns: id, task, queue, state, reason, attempts, started, runtime, error.

    \b
    Examples:
      celery -A workers jobs list --state failed --since 2h
      celery -A workers jobs list --tag nightly --argument order_id=4711
      celery -A workers jobs list --state failed --error Timeout | cut -f1
    """
    from penstock.cli import listing, table
    from penstock.cli.output import console_of, print_json
    from penstock.ledger import search
    from penstock.ledger.session import reading
    from penstock.operations.jobs.as_json import page_as_json

    settings = booked_app_of(context).settings
    limit, after = options.pop("limit"), options.pop("after")
    for bound in ("since", "until"):
        options[bound] = in_zone(options[bound], settings.timezone)
    options |= {"states": tuple(map(State, options["states"])), "arguments": dict(options["arguments"])}
    chosen = search.JobFilter(**options, searchable=settings.searchable)
    place = search.Place.of(after) if after else None
    console = console_of(context)
    with reading(settings.database_url) as connection:
        page = search.list_jobs(connection, chosen, limit, place)
        people = console.is_terminal and not as_json
        counts = search.count_by_state(connection, chosen) if people else search.Counts({})
    if as_json:
        print_json(page_as_json(page))
    elif people:
        table.print_table(console, page, counts)
    else:
        listing.print_lines(page)


@jobs.command("show")
@click.argument("id", type=WORD)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: job, attempts, timeline, phases, family …")
@click.pass_context
def show_job(context: click.Context, /, id: str, as_json: bool) -> None:
    """Shows the whole life of one job. The first characters of its ID are enough when no other job has them.

    What happened to it and when, counted from its beginning; a bar for each time in which it waited or ran; its
    parent, children, chord and replays; result or error; what people did to it.

    A job that no worker has seen yet has no row. With its full ID, this shows where it waits: on which queue in
    Redis, or in the outbox.

    \b
    Example:
      celery -A workers jobs show 3f2a91c0
    """
    from penstock.cli.output import console_of, print_json
    from penstock.cli.portrait import SHOWN_CHILDREN, print_life
    from penstock.cli.waiting import print_waiting
    from penstock.errors import JobNotFound
    from penstock.ledger.session import reading
    from penstock.operations.jobs.as_json import life_as_json
    from penstock.operations.jobs.life import find_life
    from penstock.operations.jobs.waiting import find_waiting
    from penstock.operations.jobs.why import why

    settings = booked_app_of(context).settings
    try:
        with reading(settings.database_url) as connection:
            life = find_life(connection, id, children=None if as_json else SHOWN_CHILDREN + 1)
    except JobNotFound:
        waiting = find_waiting(booked_app_of(context), id)
        if waiting is None:
            raise
        print_waiting(console_of(context), waiting, why(booked_app_of(context), id).sentence, as_json)
        return
    if as_json:
        print_json(life_as_json(life))
    else:
        print_life(console_of(context), life, ZoneInfo(settings.timezone))


LEVEL = click.Choice(["debug", "info", "warning", "error", "critical"])


@jobs.command("watch", short_help="Shows how far jobs are, live, and what they log.")
@click.argument("ids", metavar="ID...", type=WORD, nargs=-1, required=True)
@click.option(
    "--level", type=LEVEL, default="debug", help="Of the log, from this level on.  [default: all that is kept]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each piece of news.")
@click.pass_context
def watch_jobs(context: click.Context, /, ids: tuple[str, ...], level: str, as_json: bool) -> None:
    """Shows how far jobs are until all of them have ended, and what they log.

    On a terminal there is a bar for each job: how much is done and of how much, how fast, how long the rest takes,
    and what it is at, as the job says by current_job().progress(done, total, note). Its log passes above. In a pipe
    each piece of news is a line, and progress is told once a second.

    Ctrl-C ends the watching and leaves the jobs alone. Anybody may watch, from any host, as often as they like.

    \b
    Exit code: 0 all have succeeded; 1 one has failed or was cancelled, or nobody
    knows it (the reason is on stderr); 2 wrong usage; 130 Ctrl-C.

    \b
    Examples:
      celery -A workers jobs watch 3f2a91c0
      celery -A workers jobs watch --level warning 3f2a91c0 77b0c2d4
      celery -A workers jobs watch --json 3f2a91c0 | jq .progress.done
    """
    from penstock.cli.job_watch import watch
    from penstock.cli.output import console_of

    code = watch(booked_app_of(context), console_of(context), ids, level=level, as_json=as_json)
    context.exit(code)


@jobs.command("logs", short_help="Prints what a job has logged.")
@click.argument("id", type=WORD)
@click.option("--follow", is_flag=True, help="Go on with what it logs until it has ended.")
@click.option("--level", type=LEVEL, default="debug", help="From this level on.  [default: all that is kept]")
@click.option("--after", type=WORD, metavar="CURSOR", help="Only what comes behind this cursor, of `watch --json`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def print_logs(context: click.Context, /, id: str, follow: bool, level: str, after: str | None, as_json: bool) -> None:
    """Prints what a job has logged in all its attempts, the oldest first.

    Of each attempt the first lines are kept and the last ones; how many are left out in between is said where they
    are missing. From which level on is kept says PENSTOCK_JOB_LOGS, and what is named like a secret reads ***.

    \b
    Examples:
      celery -A workers jobs logs 3f2a91c0 --level warning
      celery -A workers jobs logs 3f2a91c0 --follow
    """
    from penstock.cli.job_log import print_log
    from penstock.cli.output import console_of

    app, console = booked_app_of(context), console_of(context)
    print_log(app, console, id, level=level, after=after, follow=follow, as_json=as_json)


@jobs.command("retry", short_help="Submits ended jobs anew.")
@click.argument("ids", metavar="ID...", type=WORD, nargs=-1, required=True)
@click.option("--args", "args_text", metavar="JSON", help="Other positional arguments, an array; for one job.")
@click.option("--kwargs", "kwargs_text", metavar="JSON", help="Other named arguments, an object; for one job.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array with the old and the new ids.")
@click.pass_context
def retry_jobs(
    context: click.Context, /, ids: tuple[str, ...], args_text: str | None, kwargs_text: str | None, as_json: bool
) -> None:
    """Submits ended jobs anew, with the same task, arguments, queue and priority.

    Each becomes a new job with an id of its own, whose row names the old one (replay_of); both ids are printed.
    What followed the old job (the rest of a chain, the body of a chord) is not repeated. Either all IDs are
    submitted or, when one of them is refused, none.

    One job may be given other arguments: all of the positional ones, all of the named ones, or both. They are checked
    against its task.

    \b
    Examples:
      celery -A workers jobs retry 3f2a91c0 77b0c2d4
      celery -A workers jobs retry 3f2a91c0 --kwargs '{"region": "north"}'
    """
    from penstock.cli.arguments import arguments_of
    from penstock.cli.retrying import retry_each, retry_with

    edited = arguments_of(args_text, kwargs_text)
    if edited and len(ids) > 1:
        raise click.UsageError("--args and --kwargs are for one job")
    if edited:
        retry_with(booked_app_of(context), ids[0], edited, as_json)
    else:
        retry_each(booked_app_of(context), ids, as_json)


@jobs.command("cancel", short_help="Cancels jobs, whether they wait or run.")
@click.argument("ids", metavar="ID...", type=WORD, nargs=-1, required=True)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help=f"How long a running body has to stop by itself; {CANCEL_GRACE:g}, unless it is said.",
)
@click.option("--gently", is_flag=True, help="Ask a running body to stop, and never end it.")
@click.option("--terminate", is_flag=True, help="End what runs at once; as --grace 0.")
@click.option("--reason", metavar="TEXT", type=WORD, help="Why, for the audit and `jobs show`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array with what it means for each job.")
@click.pass_context
def cancel_jobs(
    context: click.Context,
    /,
    ids: tuple[str, ...],
    grace: float | None,
    gently: bool,
    terminate: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Cancels jobs, whatever they are doing, on any host.

    One that waits (in the outbox, in a queue, for its time, for a retry, behind an open breaker, for somebody who knows
    its task) is recorded as cancelled within about a second while any worker runs, and never starts. One that runs is
    asked to stop, and ended when its grace is over. The audit and Redis keep the request, so no worker need be up.

    A job that nobody has claimed has no row, so any full ID is accepted. When one of several has ended, the others
    are cancelled all the same.

    \b
    Examples:
      celery -A workers jobs cancel 3f2a91c0 --reason "wrong month"
      celery -A workers jobs cancel --terminate 3f2a91c0
    """
    from penstock.cli.cancelling import cancel_each

    if gently + terminate + (grace is not None) > 1:
        raise click.UsageError(
            "--gently never ends what runs, --terminate does so at once, and --grace after so long; give one of them"
        )
    patience = None if gently else 0.0 if terminate else CANCEL_GRACE if grace is None else grace
    cancel_each(booked_app_of(context), ids, grace=patience, reason=reason, as_json=as_json)
