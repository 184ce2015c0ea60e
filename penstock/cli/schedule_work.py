"""What the verbs of `schedules` do."""

from __future__ import annotations

import difflib
import heapq
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from penstock.actor import actor
from penstock.cli.output import console_of, print_json
from penstock.cli.schedule_portrait import portrait_as_json, print_portrait, print_remains, remains_as_json
from penstock.cli.schedule_table import (
    beat_as_json,
    fire_as_json,
    known_as_json,
    next_as_json,
    print_lines,
    print_next,
    print_table,
)
from penstock.cli.timetable_options import CLEARED, CLEARED_OPTIONS, arguments, call_options, instant, rules, timetable
from penstock.errors import ScheduleRefused
from penstock.ledger.fires import FireState
from penstock.ledger.schedules import clock
from penstock.ledger.session import reading
from penstock.operations import schedules as operations
from penstock.operations.schedules import (
    at_work,
    backfill_text,
    moment,
    next_or_reason,
    next_times,
    problem_of,
    when_text,
)
from penstock.scheduler.changes import Known, Schedules
from penstock.scheduler.declarations import zone_name
from penstock.scheduler.schedule import Schedule
from penstock.wording import one_line

if TYPE_CHECKING:
    from penstock.app import PenstockApp

SHOWN_NEXT = 5
Planned = tuple[datetime, str]
"""A planned time and its schedule."""


def schedules_of(app: PenstockApp) -> Schedules:
    """The schedules of an application's ledger, for whoever is at the keyboard."""
    return operations.schedules_of(app, actor())


def _clock(app: PenstockApp) -> datetime:
    """Whether a beat is at work, or a schedule overdue, is judged by the clock that they go by."""
    with reading(app.settings.database_url) as connection:
        return clock(connection)


def list_all(context: click.Context, app: PenstockApp, tag: str | None, as_json: bool) -> None:
    """Lists all schedules, or those with a tag."""
    asked, console = schedules_of(app), console_of(context)
    known = asked.all(tag)
    if as_json:
        now = _clock(app)
        beats = [beat_as_json(each, now) for each in asked.beats()]
        print_json({"schedules": [known_as_json(each) for each in known], "beats": beats})
    elif console.is_terminal:
        print_table(console, known, asked.beats(), _clock(app))
    else:
        print_lines(known)


def show(context: click.Context, app: PenstockApp, name: str, limit: int, state: str | None, as_json: bool) -> None:
    """Shows one schedule, or what is kept of one that was removed."""
    asked, chosen = schedules_of(app), FireState(state) if state else None
    if (remains := asked.remains(name, limit, chosen)) is not None:
        if as_json:
            print_json(remains_as_json(remains))
        else:
            print_remains(console_of(context), remains, ZoneInfo(zone_name(app)))
        return
    portrait = asked.show(name, limit, chosen)
    upcoming, now = next_or_reason(asked, name, SHOWN_NEXT), _clock(app)
    if as_json:
        print_json(portrait_as_json(portrait, upcoming if isinstance(upcoming, list) else [], now))
    else:
        print_portrait(console_of(context), portrait, upcoming, now)


def show_next_times(
    context: click.Context, app: PenstockApp, names: Sequence[str], count: int, after: datetime | None, as_json: bool
) -> None:
    """Shows what comes next, of several schedules in the order of time."""
    asked, after = schedules_of(app), instant(after, zone_name(app))
    upcoming = _of_these(asked, names, count, after) if names else _of_all(asked, count, after)
    if as_json:
        print_json(next_as_json(upcoming))
    else:
        print_next(console_of(context), upcoming)


def _of_these(asked: Schedules, names: Sequence[str], count: int, after: datetime | None) -> list[Planned]:
    """The next times of the schedules that are named."""
    upcoming = [(time, name) for name in dict.fromkeys(names) for time in next_times(asked, name, count, after)]
    for name in dict.fromkeys(names):
        if asked.show(name, 0).known.row.paused_at is not None:
            _remark(f"schedule {name!r} is paused: its planned times are skipped until it is resumed")
    return sorted(upcoming, key=_order)[:count]


