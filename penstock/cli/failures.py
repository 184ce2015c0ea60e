"""`celery -A workers failures …`: messages that nobody could run, and what to do about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.command import Group, Since, Word, app_of
from penstock.cli.pace import Rate

if TYPE_CHECKING:
    from penstock.cli.entries import EntryFilter

WORD = Word()
KINDS = ("buried", "quarantined", "unknown")


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose entries; all that are given must hold."""
    for option in reversed(
        [
            click.option("--kind", type=click.Choice(KINDS), help="Of this kind only."),
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
    """Failures: messages that nobody could run. Each is kept with its payload until a person replays or discards it.

    \b
    buried       a job whose process died again and again, or whose message
                 makes no sense; it has failed
    quarantined  a message without a readable id, so of no job
    unknown      messages of a task that no worker knew, an entry for each
                 task, queue and priority; they go on by themselves once a
                 worker that knows the task serves the queue

    The first two are rows of the ledger, the third waits in Redis. A job whose body raised an error is none of
    these: `jobs list --state failed` has it, and `jobs retry` runs it anew.

    Exit code: 0 done, 1 refused or not all done (the reason is on stderr), 2 wrong usage.
    """


@failures.command("list")
@filters
@click.option("--open/--all", "only_open", default=True, help="Without or with what is settled.  [default: --open]")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many are listed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array with every column.")
@click.pass_context
def list_failures(context: click.Context, /, only_open: bool, limit: int, as_json: bool, **chosen: Any) -> None:
    """Lists failures: unknown tasks first, then the newest.

    In a pipe each entry is one line of tab-separated columns: entry, kind, job, task, queue, messages, deliveries,
    time, resolution, what happened.

    \b
    Examples:
      celery -A workers failures list
      celery -A workers failures list --kind buried --task tasks.reporting.build --since 2h
    """
    from penstock.cli.entries import list_entries
    from penstock.cli.failure_table import print_entries
    from penstock.cli.output import console_of

    app = app_of(context)
    found = list_entries(app, _filter(context, chosen, only_open=only_open), limit)
    print_entries(console_of(context), found, as_json)


@failures.command("show")
@click.argument("entry", type=WORD)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the entry, and its messages with their bytes.")
@click.pass_context
def show_failure(context: click.Context, /, entry: str, as_json: bool) -> None:
    """Shows one failure: what happened, and its message.

    ENTRY is the first column of `failures list`, or the id of the job. The message is decoded as far as that is
    safe: JSON is, pickle is not and is shown as bytes.

    \b
    Example:
      celery -A workers failures show 1f0c9a2e:17:0
    """
    from penstock.cli.entries import open_entry
    from penstock.cli.failure_table import print_entry
    from penstock.cli.output import console_of

    print_entry(console_of(context), open_entry(app_of(context), entry), as_json)


def acting(command: Callable[..., Any]) -> Callable[..., Any]:
    """What replay and discard have in common."""
    options: list[Callable[..., Any]] = [
        click.argument("entries", metavar="[ENTRY]...", type=WORD, nargs=-1),
        filters,
        click.option("--all", "everything", is_flag=True, help="Every open entry."),
        click.option("--yes", is_flag=True, help="Do not ask before acting on what filters choose."),
        click.option("--json", "as_json", is_flag=True, help="One JSON array with what was done with each."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@failures.command("replay", short_help="Runs failures again.")
@acting
@click.option("--rate", type=Rate(), help="At most so many a second: 50/s, or 10/m.  [default: no limit]")
@click.pass_context
def replay_failures(context: click.Context, /, entries: tuple[str, ...], **options: Any) -> None:
    """Runs failures again: those that are named, or all open ones that the filters choose.

    \b
    buried       becomes a new job with an id of its own, made from the old
                 message; its row names the old job (replay_of). Callbacks and
                 the rest of a chain, if the message has any, are kept
    quarantined  goes back to its queue, byte by byte: mend the cause first,
                 or it comes back as a new entry
    unknown      all messages go back to the end of their queue, from where
                 workers that still do not know the task put them aside again

    Each is noted in the audit. Entries that filters choose are counted and asked about first (--yes does not ask),
    oldest first. A command that was interrupted may be repeated: what it did is not open any more.

    \b
    Examples:
      celery -A workers failures replay 1f0c9a2e:17:0
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

    \b
    Example:
      celery -A workers failures discard --kind quarantined --reason "not JSON"
    """
    from penstock.cli.mending import discard

    _act(context, discard, entries, {**options, "rate": None})


def _act(context: click.Context, act: Callable[..., int], entries: tuple[str, ...], options: dict[str, Any]) -> None:
    everything, yes, as_json, rate = (options.pop(name) for name in ("everything", "yes", "as_json", "rate"))
    if entries and (everything or any(options.values())):
        raise click.UsageError("name entries or filters, not both")
    if not entries and not everything and not any(options.values()):
        raise click.UsageError("name entries, filters, or --all")
    chosen = _filter(context, options, only_open=True)
    failed = act(app_of(context), entries, chosen, rate=rate, yes=yes, as_json=as_json)
    context.exit(1 if failed else 0)


def _filter(context: click.Context, chosen: dict[str, Any], *, only_open: bool) -> EntryFilter:
    from penstock.cli.command import in_zone
    from penstock.cli.entries import EntryFilter

    since: datetime | None = in_zone(chosen.pop("since"), app_of(context).settings.timezone)
    return EntryFilter(since=since, only_open=only_open, **chosen)
