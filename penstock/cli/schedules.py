"""`celery -A workers schedules …`: when tasks start, what has become of each planned time, and changing that."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from penstock.cli.command import Group, Since, Word, booked_app_of, in_zone
from penstock.cli.schedule_import import import_crontab_command
from penstock.cli.timetable_options import rule_options, timetable_options

WORD = Word()
NAME = click.argument("name", type=WORD)
JSON_OBJECT = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
FIRE_STATES = ("fired", "waiting", "skipped", "missed")


@click.group(cls=Group)
def schedules() -> None:
    """Schedules: when tasks start; pause, trigger and change them.

    Schedules are rows of the ledger. Those that the application declares are brought there when a beat starts, and
    are changed in the code; others are added and edited here. Every beat sees a change within a second.

    Exit code: 0 done, 1 refused or nothing found (the reason is on stderr), 2 wrong usage.
    """


schedules.add_command(import_crontab_command)


@schedules.command("list")
@click.option("--tag", type=WORD, help="Only those with this tag.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: schedules with every field, and beats.")
@click.pass_context
def list_schedules(context: click.Context, /, tag: str | None, as_json: bool) -> None:
    """Lists schedules: when they fire next, and which are paused or over.

    In a pipe each schedule is one line of tab-separated columns: name, timetable, zone, next planned time, last fired
    time, paused since, task.

    \b
    Examples:
      celery -A workers schedules list
      celery -A workers schedules list --tag nightly --json
    """
    from penstock.cli.output import console_of, print_json
    from penstock.cli.schedule_table import beat_as_json, known_as_json, print_lines, print_table
    from penstock.cli.schedule_work import schedules_of

    asked = schedules_of(booked_app_of(context))
    known, console = asked.all(tag), console_of(context)
    if as_json:
        beats = [beat_as_json(each) for each in asked.beats()]
        print_json({"schedules": [known_as_json(each) for each in known], "beats": beats})
    elif console.is_terminal:
        print_table(console, known, asked.beats())
    else:
        print_lines(known)


@schedules.command("show")
@NAME
@click.option("--fires", "limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="How many.")
@click.option("--state", type=click.Choice(FIRE_STATES), help="Only fires in this state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: schedule, next, fires, counts, open_jobs.")
@click.pass_context
def show_schedule(context: click.Context, /, name: str, limit: int, state: str | None, as_json: bool) -> None:
    """Shows a schedule: its rules, what comes next, and its last fires with their jobs or the reason for none.

    \b
    Example:
      celery -A workers schedules show "nightly sales" --state missed
    """
    from penstock.cli.schedule_work import show

    show(context, booked_app_of(context), name, limit, state, as_json)


@schedules.command("next")
@click.argument("names", metavar="[NAME]...", type=WORD, nargs=-1)
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="Times in all.")
@click.option("--after", type=Since(), help="From this ISO time on, instead of now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of schedule, planned_at and local time.")
@click.pass_context
def show_next(
    context: click.Context, /, names: tuple[str, ...], count: int, after: datetime | None, as_json: bool
) -> None:
    """Shows the next planned times, with their offset from UTC, of all schedules or those that are named.

    \b
    Examples:
      celery -A workers schedules next
      celery -A workers schedules next "nightly sales" --after 2027-03-27 --count 3
    """
    from penstock.cli.schedule_work import show_next_times

    app = booked_app_of(context)
    show_next_times(context, app, names, count, in_zone(after, app.settings.timezone), as_json)


@schedules.command("add", short_help="Adds a schedule at run time.")
@NAME
@click.argument("task", type=WORD)
@click.option("--args", "args_text", default="[]", help="Its positional arguments, a JSON array.")
@click.option("--kwargs", "kwargs_text", default="{}", help="Its named arguments, a JSON object.")
@timetable_options
@rule_options
@JSON_OBJECT
@click.pass_context
def add_schedule(context: click.Context, /, name: str, task: str, as_json: bool, **given: Any) -> None:
    """Adds a schedule that is in no code, and shows when it fires first.

    Give one timetable: --cron, --every, --calendar or --once. Texts in arguments may say {fire_time} and
    {previous_fire_time}, with a format: {fire_time:%Y-%m-%d}.

    \b
    Examples:
      celery -A workers schedules add poll tasks.http.request --every 30s --kwargs '{"url": "https://…"}'
      celery -A workers schedules add bill tasks.sales.nightly --calendar month --on "last working day" --time 18:00
    """
    from penstock.cli.schedule_work import add

    add(booked_app_of(context), name, task, given, as_json)


@schedules.command("edit", short_help="Changes one that was added here.")
@NAME
@click.option("--args", "args_text", help="Its positional arguments, a JSON array.")
@click.option("--kwargs", "kwargs_text", help="Its named arguments, a JSON object.")
@timetable_options
@rule_options
@click.option(
    "--clear",
    type=click.Choice(["start", "end", "max-fires", "exclude", "pause-after-failures", "tag", "on-missed", "jitter"]),
    multiple=True,
    help="Takes this rule away; repeatable.",
)
@JSON_OBJECT
@click.pass_context
def edit_schedule(context: click.Context, /, name: str, as_json: bool, **given: Any) -> None:
    """Changes a schedule that was added at run time; what is not named stays.

    Fires that were due before end as it was. A schedule that the application declares is changed in the code.

    \b
    Example:
      celery -A workers schedules edit poll --every 1m --overlap skip
    """
    from penstock.cli.schedule_work import edit

    edit(booked_app_of(context), name, given, as_json)


@schedules.command("pause", short_help="Skips its planned times from now on.")
@NAME
@click.option("--note", type=WORD, help="Why, for those who find it paused, and for each skipped fire.")
@JSON_OBJECT
@click.pass_context
def pause_schedule(context: click.Context, /, name: str, note: str | None, as_json: bool) -> None:
    """Pauses a schedule: each planned time is skipped, and says why. Jobs that run go on.

    \b
    Example:
      celery -A workers schedules pause "nightly sales" --note "stocktaking until Monday"
    """
    from penstock.cli.schedule_work import pause

    pause(booked_app_of(context), name, note or "", as_json)


@schedules.command("resume", short_help="Ends a pause.")
@NAME
@JSON_OBJECT
@click.pass_context
def resume_schedule(context: click.Context, /, name: str, as_json: bool) -> None:
    """Ends a pause, also one that failures have caused. What was planned meanwhile stays skipped; see backfill.

    \b
    Example:
      celery -A workers schedules resume "nightly sales"
    """
    from penstock.cli.schedule_work import resume

    resume(booked_app_of(context), name, as_json)


@schedules.command("trigger", short_help="Starts its task now.")
@NAME
@JSON_OBJECT
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
@click.option("--since", type=Since(), required=True, help="First planned time: an age such as 7d, or an ISO time.")
@click.option("--until", type=Since(), help="Last planned time, given like --since.  [default: now]")
@click.option("--at-once", is_flag=True, help="Start all now, and not each when the one before has ended.")
@JSON_OBJECT
@click.pass_context
def backfill_schedule(
    context: click.Context, /, name: str, since: datetime, until: datetime | None, at_once: bool, as_json: bool
) -> None:
    """Starts a job for each planned time of a range that has started none: missed, skipped, or before its first day.

    Times that had their job are left alone, so the same backfill again does nothing. A beat starts them one after
    the other; with --at-once they need none.

    \b
    Example:
      celery -A workers schedules backfill "nightly sales" --since 2026-11-01 --until 2026-11-07
    """
    from penstock.cli.schedule_work import backfill

    app = booked_app_of(context)
    zone = app.settings.timezone
    first, last = in_zone(since, zone), in_zone(until, zone)
    assert first is not None
    backfill(app, name, first, last, at_once=at_once, as_json=as_json)


@schedules.command("remove", short_help="Removes one that was added here.")
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON_OBJECT
@click.pass_context
def remove_schedule(context: click.Context, /, name: str, yes: bool, as_json: bool) -> None:
    """Removes a schedule that was added at run time. What is known of its fires stays.

    \b
    Example:
      celery -A workers schedules remove poll --yes
    """
    from penstock.cli.schedule_work import remove

    remove(booked_app_of(context), name, yes=yes, as_json=as_json)
