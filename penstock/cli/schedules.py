"""`celery -A workers schedules …`: when tasks start, what has become of each planned time, and changing that."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from penstock.cli.command import Group, Since, Word, booked_app_of
from penstock.cli.schedule_import import import_crontab_command
from penstock.cli.timetable_options import CLEARED, CLEARED_OPTIONS, SectionedCommand, schedule_options

WORD = Word()
NAME = click.argument("name", type=WORD)
JSON_ROW = click.option("--json", "as_json", is_flag=True, help="One JSON object: the schedule with every field.")
CLEARABLE = (*CLEARED, *CLEARED_OPTIONS)
FIRE_STATES = ("fired", "waiting", "skipped", "missed")


@click.group(cls=Group)
def schedules() -> None:
    """Schedules: when tasks start; pause, trigger and change them.

    Schedules are rows of the ledger. Those that the application declares are brought there when a beat starts, and
    are changed in the code; others are added and edited here. Every beat sees a change within a second.

    Exit code: 0 done, 1 refused or nothing found (the reason is on stderr), 2 wrong usage.
    """


schedules.add_command(import_crontab_command)


@schedules.command("list", short_help="Lists schedules, and when they fire next.")
@click.option("--tag", type=WORD, help="Only those with this tag.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: schedules with every field, and beats.")
@click.pass_context
def list_schedules(context: click.Context, /, tag: str | None, as_json: bool) -> None:
    """Lists schedules: when they fire next, and which are paused, overdue or over.

    The last line says how many beats are at work. In a pipe each schedule is one line of tab-separated columns: name,
    timetable, zone, next planned time, last planned time that has fired, paused since, task.

    \b
    Examples:
      celery -A workers schedules list
      celery -A workers schedules list --tag nightly --json
    """
    from penstock.cli.schedule_work import list_all

    list_all(context, booked_app_of(context), tag, as_json)


@schedules.command("show", short_help="Shows one: rules, what comes next, its last fires.")
@NAME
@click.option(
    "--fires",
    "limit",
    metavar="N",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="How many, the newest first.",
)
@click.option("--state", type=click.Choice(FIRE_STATES), metavar="STATE", help=f"Only these: {', '.join(FIRE_STATES)}.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object: schedule, next, fires, counts, open_jobs, oddities."
)
@click.pass_context
def show_schedule(context: click.Context, /, name: str, limit: int, state: str | None, as_json: bool) -> None:
    """Shows a schedule: its rules, what comes next, and its last fires with their jobs or the reason for none.

    It also tells which of its jobs have not ended, and on which days within 400 it loses or doubles a fire because
    clocks are shifted. Of one that was removed it shows the fires that are kept.

    \b
    Examples:
      celery -A workers schedules show "nightly sales"
      celery -A workers schedules show "nightly sales" --state missed
    """
    from penstock.cli.schedule_work import show

    show(context, booked_app_of(context), name, limit, state, as_json)


@schedules.command("next", short_help="Shows the next planned times.")
@click.argument("names", metavar="[NAME]...", type=WORD, nargs=-1)
@click.option("--count", type=click.IntRange(1, 1000), metavar="N", default=10, help="Times in all.  [default: 10]")
@click.option("--after", type=Since(), metavar="TIME", help="From then on: 2027-03-27, or 2027-03-27T18:00+01:00.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of schedule, planned_at and local time.")
@click.pass_context
def show_next(
    context: click.Context, /, names: tuple[str, ...], count: int, after: datetime | None, as_json: bool
) -> None:
    """Shows the next planned times, with their offset from UTC, of all schedules or of those that are named.

    Days that are excluded are left out, and so are schedules that are paused, unless they are named. In a pipe each is
    one line: time, tab, name.

    \b
    Examples:
      celery -A workers schedules next
      celery -A workers schedules next "nightly sales" --after 2027-03-27
    """
    from penstock.cli.schedule_work import show_next_times

    show_next_times(context, booked_app_of(context), names, count, after, as_json)


@schedules.command("add", cls=SectionedCommand, short_help="Adds a schedule at run time.")
@NAME
@click.argument("task", type=WORD)
@schedule_options
@JSON_ROW
@click.pass_context
def add_schedule(context: click.Context, /, name: str, task: str, as_json: bool, **given: Any) -> None:
    """Adds a schedule that is in no code, and tells when it fires first.

    Give one timetable: --cron, --every, --calendar or --once. Times without an offset are those of the schedule's
    zone. Texts in arguments may say {fire_time} and {previous_fire_time}, with a format: {fire_time:%Y-%m-%d}.

    \b
    Examples:
      celery -A workers schedules add poll tasks.webhooks.check_url \\
          --every 30s --kwargs '{"url": "https://example.org/"}'
      celery -A workers schedules add bill tasks.sales.nightly \\
          --calendar month --on "last working day" --time 18:00
    """
    from penstock.cli.schedule_work import add

    add(booked_app_of(context), name, task, given, as_json)


@schedules.command("edit", cls=SectionedCommand, short_help="Changes one that was added here.")
@NAME
@schedule_options
@click.option(
    "--clear",
    type=click.Choice(CLEARABLE),
    multiple=True,
    metavar="RULE",
    help=f"Takes a rule away: {', '.join(CLEARABLE[:-1])} or {CLEARABLE[-1]}; repeatable.",
)
@JSON_ROW
@click.pass_context
def edit_schedule(context: click.Context, /, name: str, as_json: bool, **given: Any) -> None:
    """Changes a schedule that was added at run time; what is not named stays.

    What is named replaces what was there: all arguments of the kind, all tags, all excluded days. Fires that were due
    before end as it was. A schedule that the application declares is changed in the code.

    \b
    Examples:
      celery -A workers schedules edit poll --every 1m --overlap allow
      celery -A workers schedules edit poll --clear jitter --clear tag
    """
    from penstock.cli.schedule_work import edit

    edit(booked_app_of(context), name, given, as_json)


@schedules.command("pause", short_help="Skips its planned times from now on.")
@NAME
@click.option("--note", type=WORD, help="Why, for those who find it paused, and for each skipped fire.")
@JSON_ROW
@click.pass_context
def pause_schedule(context: click.Context, /, name: str, note: str | None, as_json: bool) -> None:
    """Pauses a schedule: each planned time is skipped, and says why. Jobs that run go on.

    It lasts until `schedules resume`, through restarts and changes of the code.

    \b
    Example:
      celery -A workers schedules pause "nightly sales" --note "stocktaking"
    """
    from penstock.cli.schedule_work import pause

    pause(booked_app_of(context), name, note or "", as_json)


@schedules.command("resume", short_help="Ends a pause.")
@NAME
@JSON_ROW
@click.pass_context
def resume_schedule(context: click.Context, /, name: str, as_json: bool) -> None:
    """Ends a pause, also one that failures have caused.

    What was planned meanwhile stays skipped; `schedules backfill` makes up for it.

    \b
    Example:
      celery -A workers schedules resume "nightly sales"
    """
    from penstock.cli.schedule_work import resume

    resume(booked_app_of(context), name, as_json)


@schedules.command("trigger", short_help="Starts its task now.")
@NAME
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the fire, with its job_id.")
@click.pass_context
def trigger_schedule(context: click.Context, /, name: str, as_json: bool) -> None:
    """Starts the task of a schedule now, whatever its timetable, its pause or its running job say.

    No beat is needed, but a worker is. The fire is on the books as triggered, with the time of the command.

    \b
    Example:
      celery -A workers schedules trigger "nightly sales"
    """
    from penstock.cli.schedule_work import trigger

    trigger(booked_app_of(context), name, as_json)


@schedules.command("backfill", short_help="Makes up for planned times of the past.")
@NAME
@click.option("--since", type=Since(), metavar="TIME", required=True, help="First planned time: 7d, or 2026-11-01.")
@click.option("--until", type=Since(), metavar="TIME", help="Last planned time, likewise.  [default: now]")
@click.option("--at-once", is_flag=True, help="Start all now, and not each when the one before has ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: started and waiting times, and kept, a count.")
@click.pass_context
def backfill_schedule(
    context: click.Context, /, name: str, since: datetime, until: datetime | None, at_once: bool, as_json: bool
) -> None:
    """Starts a job for each planned time of a range that has started none: missed, skipped, or before its first day.

    Times that had their job are left alone, so the same backfill again does nothing. A beat starts them one after
    the other; with --at-once they need none. {fire_time} is the planned time.

    \b
    Example:
      celery -A workers schedules backfill "nightly sales" \\
          --since 2026-11-01 --until 2026-11-08
    """
    from penstock.cli.schedule_work import backfill

    backfill(booked_app_of(context), name, since, until, at_once=at_once, as_json=as_json)


@schedules.command("remove", short_help="Removes one that was added here.")
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON_ROW
@click.pass_context
def remove_schedule(context: click.Context, /, name: str, yes: bool, as_json: bool) -> None:
    """Removes a schedule that was added at run time. What is known of its fires stays.

    Fires that wait are skipped; jobs that run go on. A schedule that the application declares goes with its
    declaration, when a beat starts.

    \b
    Example:
      celery -A workers schedules remove poll --yes
    """
    from penstock.cli.schedule_work import remove

    remove(booked_app_of(context), name, yes=yes, as_json=as_json)
