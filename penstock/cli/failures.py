"""`celery -A workers failures …`: failed jobs by error, messages that nobody could run, and what to do about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.breakers import close_breaker, list_breakers, open_breaker
from penstock.cli.command import Group, Since, Word, booked_app_of
from penstock.cli.rate import Rate

if TYPE_CHECKING:
    from penstock.operations.failures.entries import EntryFilter

WORD = Word()
KINDS = ("buried", "quarantined", "unknown")
FAILED = "failed"


def filters(*kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that choose entries of these kinds; all that are given must hold."""
    return lambda command: _with_filters(command, kinds)


def _with_filters(command: Callable[..., Any], kinds: tuple[str, ...]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--kind", type=click.Choice(kinds), help="Of this kind only."),
            click.option("--task", type=WORD, help="Full name of a task."),
            click.option("--queue", type=WORD, help="Name of a queue."),
            click.option("--reason", type=WORD, help="Text in what happened."),
            click.option(
                "--since",
                type=Since(),
                help="Happened within 30m, 2h, 7d, or since an ISO time (zone: PENSTOCK_TIMEZONE).",
            ),
        ]
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def failures() -> None:
    """Failures: jobs that failed, by error, and messages that nobody could run.

    \b
    failed       jobs of one task that ended with one error, as one line:
                 how many, since when, and the trend
    buried       a job whose process died again and again, or whose message
                 makes no sense; it has failed
    quarantined  a message without a readable id, so of no job
    unknown      messages of a task that no worker knew, an entry for each
                 task, queue and priority; they go on by themselves once a
                 worker that knows the task serves the queue

    The last three are each kept with their payload until a person replays or discards them: rows of the ledger, and
    unknown tasks in Redis. A failed job has its row; `jobs retry` runs one anew, `failures replay` all of an error.

    Exit code: 0 done, 1 refused or not all done (the reason is on stderr), 2 wrong usage.
    """


@failures.command("list")
@filters(FAILED, *KINDS)
@click.option("--open/--all", "only_open", default=True, help="Without or with what is settled.  [default: --open]")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many are listed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: groups of failed jobs, and the other entries.")
@click.pass_context
def list_failures(context: click.Context, /, only_open: bool, limit: int, as_json: bool, **options: Any) -> None:
    """Lists failures: failed jobs by error, the most frequent first; then unknown tasks, then dead letters.

    Failed jobs are counted in whole hours, of the last day unless --since says otherwise; with --queue or --reason,
    which are about messages, they are left out.

    In a pipe each entry is one line of tab-separated columns: entry, kind, job, task, queue, messages, deliveries,
    time, resolution, what happened. Of an error these are its fingerprint, `failed`, the last job, how many, and when
    and with what that one failed.

    \b
    Examples:
      celery -A workers failures list
      celery -A workers failures list --kind failed --since 7d
      celery -A workers failures list --kind buried --task tasks.reporting.build --since 2h
    """
    from penstock.cli.failure_table import print_failures
    from penstock.cli.output import console_of
    from penstock.ledger.failure_groups import GroupFilter, list_groups
    from penstock.ledger.session import reading
    from penstock.operations.failures.entries import Found, list_entries
    from penstock.operations.failures.groups import since_or_default

    app, kind = booked_app_of(context), options["kind"]
    chosen = _filter(context, {**options, "kind": None if kind == FAILED else kind}, only_open=only_open)
    groups = None
    if kind in (None, FAILED) and not (chosen.queue or chosen.reason):
        begin = since_or_default(chosen.since)
        with reading(app.settings.database_url) as connection:
            groups = begin, list_groups(connection, GroupFilter(since=begin, task=chosen.task), limit)
    found = Found([], {}) if kind == FAILED else list_entries(app, chosen, limit)
    print_failures(console_of(context), groups, found, as_json)


@failures.command("show")
@click.argument("entry", type=WORD)
@click.option("--since", type=Since(), help="Of failed jobs: counted since then, in whole hours.  [default: 24h]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the entry, and its messages or its jobs.")
@click.pass_context
def show_failure(context: click.Context, /, entry: str, since: datetime | None, as_json: bool) -> None:
    """Shows one failure: an error with its latest jobs and what can be done, or what happened to a message.

    ENTRY is the first column of `failures list`: the fingerprint of an error, or an entry, for which the id of its job
    does as well. A message is decoded as far as that is safe: JSON is, pickle is not and is shown as bytes.

    \b
    Examples:
      celery -A workers failures show 0f2a91c03b1e
      celery -A workers failures show 1f0c9a2e:17:0
    """
    from penstock.cli.command import in_zone
    from penstock.cli.failure_table import print_entry
    from penstock.cli.groups import print_group
    from penstock.cli.output import console_of, print_json
    from penstock.ledger.session import reading
    from penstock.operations.failures.as_json import opened_as_json
    from penstock.operations.failures.entries import open_entry
    from penstock.operations.failures.groups import find_group

    app = booked_app_of(context)
    with reading(app.settings.database_url) as connection:
        group = find_group(connection, entry, in_zone(since, app.settings.timezone))
    if group is None:
        print_entry(console_of(context), open_entry(app, entry), as_json)
    elif as_json:
        print_json(opened_as_json(group))
    else:
        print_group(console_of(context), group)


