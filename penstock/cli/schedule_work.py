"""What the verbs of `schedules` do."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.command import actor
from penstock.cli.output import console_of, print_json
from penstock.cli.schedule_portrait import portrait_as_json, print_portrait
from penstock.cli.schedule_table import fire_as_json, known_as_json, print_next
from penstock.cli.timetable_options import arguments, call_options, rules, timetable
from penstock.cli.wording import counted
from penstock.errors import ScheduleRefused
from penstock.ledger.fires import FireState
from penstock.scheduler.changes import Known, Schedules
from penstock.scheduler.schedule import Schedule

if TYPE_CHECKING:
    from penstock.app import PenstockApp

CLEARED: Mapping[str, tuple[str, Any]] = {
    "start": ("start", None),
    "end": ("end", None),
    "max-fires": ("max_fires", None),
    "exclude": ("exclude", ()),
    "pause-after-failures": ("pause_after_failures", None),
    "tag": ("tags", ()),
    "on-missed": ("on_missed", None),
    "jitter": ("jitter", 0.0),
}
SHOWN_NEXT = 5


def schedules_of(app: PenstockApp) -> Schedules:
    """The schedules of an application's ledger, for whoever is at the keyboard."""
    app.loader.import_default_modules()
    return Schedules(app, app.settings.database_url, actor())


def show(context: click.Context, app: PenstockApp, name: str, limit: int, state: str | None, as_json: bool) -> None:
    """Shows one schedule."""
    asked = schedules_of(app)
    portrait = asked.show(name, limit, FireState(state) if state else None)
    upcoming = _next_or_reason(asked, name)
    if as_json:
        print_json(portrait_as_json(portrait, upcoming if isinstance(upcoming, list) else []))
    else:
        print_portrait(console_of(context), portrait, upcoming)


def _next_or_reason(asked: Schedules, name: str) -> list[datetime] | str:
    """The next planned times, or why they are not known here."""
    try:
        return asked.next_times(name, SHOWN_NEXT)
    except ScheduleRefused as error:
        return str(error)


def show_next_times(
    context: click.Context, app: PenstockApp, names: Sequence[str], count: int, after: datetime | None, as_json: bool
) -> None:
    """Shows what comes next, of several schedules in the order of time."""
    asked = schedules_of(app)
    chosen = names or [known.schedule.name for known in asked.all() if known.row.paused_at is None]
    each = [_named_times(asked, name, count, after, is_asked_for=bool(names)) for name in chosen]
    upcoming = list(islice(heapq.merge(*each, key=lambda entry: entry[0]), count))
    if as_json:
        print_json([{"schedule": name, "planned_at": time, "local": time.isoformat()} for time, name in upcoming])
    else:
        print_next(console_of(context), upcoming)


def _named_times(
    asked: Schedules, name: str, count: int, after: datetime | None, *, is_asked_for: bool
) -> Iterator[tuple[datetime, str]]:
    try:
        times = asked.next_times(name, count, after)
    except ScheduleRefused as error:
        if is_asked_for:
            raise
        click.echo(f"penstock: {error}", err=True)
        times = []
    return ((time, name) for time in times)


def add(app: PenstockApp, name: str, task: str, given: Mapping[str, Any], as_json: bool) -> None:
    """Adds a schedule."""
    asked, zone = schedules_of(app), app.settings.timezone
    when = timetable(given, zone)
    if when is None:
        raise click.UsageError("give a timetable: --cron, --every, --calendar or --once")
    for each in filter(None, (task, given["on_missed"])):
        _require_task(app, each)
    made = Schedule(
        name=name, task=task, when=when, options=call_options(given), **arguments(given), **rules(given, zone)
    )
    _tell(asked, asked.add(made), "added", as_json)


def edit(app: PenstockApp, name: str, given: Mapping[str, Any], as_json: bool) -> None:
    """Changes a schedule."""
    asked = schedules_of(app)
    known = asked.show(name, 0).known.schedule
    zone = known.timezone or app.settings.timezone
    changes = {**arguments(given), **rules(given, zone), **dict(CLEARED[each] for each in given["clear"])}
    if (when := timetable(given, zone)) is not None:
        changes["when"] = when
    if options := call_options(given):
        changes["options"] = {**known.options, **options}
    if given["on_missed"]:
        _require_task(app, given["on_missed"])
    if not changes:
        raise click.UsageError("name what is to change; --help lists it")
    _tell(asked, asked.edit(name, **changes), "changed", as_json)


def pause(app: PenstockApp, name: str, note: str, as_json: bool) -> None:
    """Pauses a schedule."""
    _say(schedules_of(app).pause(name, note), f"{name}: paused; its planned times are skipped", as_json)


def resume(app: PenstockApp, name: str, as_json: bool) -> None:
    """Ends a pause."""
    asked = schedules_of(app)
    _tell(asked, asked.resume(name), "resumed", as_json)


def trigger(app: PenstockApp, name: str, as_json: bool) -> None:
    """Starts a task now."""
    fire = schedules_of(app).trigger(name)
    if as_json:
        print_json(fire_as_json(fire))
    else:
        click.echo(f"{name}: job {fire.job_id}")


def backfill(
    app: PenstockApp, name: str, since: datetime, until: datetime | None, *, at_once: bool, as_json: bool
) -> None:
    """Makes up for planned times."""
    done = schedules_of(app).backfill(name, since, until, at_once=at_once)
    if as_json:
        print_json({"started": done.started, "waiting": done.waiting, "kept": done.kept})
        return
    parts = []
    if done.started:
        parts.append(f"{counted(len(done.started), 'job')} started")
    if done.waiting:
        parts.append(f"{counted(len(done.waiting), 'fire')} made up for, each when the one before has ended")
    if done.kept:
        parts.append(f"{counted(done.kept, 'planned time')} had a job")
    click.echo(f"{name}: {'; '.join(parts) or 'nothing was planned then'}")


def remove(app: PenstockApp, name: str, *, yes: bool, as_json: bool) -> None:
    """Removes a schedule."""
    asked = schedules_of(app)
    known = asked.show(name, 0).known
    if known.row.declared_by is None and not yes:
        click.confirm(f"Remove schedule {name!r} ({known.schedule.when} → {known.schedule.task})?", abort=True)
    asked.remove(name)
    _say(known, f"{name}: removed; its fires stay on the books", as_json)


def _tell(asked: Schedules, known: Known, done: str, as_json: bool) -> None:
    upcoming = _next_or_reason(asked, known.schedule.name)
    first = (
        f"; next {upcoming[0].isoformat(sep=' ', timespec='seconds')}"
        if isinstance(upcoming, list) and upcoming
        else ""
    )
    _say(known, f"{known.schedule.name}: {done}{first}", as_json)


def _say(known: Known, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(known_as_json(known))
    else:
        click.echo(sentence)


def _require_task(app: PenstockApp, name: str) -> None:
    """A name that is mistyped would be found out when its first job waits for a worker that knows it."""
    if name in app.tasks:
        return
    close = difflib.get_close_matches(name, app.tasks, n=1)
    hint = f"did you mean {close[0]}?" if close else "name the app that has it: celery -A …"
    raise ScheduleRefused(f"there is no task {name!r} here; {hint}")
