"""Whether what is declared can fire, and whether somebody is there to fire it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from penstock.checks.finding import Finding
from penstock.errors import LedgerOutdated, LedgerUnavailable
from penstock.ledger import schedules as rows
from penstock.ledger.schedules import BeatRow
from penstock.ledger.session import reading
from penstock.scheduler.forecast import oddities, planned_times
from penstock.scheduler.schedule import Schedule

SHOWN = 3
"""Schedules whose next fires are shown."""
SILENT = timedelta(seconds=20)
"""A scheduler that was not seen for so long is not at work: it tells every five seconds."""
OVERDUE = timedelta(seconds=10)


def is_at_work(beat: BeatRow, now: datetime) -> bool:
    """Whether a scheduler was seen just now."""
    return now - beat.seen_at < SILENT


def check_schedules(declared: Iterable[Schedule], tasks: Collection[str]) -> list[Finding]:
    """Whether each schedule's task exists, its arguments fit, and it fires; then what comes next.

    A warning for each schedule that loses or doubles a fire when clocks are shifted, with the days.
    """
    schedules, now = list(declared), datetime.now(UTC)
    if not schedules:
        return [Finding("schedules", True, "none is declared")]
    problems = [problem for each in schedules for problem in _problems(each, tasks)]
    upcoming: list[tuple[datetime, str]] = []
    for each in schedules:
        try:
            upcoming.extend((time, each.name) for time in islice(planned_times(each, now), 1))
        except Exception as error:  # A timetable that somebody else has written is somebody else's code.
            problems.append(f"schedule {each.name!r} cannot say when it is due: {type(error).__name__}: {error}")
    if problems:
        return [Finding("schedules", False, f"{'; '.join(problems)}; correct it where it is declared")]
    text = f"{len(schedules)}, each fits its task{_shown(upcoming)}"
    return [Finding("schedules", True, text), *_clocks(schedules, now)]


def _problems(schedule: Schedule, tasks: Collection[str]) -> Iterator[str]:
    if problem := schedule.problem():
        yield problem
    for name in filter(None, (schedule.task, schedule.on_missed)):
        if name not in tasks:
            close = difflib.get_close_matches(name, tasks, n=1)
            hint = f", did you mean {close[0]}?" if close else ""
            yield f"schedule {schedule.name!r}: there is no task {name!r}{hint}"


def _shown(upcoming: Iterable[tuple[datetime, str]]) -> str:
    """The schedules that fire next, each with its next time."""
    first = sorted(upcoming, key=lambda entry: (entry[0].timestamp(), entry[1]))[:SHOWN]
    return f"; next {', '.join(f'{name} at {_moment(time)}' for time, name in first)}" if first else ""


def _moment(time: datetime) -> str:
    seconds = f":{time:%S}" if time.second or time.microsecond else ""
    return f"{time:%Y-%m-%d %H:%M}{seconds} {time.isoformat()[-6:] if time.utcoffset() else 'UTC'}"


def _clocks(schedules: Iterable[Schedule], now: datetime) -> Iterator[Finding]:
    for each in schedules:
        if days := [f"{oddity.day}: {oddity.text}" for oddity in oddities(each, now)]:
            text = f"{each.name!r} ({each.when}, {each.timezone}): {'; '.join(days)}; choose another hour, or UTC"
            yield Finding("clocks", True, text, warning=True)


def check_beats(database_url: str, wanted: str | None) -> list[Finding]:
    """Whether schedulers are at work, and schedules in time.

    Args:
        wanted: name of one, or of the host that it runs on; None: all.
    """
    try:
        with reading(database_url) as connection:
            now = rows.clock(connection)
            beats = [each for each in rows.list_beats(connection) if wanted in (None, each.name, _host(each.name))]
            overdue, since = rows.overdue(connection, now, OVERDUE)
    except (LedgerUnavailable, LedgerOutdated) as error:
        return [Finding("ledger", False, str(error))]
    at_work = [each for each in beats if is_at_work(each, now)]
    findings = [_seen(each, now) for each in (at_work or beats)]
    if not findings:
        where = f" {'by the name of' if '@' in wanted else 'on'} {wanted}" if wanted else ""
        findings = [Finding("beats", False, f"none runs{where}; start one with `celery -A workers beat`")]
    if overdue and since and wanted is None:
        late = f"{overdue} overdue, the first for {_length(now - since)}"
        remedy = "look at the logs of the beats" if at_work else "they fire when a beat is at work"
        findings.append(Finding("schedules", False, f"{late}; {remedy}"))
    return findings


def _seen(beat: BeatRow, now: datetime) -> Finding:
    ago = _length(now - beat.seen_at)
    if is_at_work(beat, now):
        return Finding(beat.name, True, f"looked what is due {ago} ago")
    return Finding(beat.name, False, f"was last seen {ago} ago; look at its log, or start it again")


def _length(span: timedelta) -> str:
    seconds = round(max(span.total_seconds(), 0))
    return f"{seconds} s" if seconds < 100 else str(timedelta(seconds=seconds))


def _host(name: str) -> str:
    return name.partition("@")[2]
