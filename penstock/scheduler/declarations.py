"""Rows from declarations: what an application declares is what the ledger has, and what was added by hand stays."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from penstock.errors import DeclarationError, UnserialisableResult
from penstock.ledger import fires, outbox, schedules
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.ledger.schedules import ScheduleRow
from penstock.ledger.session import encode_json
from penstock.scheduler import lazy
from penstock.scheduler.firing import decide, is_followed, standing_of, telling_of_missed, write
from penstock.scheduler.schedule import MAX_NAME, Schedule
from penstock.scheduler.timetables.foreign import Foreign, from_celery

logger = logging.getLogger("penstock.beat")
REMOVED, CHANGED = "its schedule was taken away", "its timetable was changed"
MOST_REMOVED = 10_000
"""Times that are told of a schedule that is taken away."""


@dataclass(frozen=True)
class Reconciled:
    """What has changed, by name."""

    added: list[str]
    changed: list[str]
    removed: list[str]


def declared_by(app: Any) -> list[Schedule]:
    """The schedules that an application declares: ours, and the entries of Celery's ``beat_schedule``.

    Raises:
        DeclarationError: two have one name, or an entry makes no sense.
    """
    zone = zone_name(app)
    ours = [each.in_zone(zone) for each in getattr(app, "schedules", ())]
    theirs = [from_entry(name, entry).in_zone(zone) for name, entry in (app.conf.beat_schedule or {}).items()]
    if twice := sorted({each.name for each in ours} & {each.name for each in theirs}):
        raise DeclarationError(f"schedule {twice[0]!r} is declared twice: as ours, and in beat_schedule")
    for each in (*ours, *theirs):
        if isinstance(each.when, Foreign):
            each.when.belong_to(app)
    return ours + theirs


def zone_name(app: Any) -> str:
    """The zone of schedules that name none: the one that Celery's own beat would go by."""
    return str(app.timezone)


def from_entry(name: str, entry: Any) -> Schedule:
    """The schedule that an entry of ``beat_schedule`` means; as with Celery's beat, its jobs may overlap.

    Raises:
        DeclarationError: it has no task, or no schedule, or something that cannot be stored.
    """
    if isinstance(entry.get("schedule"), str) or not isinstance(entry.get("task"), str):
        raise DeclarationError(f"beat_schedule {name!r}: give it a 'task' and a 'schedule'")
    args, kwargs = lazy.stored(tuple(entry.get("args") or ())), lazy.stored(dict(entry.get("kwargs") or {}))
    try:
        when = from_celery(entry.get("schedule"))
        encode_json([args, kwargs, entry.get("options")])
    except (DeclarationError, UnserialisableResult) as error:
        raise DeclarationError(f"beat_schedule {name!r}: {error}") from None
    return Schedule(
        name=fitting_name(name),
        task=entry["task"],
        when=when,
        args=args,
        kwargs=kwargs,
        options=dict(entry.get("options") or {}),
        overlap="allow",
        is_template=False,
    )


def fitting_name(name: str) -> str:
    """The name itself, or its beginning and a digest: Celery makes names of whole calls."""
    if len(name) <= MAX_NAME and name.isprintable() and name.strip() == name:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    return f"{' '.join(name.split())[: MAX_NAME - 14]}… {digest}"


def reconcile(connection: Connection, app: Any, declared: Iterable[Schedule]) -> Reconciled:
    """Makes the ledger have what the application declares, in one transaction with the caller's.

    Fires that were due before a change of the timetable end by the old one. A schedule of the same name that was added
    by hand, or declared by another application, becomes this application's.
    """
    wanted = {each.name: each for each in sorted(declared, key=lambda each: each.name)}
    now, application = schedules.clock(connection), str(app.main)
    known = {row.name for row in schedules.find_all(connection, wanted)}
    new = [new_row(each, application, now) for name, each in wanted.items() if name not in known]
    for made in new:
        if made["planned_at"] is None and made["kind"] != Foreign.kind:
            logger.warning("schedule %r never fires: all its times have passed", made["name"])
    added = schedules.add(connection, new)
    result = Reconciled(sorted(added), [], [])
    # Looked for after the insert: another scheduler may have been first, with another definition.
    for row in schedules.declared(connection, application, wanted):
        if row.name not in wanted:
            remove(connection, app, row, now)
            result.removed.append(row.name)
        elif row.definition != wanted[row.name].words() or row.declared_by != application:
            if row.declared_by not in (None, application):
                logger.warning("schedule %r was declared by %s, and is ours now", row.name, row.declared_by)
            redefine(connection, app, row, wanted[row.name], now, declared_by=application)
            result.changed.append(row.name)
    return result


