"""Options that say when a schedule fires, and by which rules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar, get_args

import click

from penstock.cli.command import UNITS, Word, in_zone
from penstock.errors import ScheduleRefused
from penstock.scheduler import At, Calendar, Cron, Every
from penstock.scheduler.calendar import UNITS as PERIODS
from penstock.scheduler.schedule import Overlap
from penstock.scheduler.timing import Dst, When

F = TypeVar("F", bound=Callable[..., Any])
WORD = Word()
TIMETABLES = ("cron", "every", "calendar", "once")


class Span(click.ParamType[timedelta]):
    """A length of time."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """From 0.5, 30s, 5m, 2h, 7d or 2w."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", str(value).strip())
        if not match:
            self.fail(f"{value!r} is no length of time such as 30s, 5m, 2h or 7d", param, ctx)
        return timedelta(**{UNITS[match[2] or "s"]: float(match[1])})


class CatchUpWord(Span):
    """What is done about fires that come late."""

    name = "none|latest|all|span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A word, or how late a fire may be."""
        return value if value in ("none", "latest", "all") else super().convert(value, param, ctx)


SPAN = Span()
MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
DAY = click.DateTime(["%Y-%m-%d"])
_TIMETABLE = (
    click.option("--cron", type=WORD, help="Five fields, or a nickname: '30 2 * * 1-5', @daily."),
    click.option("--both-days", is_flag=True, help="With --cron: day of month and day of week must both match."),
    click.option("--every", type=SPAN, help="An interval: 30s, 5m, 2h, counted from 1970."),
    click.option("--phase", type=SPAN, help="With --every: by so much later."),
    click.option("--calendar", type=click.Choice(PERIODS), help="Each of these periods."),
    click.option("--on", type=WORD, help="With --calendar: 'last working day', '15', 'monday, thursday'."),
    click.option("--time", "at", type=WORD, help="With --calendar: hour and minute, 09:30."),
    click.option("--interval", type=click.IntRange(1, 1000), help="With --calendar: every so many periods."),
    click.option("--once", type=MOMENT, help="One moment; in the schedule's zone unless it has an offset."),
    click.option("--timezone", type=WORD, help="Such as Europe/Berlin.  [default: PENSTOCK_TIMEZONE]"),
    click.option("--dst", type=click.Choice(get_args(Dst)), help="Times that clocks jump over or show twice."),
)
_RULES = (
    click.option("--overlap", type=click.Choice(get_args(Overlap)), help="While its last job runs.  [default: skip]"),
    click.option("--catch-up", type=CatchUpWord(), help="Fires more than a minute late.  [default: latest]"),
    click.option("--jitter", type=SPAN, help="Spread the starts over so much time."),
    click.option("--start", type=MOMENT, help="No fire before."),
    click.option("--end", type=MOMENT, help="No fire after."),
    click.option("--max-fires", type=click.IntRange(1), help="Over after so many jobs."),
    click.option("--exclude", type=DAY, multiple=True, help="A day without fires; repeatable."),
    click.option("--pause-after-failures", type=click.IntRange(1), help="Failed jobs in a row that pause it."),
    click.option("--tag", "tags", type=WORD, multiple=True, help="A word to find it by; repeatable."),
    click.option("--on-missed", type=WORD, help="Full name of a task that is told of missed fires."),
    click.option("--queue", type=WORD, help="Queue of its jobs."),
    click.option("--priority", type=click.IntRange(0, 9), help="Of its jobs, 0 (first) to 9 (last)."),
    click.option("--expires", type=SPAN, help="Its jobs are cancelled if they have not started by then."),
)


def timetable_options(command: F) -> F:
    """Adds what says when."""
    return _with(command, _TIMETABLE)


def rule_options(command: F) -> F:
    """Adds the rules."""
    return _with(command, _RULES)


def _with(command: F, options: tuple[Any, ...]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def timetable(given: Mapping[str, Any], zone: str) -> When | None:
    """The timetable that the options describe; None: they say nothing of it.

    Raises:
        click.UsageError: several, or parts of one without the rest.
        DeclarationError: it makes no sense.
    """
    chosen = [name for name in TIMETABLES if given[name] is not None]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]}: give one timetable")
    _require_owner(given, chosen)
    if given["cron"] is not None:
        return Cron(given["cron"], days="both" if given["both_days"] else "either")
    if given["every"] is not None:
        return Every(given["every"].total_seconds(), given["phase"].total_seconds() if given["phase"] else 0.0)
    if given["calendar"] is not None:
        return Calendar(given["calendar"], given["on"] or "", given["at"] or "00:00", given["interval"] or 1)
    moment = in_zone(given["once"], given["timezone"] or zone)
    return At(moment) if moment is not None else None


def _require_owner(given: Mapping[str, Any], chosen: list[str]) -> None:
    parts = {"both_days": "cron", "phase": "every", "on": "calendar", "at": "calendar", "interval": "calendar"}
    for part, owner in parts.items():
        if given[part] and owner not in chosen:
            raise click.UsageError(f"--{'time' if part == 'at' else part.replace('_', '-')} goes with --{owner}")


def rules(given: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """Fields of a schedule that the options name."""
    fields = ("overlap", "catch_up", "max_fires", "pause_after_failures", "on_missed", "timezone", "dst")
    named: dict[str, Any] = {name: given[name] for name in fields if given[name] is not None}
    if given["jitter"] is not None:
        named["jitter"] = given["jitter"].total_seconds()
    for bound in ("start", "end"):
        if given[bound] is not None:
            named[bound] = in_zone(given[bound], given["timezone"] or zone)
    if given["exclude"]:
        named["exclude"] = tuple(day.date() for day in given["exclude"])
    if given["tags"]:
        named["tags"] = tuple(given["tags"])
    return named


def call_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the jobs that are named."""
    named = {name: given[name] for name in ("queue", "priority") if given[name] is not None}
    return named | ({"expires": given["expires"].total_seconds()} if given["expires"] is not None else {})


def arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are named.

    Raises:
        ScheduleRefused: they are no JSON, or not of the right kind.
    """
    named: dict[str, Any] = {}
    for name, kind, what in (("args", list, "array"), ("kwargs", dict, "object")):
        if (text := given[f"{name}_text"]) is None:
            continue
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ScheduleRefused(f"--{name} {text!r} is no JSON ({error})") from None
        if not isinstance(value, kind):
            raise ScheduleRefused(f"--{name} {text!r} is no JSON {what}")
        named[name] = tuple(value) if kind is list else value
    return named
