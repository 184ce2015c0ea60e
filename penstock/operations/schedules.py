"""Schedules as people ask about them: how far each is, what its rules say, and when it fires next."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from penstock.checks.schedules import OVERDUE, is_at_work
from penstock.errors import DeclarationError, LedgerOutdated, LedgerUnavailable, ScheduleNotFound, ScheduleRefused
from penstock.ledger.schedules import FOREIGN, BeatRow, ScheduleRow
from penstock.scheduler import At, Every, Schedule
from penstock.scheduler.changes import Backfill, Known, Schedules
from penstock.wording import counted, distance, one_line

LATE = OVERDUE
"""How long after it was due a schedule is called late."""
SHOWN_DAYS = 5
"""Excluded days of which each is named."""
PATIENCE_SECONDS = 2.0
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def schedules_of(app: Any, actor: str) -> Schedules:
    """The schedules of an application's ledger, with everything that it declares.

    Raises:
        DeclarationError: a module that the application names is not there.
    """
    try:
        app.loader.import_default_modules()
    except ImportError as error:
        raise DeclarationError(f"a module of the settings imports or include: {error}; correct its name") from error
    return Schedules(app, app.settings.database_url, actor)


# -- how far one is ---------------------------------------------------------------------------------------------------


class Phase(StrEnum):
    """What becomes of a schedule's next planned time."""

    PLANNED = "planned"
    LATE = "late"
    PAUSED = "paused"
    OVER = "over"
    UNKNOWN = "unknown"
    """Nobody who declares it has asked its object yet."""


def phase_of(row: ScheduleRow, now: datetime) -> Phase:
    """How far a schedule is.

    Args:
        now: by the clock of the ledger, which all schedulers go by.
    """
    if row.paused_at is not None:
        return Phase.PAUSED
    if row.planned_at is None or row.due_at is None:
        return Phase.UNKNOWN if row.kind == FOREIGN and not row.fires else Phase.OVER
    return Phase.LATE if row.due_at < now - LATE else Phase.PLANNED


def phase_text(row: ScheduleRow, now: datetime) -> str:
    """When it fires next, or why it does not."""
    match phase_of(row, now):
        case Phase.PAUSED if row.paused_at is not None:
            return f"paused {distance(row.paused_at, now)}"
        case Phase.LATE if row.due_at is not None:
            return f"{distance(row.due_at, now).removesuffix(' ago')} overdue"
        case Phase.PLANNED if row.planned_at is not None:
            return distance(row.planned_at, now)
        case Phase.UNKNOWN:
            return "not known yet"
    return "over"


def at_work(beats: Sequence[BeatRow], now: datetime) -> list[BeatRow]:
    """The schedulers that were seen just now."""
    return [beat for beat in beats if is_at_work(beat, now)]


# -- what comes next --------------------------------------------------------------------------------------------------


def next_times(asked: Schedules, name: str, count: int, after: datetime | None = None) -> list[datetime]:
    """The next planned times of a schedule.

    Raises:
        ScheduleNotFound: there is none of this name.
        ScheduleRefused: its object cannot say.
    """
    try:
        return asked.next_times(name, count, after)
    except (ScheduleNotFound, ScheduleRefused, LedgerUnavailable, LedgerOutdated):
        raise
    except Exception as error:  # A timetable that somebody else has written is somebody else's code.
        raise ScheduleRefused(problem_of(name, error)) from error


def next_or_reason(asked: Schedules, name: str, count: int) -> list[datetime] | str:
    """The next planned times, or why they are not known here."""
    try:
        return next_times(asked, name, count)
    except ScheduleRefused as error:
        return str(error).removeprefix(f"schedule {name!r}: ")


def problem_of(name: str, error: Exception) -> str:
    """What somebody else's timetable has raised."""
    return f"schedule {name!r}: it cannot say when it is due: {one_line(f'{type(error).__name__}: {error}')}"


class Questions:
    """Asks timetables that somebody else has written, and waits for none of them longer than
    :data:`PATIENCE_SECONDS`. One that has not answered is not asked a second time meanwhile, so that a page that is
    looked at again and again holds one thread of it and no more.
    """

    def __init__(self) -> None:
        self._open: dict[str, Future[list[datetime] | str]] = {}
        self._lock = threading.Lock()

    def next_or_reason(self, asked: Schedules, known: Known, count: int) -> list[datetime] | str:
        """As the function; of a timetable of ours there is nothing to wait for."""
        name = known.row.name
        if known.row.kind != FOREIGN:
            return next_or_reason(asked, name, count)
        with self._lock:
            if (answer := self._open.get(name)) is None:
                answer = self._open[name] = Future()
                threading.Thread(target=self._ask, args=(answer, asked, name, count), daemon=True).start()
        try:
            return answer.result(PATIENCE_SECONDS)
        except TimeoutError:
            return f"its timetable has not answered for {PATIENCE_SECONDS:g} s"

    def _ask(self, answer: Future[list[datetime] | str], asked: Schedules, name: str, count: int) -> None:
        try:
            found = next_or_reason(asked, name, count)
        except BaseException as error:
            self._close(name)
            answer.set_exception(error)
            return
        self._close(name)
        answer.set_result(found)

    def _close(self, name: str) -> None:
        with self._lock:
            del self._open[name]


