"""Options that say when a schedule fires, by which rules, and what its jobs are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar, get_args

import click

from penstock.cli.arguments import arguments_of
from penstock.cli.command import Command, Word
from penstock.errors import DeclarationError
from penstock.operations.moments import UNITS
from penstock.scheduler import At, Calendar, Cron, Every
from penstock.scheduler.schedule import Overlap
from penstock.scheduler.timetables.calendar import UNITS as PERIODS
from penstock.scheduler.timetables.timing import Dst, When
from penstock.scheduler.timetables.zones import first_instant, zone_of

F = TypeVar("F", bound=Callable[..., Any])
WORD = Word()
TIMETABLES = ("cron", "every", "calendar", "once")
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
"""Rules that can be taken away, each with its field and what it is without."""
CLEARED_OPTIONS = ("queue", "priority", "expires")
"""The same for what jobs have instead of their task's."""
PARTS = {"both_days": "cron", "phase": "every", "on": "calendar", "at": "calendar", "interval": "calendar"}
"""What means nothing without its timetable."""


class Span(click.ParamType[timedelta]):
    """A length of time."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """From 0.5, 30s, 5m, 2h, 7d or 2w."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)", str(value).strip())
        if not match:
            self.fail(f"{value!r} is no length of time such as 30s, 5m, 2h or 7d", param, ctx)
        try:
            return timedelta(**{UNITS[match[2] or "s"]: float(match[1])})
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


class CatchUpWord(Span):
    """What is done about fires that come late."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A word, or how late a fire may be."""
        if value in ("none", "latest", "all"):
            return value
        if str(value).isalpha():
            self.fail(f"{value!r} is none of none, latest, all, and no length of time such as 2h", param, ctx)
        return super().convert(value, param, ctx)


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Naive when it names no zone."""
        try:
            return datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-12-24T18:00 or 2026-12-24T18:00+01:00", param, ctx)


class Day(click.ParamType[date]):
    """A day in ISO 8601."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """A date."""
        try:
            return date.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is no day such as 2026-12-24", param, ctx)


class SectionedCommand(Command):
    """A verb whose many options stand under headings in its help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each option under its heading, those without one at the end."""
        sections: dict[str, list[tuple[str, str]]] = {"Job": [], "When": [], "Rules": [], "Options": []}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                sections[getattr(param, "section", "Options")].append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class _Option(click.Option):
    """An option that knows its heading."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def _option(section: str, *names: str, **kwargs: Any) -> Callable[[F], F]:
    return click.option(*names, cls=_Option, section=section, **kwargs)


SPAN, MOMENT, DAY, ONE_OR_MORE = Span(), Moment(), Day(), click.IntRange(1)
_JOB = (
    _option("Job", "--args", "args_text", metavar="JSON", help="Its positional arguments, an array."),
    _option("Job", "--kwargs", "kwargs_text", metavar="JSON", help="Its named arguments, an object."),
    _option("Job", "--queue", type=WORD, metavar="NAME", help="Instead of its task's."),
    _option(
        "Job",
        "--priority",
        type=click.IntRange(0, 9),
        metavar="N",
        help="0 (first) to 9 (last), instead of its task's.",
    ),
    _option("Job", "--expires", type=SPAN, help="Cancelled unless it has started within so much time."),
)
_TIMETABLE = (
    _option("When", "--cron", type=WORD, help="Five fields, or a nickname: '30 2 * * 1-5', @daily."),
    _option("When", "--both-days", is_flag=True, help="With --cron: day of month and day of week must both match."),
    _option("When", "--every", type=SPAN, help="An interval, counted from 1970: 30s, 5m, 2h, 7d."),
    _option("When", "--phase", type=SPAN, help="With --every: later by so much."),
    _option(
        "When",
        "--calendar",
        type=click.Choice(PERIODS),
        metavar="UNIT",
        help=f"Once in each {', '.join(PERIODS[:-1])} or {PERIODS[-1]}.",
    ),
    _option("When", "--on", type=WORD, help="With --calendar: 'last working day', '15', 'monday, thursday'."),
    _option("When", "--time", "at", type=WORD, metavar="HH:MM", help="With --calendar.  [default: 00:00]"),
    _option("When", "--interval", type=click.IntRange(1, 1000), metavar="N", help="With --calendar: each N-th unit."),
    _option("When", "--once", type=MOMENT, help="One moment: 2026-12-24T18:00."),
    _option("When", "--timezone", type=WORD, metavar="ZONE", help="Such as Europe/Berlin.  [default: the app's]"),
    _option(
        "When",
        "--dst",
        type=click.Choice(get_args(Dst)),
        metavar="RULE",
        help="Times that clocks jump over or show twice: cron (once, as cron has it), or literal (as clocks show "
        "them).  [default: cron]",
    ),
)
_RULES = (
    _option(
        "Rules",
        "--overlap",
        type=click.Choice(get_args(Overlap)),
        metavar="RULE",
        help="While a job of it has not ended: skip, 'buffer one', 'buffer all', 'cancel other' or allow."
        "  [default: skip]",
    ),
    _option(
        "Rules",
        "--catch-up",
        type=CatchUpWord(),
        metavar="RULE",
        help="Fires that are more than a minute late: none, latest, all, or those within a span such as 2h."
        "  [default: latest]",
    ),
    _option("Rules", "--jitter", type=SPAN, help="Starts are spread over so much time."),
    _option("Rules", "--start", type=MOMENT, help="No fire before."),
    _option("Rules", "--end", type=MOMENT, help="No fire after."),
    _option("Rules", "--max-fires", type=ONE_OR_MORE, metavar="N", help="Over after N jobs."),
    _option("Rules", "--exclude", type=DAY, multiple=True, help="Fires of this day are skipped; repeatable."),
    _option(
        "Rules",
        "--pause-after-failures",
        type=ONE_OR_MORE,
        metavar="N",
        help="Paused when N jobs in a row have failed.",
    ),
    _option("Rules", "--tag", "tags", type=WORD, multiple=True, metavar="TAG", help="To find it by; repeatable."),
    _option(
        "Rules", "--on-missed", type=WORD, metavar="TASK", help="Full name of a task that is told of missed fires."
    ),
)