def new_row(schedule: Schedule, application: str | None, now: datetime) -> dict[str, Any]:
    """A schedule as a row, with its first planned time; those that others have written are asked later, elsewhere."""
    return {
        "name": schedule.name,
        "kind": schedule.when.kind,
        "definition": schedule.words(),
        "declared_by": application,
        "created_at": now,
        "updated_at": now,
        **_planned(schedule, now),
    }


def _planned(schedule: Schedule, after: datetime) -> dict[str, Any]:
    first = None if isinstance(schedule.when, Foreign) else schedule.after(after)
    return {"planned_at": first, "due_at": schedule.due(first) if first else None}


def redefine(
    connection: Connection, app: Any, row: ScheduleRow, schedule: Schedule, now: datetime, *, declared_by: str | None
) -> None:
    """Gives a schedule another definition. What was due before ends by the old one."""
    old = _readable(row)
    is_same_time = old is not None and _timing(old) == _timing(schedule)
    if not is_same_time:
        settle(connection, app, row, old, now)
        row = schedules.find(connection, row.name) or row
    values = {
        "kind": schedule.when.kind,
        "definition": schedule.words(),
        "version": row.version + 1,
        "declared_by": declared_by,
    }
    if not is_same_time:
        values |= _planned(schedule, now)
    elif row.planned_at is not None:
        values |= {"due_at": schedule.due(row.planned_at)}
    if schedule.max_fires is not None and row.fires >= schedule.max_fires:
        values |= {"planned_at": None, "due_at": None}
    if is_followed(schedule) and not (old and is_followed(old)):
        fires.follow_open(connection, row.name)
    schedules.change(connection, row.name, values, now)


def settle(connection: Connection, app: Any, row: ScheduleRow, schedule: Schedule | None, now: datetime) -> None:
    """Decides on all times of a schedule that have come. Its jobs go by the outbox, and start within moments.

    A timetable that somebody else has written is not asked here, because it may take its time, and one that cannot be
    read cannot be: the one time of it that is known is left out, and it goes on from now.
    """
    found: ScheduleRow | None = row
    if schedule is None or isinstance(schedule.when, Foreign):
        if row.planned_at is not None and row.planned_at <= now:
            paused = f"paused: {row.pause_note}" if row.pause_note else "paused"
            state, reason = (FireState.MISSED, CHANGED) if row.paused_at is None else (FireState.SKIPPED, paused)
            fires.insert(connection, [_left_out(row.name, row.planned_at, state, reason, now)])
            schedules.change(connection, row.name, {"planned_at": None, "due_at": None}, now)
        return
    while found is not None and found.planned_at is not None and found.planned_at <= now:
        is_busy = bool(fires.busy(connection, [row.name]))
        waiting = fires.waiting(connection, [row.name]).get(row.name, 0)
        standing = standing_of(found, is_busy=is_busy, waiting=waiting)
        # Also what jitter puts off: nobody will know of it later.
        standing = replace(standing, due_at=min(found.due_at or now, now))
        write(connection, [decide(app, found, schedule, standing, now)], now, outbox.put)
        found = schedules.find(connection, row.name)


def remove(connection: Connection, app: Any, row: ScheduleRow, now: datetime) -> None:
    """Takes a schedule away. What was due and not decided is on the books as missed; what waited as skipped."""
    schedule, planned, missed = _readable(row), row.planned_at, list[FireRow]()
    while planned is not None and planned <= now and len(missed) < MOST_REMOVED:
        missed.append(_left_out(row.name, planned, FireState.MISSED, REMOVED, now))
        is_askable = schedule is not None and not isinstance(schedule.when, Foreign)
        planned = schedule.after(planned) if schedule and is_askable else None
    fires.insert(connection, missed)
    if schedule is not None:
        outbox.put(connection, telling_of_missed(app, schedule, missed))
    fires.skip_waiting(connection, [row.name], REMOVED, now)
    schedules.remove(connection, row.name)


def _left_out(name: str, planned_at: datetime, state: FireState, reason: str, now: datetime) -> FireRow:
    return FireRow(
        schedule=name, planned_at=planned_at, origin=Origin.PLANNED, state=state, reason=reason, decided_at=now
    )


def _readable(row: ScheduleRow) -> Schedule | None:
    try:
        return Schedule.of(row.name, row.definition or {})
    except DeclarationError:
        return None


def _timing(schedule: Schedule) -> Sequence[Any]:
    """What decides on planned times; everything else may change without moving them."""
    return schedule.when.words(), schedule.timezone, schedule.dst, schedule.start, schedule.end, schedule.max_fires
