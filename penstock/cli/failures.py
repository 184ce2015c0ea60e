"""`celery -A workers failures …`: failed jobs by error, messages that nobody could run, and what to do about them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.breakers import close_breaker, list_breakers, open_breaker
from penstock.cli.command import Group, Since, booked_app_of
from penstock.cli.failure_options import FAILED, WORD, acting, editing, edits_of, filters

if TYPE_CHECKING:
    from penstock.app import PenstockApp
    from penstock.operations.failures.entries import EntryFilter
    from penstock.operations.failures.selection import Selection
    from penstock.operations.jobs.edits import Edits


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
@filters()
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


@failures.command("replay", short_help="Runs failures again.")
@acting
@editing
@click.pass_context
def replay_failures(context: click.Context, /, entries: tuple[str, ...], **options: Any) -> None:
    """Runs failures again: those that are named, or all open ones that the filters choose.

    \b
    failed       ENTRY is the fingerprint of an error: each of its jobs that
                 nobody has retried or discarded is retried, as `jobs retry`
                 does it, with an id that is its own however often it is sent
    buried       becomes a new job, which names the old one
    quarantined  goes back to its queue byte by byte: mend the cause first,
                 or it comes back as a new entry
    unknown      all messages go back to the end of their queue, from where
                 workers that still do not know the task put them aside again

    Each is noted in the audit, and the whole of it once. What errors and filters choose is counted and asked about
    first (--yes does not ask), oldest first. Ctrl-C ends it after the job that it is at. A command that was interrupted
    may be repeated: what it did is not open any more.

    --set, --unset and --rename change arguments of each job. One whose task does not take them then is listed and left.

    \b
    Examples:
      celery -A workers failures replay 1f0c9a2e:17:0
      celery -A workers failures replay 0f2a91c03b1e --rate 10/s
      celery -A workers failures replay --queue mail --since 2h --dry-run
      celery -A workers failures replay --kind buried --since 1h --rate 20/s --yes
      celery -A workers failures replay --task tasks.mail.send --rename user=user_id --set retries=0
    """
    given = {name: options.pop(name) for name in ("set_", "unset", "rename", "args", "kwargs")}
    _act(context, "replay", entries, options, edits_of(**given))


@failures.command("discard", short_help="Gives failures up.")
@acting
@click.pass_context
def discard_failures(context: click.Context, /, entries: tuple[str, ...], **options: Any) -> None:
    """Gives failures up: those that are named, or all open ones that the filters choose.

    A failed job stays failed, and its reason is `discarded`. A buried or quarantined entry is only marked, and keeps
    its payload: `failures list --all` still has it. The messages of an unknown task are deleted, and their jobs are
    recorded as cancelled. The audit has a note for each message, and one for all that errors or filters have chosen.

    \b
    Examples:
      celery -A workers failures discard 0f2a91c03b1e
      celery -A workers failures discard --kind quarantined --reason "not JSON"
      celery -A workers failures discard --kind failed --queue mail --until 7d
    """
    from penstock.operations.jobs.edits import NO_EDITS

    _act(context, "discard", entries, {**options, "at_most_waiting": None}, NO_EDITS)


HOW = ("limit", "rate", "at_most_waiting", "dry_run", "yes", "as_json")


def _act(context: click.Context, verb: str, entries: tuple[str, ...], options: dict[str, Any], edits: Edits) -> None:
    from penstock.actor import actor
    from penstock.cli import mending
    from penstock.operations.failures import errand as errands
    from penstock.operations.failures.errand import Terms

    everything = options.pop("everything")
    how = {name: options.pop(name) for name in HOW}
    if entries and (everything or any(options.values())):
        raise click.UsageError("name entries or filters, not both")
    if not entries and not everything and not any(options.values()):
        raise click.UsageError("name entries, filters, or --all")
    app = booked_app_of(context)
    if entries:
        errand = errands.named(app, entries, how["limit"])
    else:
        errand = errands.chosen(app, _selection(app, options), how["limit"])
    if edits.is_whole and errand.total > 1:
        raise click.UsageError(f"--args and --kwargs are for a single job, and these are {errand.text}; use --set")
    terms = Terms(actor(), how["rate"], how["at_most_waiting"], edits)
    if how["dry_run"]:
        left = mending.rehearse(app, verb, errand, terms, how["as_json"])
    else:
        left = mending.act(app, verb, errand, terms, yes=how["yes"], as_json=how["as_json"])
    context.exit(1 if left else 0)


def _selection(app: PenstockApp, options: dict[str, Any]) -> Selection:
    from penstock.cli.command import in_zone
    from penstock.operations.failures.selection import Selection

    zone = app.settings.timezone
    since, until = (in_zone(options.pop(name), zone) for name in ("since", "until"))
    return Selection(since=since, until=until, **options)


def _filter(context: click.Context, chosen: dict[str, Any], *, only_open: bool) -> EntryFilter:
    from penstock.cli.command import in_zone
    from penstock.operations.failures.entries import EntryFilter

    since: datetime | None = in_zone(chosen.pop("since"), booked_app_of(context).settings.timezone)
    return EntryFilter(since=since, is_open=True if only_open else None, **chosen)


for _command in (list_breakers, open_breaker, close_breaker):
    failures.add_command(_command)