def schedule_options(command: F) -> F:
    """Adds what a schedule is made of: its job, its timetable and its rules."""
    for option in reversed((*_JOB, *_TIMETABLE, *_RULES)):
        command = option(command)
    return command


def instant(moment: datetime | None, zone: str) -> datetime | None:
    """A time in UTC. One that names no zone is what clocks of this one show: the first time, or right after a jump.

    Raises:
        DeclarationError: there is no such zone, or no such time in it.
    """
    if moment is None:
        return None
    if not 1 < moment.year < 9999:
        raise DeclarationError(f"{moment.isoformat()}: this year is out of all bounds; correct it")
    return moment.astimezone(UTC) if moment.tzinfo else first_instant(moment, zone_of(zone))


def timetable(given: Mapping[str, Any], zone: str) -> When | None:
    """The timetable that the options describe; None: they say nothing of it.

    Raises:
        click.UsageError: several, or parts of one without the rest.
        DeclarationError: it makes no sense.
    """
    chosen = [name for name in TIMETABLES if given[name] is not None]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]}: give one timetable")
    for part, owner in PARTS.items():
        if given[part] not in (None, False) and owner not in chosen:
            raise click.UsageError(f"--{'time' if part == 'at' else part.replace('_', '-')} goes with --{owner}")
    if given["cron"] is not None:
        return Cron(given["cron"], days="both" if given["both_days"] else "either")
    if given["every"] is not None:
        return Every(given["every"].total_seconds(), given["phase"].total_seconds() if given["phase"] else 0.0)
    if given["calendar"] is not None:
        return Calendar(given["calendar"], given["on"] or "", given["at"] or "00:00", given["interval"] or 1)
    moment = instant(given["once"], given["timezone"] or zone)
    return At(moment) if moment is not None else None


def rules(given: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """Fields of a schedule that the options name."""
    fields = ("overlap", "catch_up", "max_fires", "pause_after_failures", "on_missed", "timezone", "dst")
    named: dict[str, Any] = {name: given[name] for name in fields if given[name] is not None}
    if given["jitter"] is not None:
        named["jitter"] = given["jitter"].total_seconds()
    for bound in ("start", "end"):
        if given[bound] is not None:
            named[bound] = instant(given[bound], given["timezone"] or zone)
    return named | {name: tuple(given[name]) for name in ("exclude", "tags") if given[name]}


def call_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the jobs that are named."""
    named = {name: given[name] for name in ("queue", "priority") if given[name] is not None}
    return named | ({"expires": given["expires"].total_seconds()} if given["expires"] is not None else {})


def arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are named.

    Raises:
        ArgumentError: they are no JSON, or not of the right kind.
    """
    named = arguments_of(given["args_text"], given["kwargs_text"])
    return named | ({"args": tuple(named["args"])} if "args" in named else {})
