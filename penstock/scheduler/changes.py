"""What people do to schedules at run time, each in one transaction with its row in the audit.

For the command line, and for whoever else lets people do it. Every scheduler sees a change within a second, because
what it knows is in the rows.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from penstock.errors import DeclarationError, ScheduleNotFound, ScheduleRefused
from penstock.ledger import fires, outbox, queries, schedules
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.ledger.records import FollowUp
from penstock.ledger.schedules import BeatRow, ScheduleRow
from penstock.ledger.session import reading, writing
from penstock.scheduler.declarations import new_row, redefine, remove, settle, zone_name
from penstock.scheduler.firing import is_followed
from penstock.scheduler.forecast import planned_times
from penstock.scheduler.schedule import Schedule
from penstock.scheduler.sending import message_of
from penstock.scheduler.timetables.foreign import Foreign

logger = logging.getLogger("penstock")
MOST_BACKFILLED = 1_000
"""Fires of one backfill: they come in one transaction."""
IN_ORDER = "backfill: it starts when the one before has ended"
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Known:
    """A schedule as it is in the ledger, and how far it is."""

    row: ScheduleRow

    @cached_property
    def schedule(self) -> Schedule:
        """What it says.

        Raises:
            DeclarationError: this version cannot read it.
        """
        return Schedule.of(self.row.name, self.row.definition or {})


@dataclass(frozen=True)
class Portrait:
    """All about one schedule."""

    known: Known
    fires: list[FireRow]
    """The last ones, the newest first."""
    counts: Mapping[FireState, int]
    open_jobs: Sequence[str]


@dataclass(frozen=True)
class Remains:
    """What is kept of a schedule that was removed."""

    name: str
    fires: list[FireRow]
    """The last ones, the newest first."""
    counts: Mapping[FireState, int]
    open_jobs: Sequence[str]


@dataclass(frozen=True)
class Preview:
    """What a backfill would do."""

    times: list[datetime]
    """Planned times that it would make up for, the first first."""
    kept: int
    """Planned times in its range that have their fire."""


@dataclass(frozen=True)
class Backfill:
    """What a backfill has done."""

    started: list[datetime]
    waiting: list[datetime]
    kept: int
    """Planned times in its range that had their fire."""


class Schedules:
    """The schedules of an application's ledger.

    Args:
        app: the Celery app; jobs are made by it.
        database_url: of its ledger.
        actor: who does it, for the audit.

    All methods raise LedgerUnavailable when the database does not answer, and LedgerOutdated without its tables.
    """

    def __init__(self, app: Any, database_url: str, actor: str) -> None:
        self._app, self._url, self._actor = app, database_url, actor

    # -- looking --------------------------------------------------------------------------------------------------

    def all(self, tag: str | None = None) -> list[Known]:
        """All schedules by name, or those with a tag; those that a newer version has written are left out, and said."""
        with reading(self._url) as connection:
            rows = schedules.list_all(connection)
        return [known for known in map(Known, rows) if _is_readable(known) and (not tag or tag in known.schedule.tags)]

    def beats(self) -> list[BeatRow]:
        """The schedulers that have been seen lately."""
        with reading(self._url) as connection:
            return schedules.list_beats(connection)

    def show(
        self,
        name: str,
        limit: int = 20,
        state: FireState | None = None,
        *,
        before: datetime | None = None,
        among: int | None = None,
    ) -> Portrait:
        """All about a schedule, with its last fires.

        Args:
            before: only fires that were planned before.
            among: count, and look for ``state``, among so many of the newest; among all if absent.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        with reading(self._url) as connection:
            known = Known(_found(connection, name))
            return Portrait(
                known,
                fires.list_fires(connection, name, limit, state=state, before=before, among=among),
                fires.counts(connection, name, among),
                fires.open_jobs(connection, name),
            )

    def remains(self, name: str, limit: int = 20, state: FireState | None = None) -> Remains | None:
        """What is kept of a schedule that was removed; None: there is one of this name, or nothing is kept of it."""
        with reading(self._url) as connection:
            if schedules.find(connection, name) or not (counts := fires.counts(connection, name)):
                return None
            last = fires.list_fires(connection, name, limit, state=state)
            return Remains(name, last, counts, fires.open_jobs(connection, name))

    def next_times(self, name: str, count: int, after: datetime | None = None) -> list[datetime]:
        """The next planned times of a schedule, in its zone.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleRefused: only the application that declares it knows them.
        """
        with reading(self._url) as connection:
            known = Known(_found(connection, name))
        return list(islice(self.times(known, after), count))

    def times(self, known: Known, after: datetime | None = None) -> Iterator[datetime]:
        """The planned times of a schedule that are still to come, in its zone, each as it is asked for.

        Args:
            after: those until then are left out.

        Raises:
            ScheduleRefused: only the application that declares it knows them.
        """
        row, schedule = known.row, self._with_object(known.schedule)
        if row.planned_at is None:
            return iter(())
        if schedule.max_fires is None:
            before = row.planned_at - MICROSECOND
            return planned_times(schedule, max(before, after) if after else before)
        left = islice(planned_times(schedule, row.planned_at - MICROSECOND), max(schedule.max_fires - row.fires, 0))
        return (time for time in left if after is None or time > after)

    # -- changing -------------------------------------------------------------------------------------------------

    def add(self, schedule: Schedule) -> Known:
        """Adds a schedule that no application declares.

        Raises:
            ScheduleRefused: there is one of this name, or it would never fire.
            DeclarationError: its arguments do not fit its task.
        """
        schedule = schedule.in_zone(zone_name(self._app))
        if problem := schedule.problem():
            raise DeclarationError(problem)
        with writing(self._url) as connection:
            row = new_row(schedule, None, schedules.clock(connection))
            if row["planned_at"] is None:
                raise ScheduleRefused(f"schedule {schedule.name!r} would never fire: all its times have passed")
            if not schedules.add(connection, [row]):
                raise ScheduleRefused(f"there is a schedule {schedule.name!r} already; edit it, or choose another name")
            self._note(connection, "add schedule", schedule.name, {"definition": schedule.words()})
            return Known(_found(connection, schedule.name))

    def edit(self, name: str, **changes: Any) -> Known:
        """Changes what a schedule says. Fires that were due before end as it was.

        Args:
            changes: fields of :class:`~penstock.scheduler.schedule.Schedule`.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleRefused: it is declared; it is changed where it is declared.
            DeclarationError: it would make no sense.
        """
        with self._locked(name) as (connection, known):
            _require_own(known.row, "edited")
            changed = replace(known.schedule, **changes)
            if problem := changed.problem():
                raise DeclarationError(problem)
            now = schedules.clock(connection)
            redefine(connection, self._app, known.row, changed, now, declared_by=None)
            before, words = known.schedule.words(), changed.words()
            keys = [key for key in {**before, **words} if before.get(key) != words.get(key)]
            details = {key: words.get(key) for key in keys}
            self._note(connection, "edit schedule", name, {"changes": details})
            return Known(_found(connection, name))

    def pause(self, name: str, note: str = "") -> Known:
        """Skips all its planned times from now on, those among them that nobody has decided on; jobs that run go on.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleRefused: it is paused.
        """
        with self._locked(name) as (connection, known):
            if known.row.paused_at is not None:
                raise ScheduleRefused(f"schedule {name!r} has been paused by {known.row.paused_by} already")
            now = schedules.clock(connection)
            values = {"paused_at": now, "paused_by": self._actor[:255], "pause_note": note or None}
            schedules.change(connection, name, values, now)
            self._note(connection, "pause schedule", name, {"note": note})
            return Known(_found(connection, name))

    def resume(self, name: str) -> Known:
        """Ends a pause. What was planned meanwhile stays skipped; failures are counted anew.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleRefused: it is not paused.
        """
        with self._locked(name) as (connection, known):
            if known.row.paused_at is None:
                raise ScheduleRefused(f"schedule {name!r} is not paused")
            now = schedules.clock(connection)
            # No scheduler may have been up: these times belong to the pause all the same.
            settle(connection, self._app, known.row, known.schedule, now)
            values = {"paused_at": None, "paused_by": None, "pause_note": None, "failures": 0}
            schedules.change(connection, name, values, now)
            self._note(connection, "resume schedule", name, {})
            return Known(_found(connection, name))

    def trigger(self, name: str) -> FireRow:
        """Starts its task now, whatever its timetable, its pause and its other jobs say.

        Raises:
            ScheduleNotFound: there is none of this name.
            PenstockError: no job can be made of it.
        """
        with self._locked(name) as (connection, known):
            now = schedules.clock(connection)
            message = message_of(self._app, known.schedule, now, known.row.previous_at)
            fire = _fired(known.schedule, now, Origin.TRIGGERED, message, now)
            while not fires.insert(connection, [fire]):
                fire = replace(fire, planned_at=fire.planned_at + MICROSECOND)
            outbox.put(connection, [message])
            self._note(connection, "trigger schedule", name, {}, message.job_id)
            return fire

    def preview_backfill(self, name: str, since: datetime, until: datetime | None = None) -> Preview:
        """What :meth:`backfill` would do.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleRefused: there are too many, or their times cannot be known here.
        """
        _, passed, _ = self._passed(name, since, until)
        with reading(self._url) as connection:
            times = _decided(passed, _found(connection, name))
            kept = fires.kept(connection, name, times[0], times[-1]) if times else set()
        return Preview([planned for planned in times if planned not in kept], sum(each in kept for each in times))

    def backfill(self, name: str, since: datetime, until: datetime | None = None, *, at_once: bool = False) -> Backfill:
        """Makes up for planned times of the past that have started no job: missed, skipped, or before its first day.

        Args:
            since, until: the range, both ends included; up to now if absent.
            at_once: start all of them now; else one after the other, each when the one before has ended.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleRefused: there are too many, or their times cannot be known here.
        """
        schedule, passed, now = self._passed(name, since, until)
        with self._locked(name) as (connection, known):
            times = _decided(passed, known.row)
            done = self._fill(connection, schedule, times, now, at_once=at_once)
            details = {"since": since.isoformat(), "until": (until or now).isoformat(), "at_once": at_once}
            details["fires"] = str(len(done.started) + len(done.waiting))
            if done.started:
                latest = max(filter(None, (known.row.previous_at, done.started[-1])))
                schedules.change(connection, name, {"previous_at": latest}, now)
            self._note(connection, "backfill schedule", name, details)
            return done

    def remove(self, name: str) -> None:
        """Takes a schedule away; what is known of its fires stays.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleRefused: it is declared; it goes when its declaration goes.
        """
        with writing(self._url) as connection:
            row = schedules.lock(connection, name) or _found(connection, name)
            _require_own(row, "removed")
            remove(connection, self._app, row, schedules.clock(connection))
            self._note(connection, "remove schedule", name, {"definition": row.definition})

    def _passed(self, name: str, since: datetime, until: datetime | None) -> tuple[Schedule, list[datetime], datetime]:
        """The planned times of a range that have passed, and by which clock.

        Nothing is locked meanwhile: the timetable may be somebody else's, and take its time.
        """
        with reading(self._url) as connection:
            schedule = self._with_object(Known(_found(connection, name)).schedule)
            now = schedules.clock(connection)
        passed = _past_times(schedule, since, min(until or now, now))
        if len(passed) > MOST_BACKFILLED:
            raise ScheduleRefused(f"these are more than {MOST_BACKFILLED:,} fires; backfill a shorter range")
        return schedule, passed, now

    def _fill(
        self, connection: Connection, schedule: Schedule, times: Sequence[datetime], now: datetime, *, at_once: bool
    ) -> Backfill:
        done, messages = Backfill([], [], 0), list[FollowUp]()
        kept = 0
        for planned in times:
            if at_once:
                previous = fires.fired_before(connection, schedule.name, planned)
                message = message_of(self._app, schedule, planned, previous)
                fire = _fired(schedule, planned, Origin.BACKFILLED, message, now)
            else:
                fire = _waiting(schedule, planned, now)
            if not fires.replace(connection, fire):
                kept += 1
            elif at_once:
                messages.append(message)
                done.started.append(planned)
            else:
                done.waiting.append(planned)
        outbox.put(connection, messages)
        return replace(done, kept=kept)

    @contextmanager
    def _locked(self, name: str) -> Iterator[tuple[Connection, Known]]:
        with writing(self._url) as connection:
            row = schedules.lock(connection, name)
            yield connection, Known(row or _found(connection, name))

    def _with_object(self, schedule: Schedule) -> Schedule:
        """With the object of a foreign timetable, if this application declares it."""
        from penstock.scheduler.declarations import declared_by

        if not isinstance(schedule.when, Foreign):
            return schedule
        for declared in declared_by(self._app):
            if declared.name == schedule.name and declared.when == schedule.when:
                return declared
        raise ScheduleRefused(f"schedule {schedule.name!r}: {schedule.when} is known only where it is declared")

    def _note(
        self, connection: Connection, action: str, name: str, details: Mapping[str, Any], job_id: str | None = None
    ) -> None:
        everything = {"schedule": name, **details}
        queries.add_audit(connection, actor=self._actor, action=action, job_id=job_id, details=everything)