def acting(command: Callable[..., Any]) -> Callable[..., Any]:
    """What replay and discard have in common."""
    options: list[Callable[..., Any]] = [
        click.argument("entries", metavar="[ENTRY]...", type=WORD, nargs=-1),
        filters(*KINDS),
        click.option("--all", "everything", is_flag=True, help="Every open entry."),
        click.option("--rate", type=Rate(), help="At most so many a second: 50/s, or 10/m.  [default: no limit]"),
        click.option("--yes", is_flag=True, help="Do not ask before acting on what errors and filters choose."),
        click.option("--json", "as_json", is_flag=True, help="One JSON array with what was done with each."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@failures.command("replay", short_help="Runs failures again.")
@acting
@click.pass_context
def replay_failures(context: click.Context, /, entries: tuple[str, ...], **options: Any) -> None:
    """Runs failures again: those that are named, or all open ones that the filters choose.

    \b
    failed       ENTRY is the fingerprint of an error: each of its jobs that
                 nobody has retried or discarded is retried, as `jobs retry`
                 does; those whose messages were buried are not
    buried       becomes a new job with an id of its own, made from the old
                 message; its row names the old job (replay_of). Callbacks and
                 the rest of a chain, if the message has any, are kept
    quarantined  goes back to its queue, byte by byte: mend the cause first,
                 or it comes back as a new entry
    unknown      all messages go back to the end of their queue, from where
                 workers that still do not know the task put them aside again

    Each is noted in the audit. What errors and filters choose is counted and asked about first (--yes does not ask),
    oldest first. A command that was interrupted may be repeated: what it did is not open any more.

    \b
    Examples:
      celery -A workers failures replay 1f0c9a2e:17:0
      celery -A workers failures replay 0f2a91c03b1e --rate 10/s
      celery -A workers failures replay --kind buried --since 1h --rate 20/s --yes
    """
    from penstock.cli.mending import replay

    _act(context, replay, entries, options)


@failures.command("discard", short_help="Gives failures up.")
@acting
@click.pass_context
def discard_failures(context: click.Context, /, entries: tuple[str, ...], **options: Any) -> None:
    """Gives failures up: those that are named, or all open ones that the filters choose.

    A buried or quarantined entry is only marked, and keeps its payload: `failures list --all` still has it. The
    messages of an unknown task are deleted, and their jobs recorded as cancelled. Each is noted in the audit.

    With the fingerprint of an error, its failed jobs that nobody has retried are marked: they stay failed, and their
    reason is `discarded`. The audit has one note for all of them.

    \b
    Examples:
      celery -A workers failures discard 0f2a91c03b1e
      celery -A workers failures discard --kind quarantined --reason "not JSON"
    """
    from penstock.cli.mending import discard

    _act(context, discard, entries, options)


def _act(context: click.Context, act: Callable[..., int], entries: tuple[str, ...], options: dict[str, Any]) -> None:
    everything = options.pop("everything")
    how = {name: options.pop(name) for name in ("rate", "yes", "as_json")}
    if entries and (everything or any(options.values())):
        raise click.UsageError("name entries or filters, not both")
    if not entries and not everything and not any(options.values()):
        raise click.UsageError("name entries, filters, or --all")
    chosen = _filter(context, options, only_open=True)
    failed = act(booked_app_of(context), entries, chosen, **how)
    context.exit(1 if failed else 0)


def _filter(context: click.Context, chosen: dict[str, Any], *, only_open: bool) -> EntryFilter:
    from penstock.cli.command import in_zone
    from penstock.operations.failures.entries import EntryFilter

    since: datetime | None = in_zone(chosen.pop("since"), booked_app_of(context).settings.timezone)
    return EntryFilter(since=since, is_open=True if only_open else None, **chosen)


for _command in (list_breakers, open_breaker, close_breaker):
    failures.add_command(_command)