@dataclass(frozen=True)
class Upcoming:
    """A planned time that is to come."""

    at: datetime
    """In the zone of its schedule."""
    shift: timedelta
    """By how much clocks were put forward since the time before; negative: back; mostly 0."""


def with_shifts(times: Sequence[datetime], now: datetime) -> Iterator[Upcoming]:
    """Planned times, and before which of them clocks are shifted."""
    before = now.astimezone(times[0].tzinfo) if times else now
    for time in times:
        yield Upcoming(time, (time.utcoffset() or timedelta()) - (before.utcoffset() or timedelta()))
        before = time


# -- in words ---------------------------------------------------------------------------------------------------------


def when_text(schedule: Schedule) -> str:
    """A timetable for people: intervals in the units of ``--every``, a moment as clocks of its zone show it."""
    when = schedule.when
    if isinstance(when, Every):
        return f"every {span(when.seconds)}" + (f" + {span(when.phase)}" if when.phase else "")
    if isinstance(when, At):
        return f"at {moment(when.moment.astimezone(schedule.zone))}"
    zone = f", {schedule.timezone}" if schedule.timezone not in (None, "UTC") else ""
    return one_line(f"{when}{zone}")


def rules(schedule: Schedule) -> Iterator[tuple[str, str]]:
    """Name and value of each rule that is set, and of those that every schedule has."""
    yield "overlap", schedule.overlap
    late = schedule.catch_up if isinstance(schedule.catch_up, str) else span(schedule.catch_up.total_seconds())
    yield "catch up", late
    if schedule.dst != "cron":
        yield "dst", schedule.dst
    if schedule.jitter:
        yield "jitter", span(schedule.jitter)
    for name in ("start", "end"):
        if (bound := getattr(schedule, name)) is not None:
            yield name, moment(bound.astimezone(schedule.zone))
    for name in ("max_fires", "pause_after_failures", "on_missed"):
        if (value := getattr(schedule, name)) is not None:
            yield name.replace("_", " "), str(value)
    if schedule.exclude:
        days = schedule.exclude[:SHOWN_DAYS]
        more = (
            f" and {counted(len(schedule.exclude) - SHOWN_DAYS, 'more day')}" if schedule.exclude[SHOWN_DAYS:] else ""
        )
        yield "not on", f"{', '.join(map(str, days))}{more}"
    for name, value in schedule.options.items():
        yield name, str(value)


MEANINGS = {
    ("overlap", "skip"): "while a job of it has not ended, a fire is skipped",
    ("overlap", "buffer one"): "while a job of it has not ended, one fire waits and further ones are skipped",
    ("overlap", "buffer all"): "while a job of it has not ended, fires wait, and start one after the other",
    ("overlap", "cancel other"): "a fire cancels a job of it that has not ended, and starts when that has",
    ("overlap", "allow"): "its jobs run beside each other",
    ("catch up", "none"): "a fire that nobody could start within a minute is missed",
    ("catch up", "latest"): "of fires that nobody could start within a minute, the last one starts late",
    ("catch up", "all"): "fires that nobody could start in time all start late",
    ("dst", "literal"): "what clocks never show does not fire, and what they show twice fires twice",
}
"""What the words of some rules mean."""


def meaning_of(rule: str, value: str) -> str:
    """What a rule of :func:`rules` means; empty where its value says it."""
    match rule:
        case "catch up" if (rule, value) not in MEANINGS:
            return f"a fire that nobody could start within {value} is missed"
        case "jitter":
            return "starts are spread over so long; planned times stay as they are"
        case "start" | "end":
            return "nothing is planned " + ("before" if rule == "start" else "after")
        case "max fires":
            return "after so many jobs it is over"
        case "pause after failures":
            return "after so many failed jobs in a row it pauses itself"
        case "on missed":
            return "this task is told of fires that were missed"
        case "not on":
            return "fires of these days are skipped"
    return MEANINGS.get((rule, value), "")


def backfill_text(done: Backfill) -> str:
    """What a backfill has done, in a sentence."""
    parts = []
    if done.started:
        parts.append(f"{counted(len(done.started), 'job')} started")
    if done.waiting:
        parts.append(f"{counted(len(done.waiting), 'fire')} waiting, each for the end of the one before")
    if done.kept:
        parts.append(f"{counted(done.kept, 'planned time')} started or waiting already")
    return "; ".join(parts) or "nothing was planned then"


def span(seconds: float) -> str:
    """A length of time, exact: 30s, 0.5s, 1h 30m, 7d."""
    parts = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:.0f}{unit}")
    if seconds or not parts:
        parts.append(f"{seconds:.6f}".rstrip("0").rstrip(".") + "s")
    return " ".join(parts)


def moment(time: datetime, *, has_seconds: bool | None = None) -> str:
    """A day, a time and its offset from UTC; with seconds if it has some, unless it is said."""
    if has_seconds is None:
        has_seconds = is_within_minute(time)
    seconds = f":{time:%S}" if has_seconds else ""
    offset = time.isoformat().removeprefix(time.replace(tzinfo=None).isoformat())
    return f"{time:%Y-%m-%d %H:%M}{seconds} {offset if time.utcoffset() else 'UTC'}"


def is_within_minute(time: datetime) -> bool:
    """Whether it is not a whole minute."""
    return bool(time.second or time.microsecond)