def _found(connection: Connection, name: str) -> ScheduleRow:
    row = schedules.find(connection, name)
    if row is None:
        close = difflib.get_close_matches(name, schedules.some_names(connection, 10_000), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "`schedules list` shows all"
        raise ScheduleNotFound(f"there is no schedule {name!r}; {hint}")
    return row


def _is_readable(known: Known) -> bool:
    try:
        return bool(known.schedule)
    except DeclarationError as error:
        logger.warning("%s", error)
        return False


def _require_own(row: ScheduleRow, what: str) -> None:
    if row.declared_by is not None:
        raise ScheduleRefused(
            f"schedule {row.name!r} is declared by {row.declared_by!r} and cannot be {what} here: change its "
            "declaration, which the next start of a beat reads; it can be paused, resumed, triggered and backfilled"
        )


def _past_times(schedule: Schedule, since: datetime, until: datetime) -> list[datetime]:
    """Planned times of the range, and one more than may be backfilled at most."""
    times: list[datetime] = []
    for planned in planned_times(schedule, since - MICROSECOND):
        if planned > until or len(times) > MOST_BACKFILLED:
            break
        times.append(planned.astimezone(UTC))
    return times


def _decided(times: Sequence[datetime], row: ScheduleRow) -> list[datetime]:
    """Those that schedulers have done with; the others fire, or do not, by themselves."""
    return [planned for planned in times if row.planned_at is None or planned < row.planned_at]


def _fired(schedule: Schedule, planned: datetime, origin: Origin, message: FollowUp, now: datetime) -> FireRow:
    return FireRow(
        schedule=schedule.name,
        planned_at=planned,
        origin=origin,
        state=FireState.FIRED,
        job_id=message.job_id,
        decided_at=now,
        is_followed=is_followed(schedule),
    )


def _waiting(schedule: Schedule, planned: datetime, now: datetime) -> FireRow:
    return FireRow(
        schedule=schedule.name,
        planned_at=planned,
        origin=Origin.BACKFILLED,
        state=FireState.WAITING,
        reason=IN_ORDER,
        decided_at=now,
    )