def _of_all(asked: Schedules, count: int, after: datetime | None) -> list[Planned]:
    """The next times of all that are not paused; of one that cannot be asked, why."""
    each = [_planned(asked, known, after) for known in asked.all() if known.row.paused_at is None]
    return list(islice(heapq.merge(*each, key=_order), count))


def _planned(asked: Schedules, known: Known, after: datetime | None) -> Iterator[Planned]:
    try:
        for time in asked.times(known, after):
            yield time, known.row.name
    except Exception as error:  # A timetable that somebody else has written is somebody else's code.
        _remark(str(error) if isinstance(error, ScheduleRefused) else problem_of(known.row.name, error))


def _order(planned: Planned) -> tuple[float, str]:
    """By the instant: what clocks show is in no order when they are put back."""
    return planned[0].timestamp(), planned[1]


def _remark(sentence: str) -> None:
    click.echo(f"penstock: {one_line(sentence)}", err=True)


def add(app: PenstockApp, name: str, task: str, given: Mapping[str, Any], as_json: bool) -> None:
    """Adds a schedule."""
    asked, zone = schedules_of(app), zone_name(app)
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
    zone = known.timezone or zone_name(app)
    changes = {**arguments(given), **rules(given, zone)}
    if (when := timetable(given, zone)) is not None:
        changes["when"] = when
    if given["on_missed"]:
        _require_task(app, given["on_missed"])
    options = call_options(given)
    for rule in given["clear"]:
        field, without = CLEARED.get(rule, (rule, None))
        if field in changes or field in options:
            raise click.UsageError(f"--{rule} and --clear {rule}: give one of them")
        if rule in CLEARED:
            changes[field] = without
    cleared = set(given["clear"]) & set(CLEARED_OPTIONS)
    if options or cleared:
        kept = {name: value for name, value in known.options.items() if name not in cleared}
        changes["options"] = {**kept, **options}
    if not changes:
        raise click.UsageError("name what is to change; --help lists it")
    _tell(asked, asked.edit(name, **changes), "changed", as_json)


def pause(app: PenstockApp, name: str, note: str, as_json: bool) -> None:
    """Pauses a schedule."""
    known = schedules_of(app).pause(name, note)
    until = f"until `schedules resume {shlex.quote(name)}`"
    _say(known, f"{name}: paused; its planned times are skipped {until}", as_json)


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
    first, last = instant(since, zone_name(app)), instant(until, zone_name(app))
    assert first is not None
    if last is not None and last < first:
        raise click.UsageError("--until comes before --since")
    asked = schedules_of(app)
    done = asked.backfill(name, first, last, at_once=at_once)
    if as_json:
        print_json({"started": done.started, "waiting": done.waiting, "kept": done.kept})
        return
    click.echo(f"{name}: {backfill_text(done)}")
    now = _clock(app)
    if done.waiting and not at_work(asked.beats(), now):
        _remark("no beat is at work that would start them: start one with `celery -A … beat`")


def remove(app: PenstockApp, name: str, *, yes: bool, as_json: bool) -> None:
    """Removes a schedule."""
    asked = schedules_of(app)
    known = asked.show(name, 0).known
    if known.row.declared_by is None and not yes:
        what = f"{when_text(known.schedule)} → {one_line(known.schedule.task)}"
        click.confirm(f"Remove schedule {name!r} ({what})?", abort=True, err=True)
    asked.remove(name)
    _say(known, f"{name}: removed; its fires stay on the books", as_json)


def _tell(asked: Schedules, known: Known, done: str, as_json: bool) -> None:
    name = known.schedule.name
    if known.row.paused_at is not None:
        then = "; it is paused"
    elif isinstance(upcoming := next_or_reason(asked, name, SHOWN_NEXT), str):
        then = ""
    else:
        then = f"; next {moment(upcoming[0])}" if upcoming else "; nothing is planned any more"
    _say(known, f"{name}: {done}{then}", as_json)


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
