"""Every statement on schedules and schedulers, one function each. The caller brings the transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from penstock.ledger.many import insert_many, update_many
from penstock.ledger.queries import insert_into
from penstock.ledger.recording.among import among
from penstock.ledger.tables import beats, schedules

IDLE_LIMIT_MS = 5000
FOREIGN = "celery"
"""The kind of timetables that only who declares them can ask."""


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """A schedule, and how far it is."""

    name: str
    kind: str
    definition: Mapping[str, Any] | None = None
    """None: it was not asked for."""
    version: int
    declared_by: str | None
    planned_at: datetime | None
    due_at: datetime | None
    previous_at: datetime | None
    fires: int
    failures: int
    paused_at: datetime | None
    paused_by: str | None
    pause_note: str | None
    created_at: datetime
    updated_at: datetime


_WITHOUT_DEFINITION = [column for column in schedules.c if column.name != "definition"]


def clock(connection: Connection) -> datetime:
    """The time of the database, by which all schedulers go. SQLite has no other than that of its host."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


def begin(connection: Connection) -> datetime:
    """The :func:`clock` at the beginning of a scheduler's transaction, which may then rest for five seconds.

    A process that is stopped in the middle must not keep its locks: PostgreSQL ends it then. Said of the transaction
    and not of the session, which a pooler may give to somebody else.
    """
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    limit = func.set_config("idle_in_transaction_session_timeout", str(IDLE_LIMIT_MS), True)
    moment: datetime = connection.execute(select(func.clock_timestamp(), limit)).one()[0]
    return moment.astimezone(UTC)


# -- for schedulers -----------------------------------------------------------------------------------------------


def take_due(
    connection: Connection,
    now: datetime,
    limit: int,
    ready: Iterable[str],
    refused: Iterable[str],
    since: datetime | None = None,
) -> list[ScheduleRow]:
    """Schedules that are due, the longest first; nobody else takes them before the transaction ends.

    On PostgreSQL their rows are locked, and those that somebody else has locked are passed over; on SQLite there is one
    writer at a time.

    Args:
        ready: foreign ones that are taken as well.
        refused: names that are left out.
        since: those that were due until then are left out.
    """
    askable = or_(schedules.c.kind != FOREIGN, among(connection, schedules.c.name, ready))
    due = and_(schedules.c.due_at <= now, askable)
    if since is not None:
        due = and_(due, schedules.c.due_at > since)
    if left_out := list(refused):
        due = and_(due, ~among(connection, schedules.c.name, left_out))
    rows = select(*_WITHOUT_DEFINITION).where(due).order_by(schedules.c.due_at).limit(limit)
    return [ScheduleRow(**row._mapping) for row in connection.execute(rows.with_for_update(skip_locked=True))]


def next_due(connection: Connection, after: datetime | None = None) -> datetime | None:
    """When the next schedule is due.

    Args:
        after: those that were due until then are left out.
    """
    first = select(func.min(schedules.c.due_at))
    found: datetime | None = connection.execute(
        first.where(schedules.c.due_at > after) if after else first
    ).scalar_one()
    return found


def due_soon(
    connection: Connection, until: datetime, limit: int, after: tuple[datetime, str] | None = None
) -> list[ScheduleRow]:
    """Schedules that are due until then, the first first.

    Args:
        after: due time and name of a schedule; those that come before it, and itself, are left out.
    """
    order = schedules.c.due_at, schedules.c.name
    rows = select(*_WITHOUT_DEFINITION).where(schedules.c.due_at <= until).order_by(*order).limit(limit)
    if after is not None:
        # In this form an index finds the first; the comparison of pairs reads from the beginning on SQLite.
        rows = rows.where(
            schedules.c.due_at >= after[0], or_(schedules.c.due_at > after[0], schedules.c.name > after[1])
        )
    return [ScheduleRow(**row._mapping) for row in connection.execute(rows)]


def definitions(connection: Connection, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The definitions of schedules by name."""
    rows = select(schedules.c.name, schedules.c.definition).where(among(connection, schedules.c.name, names))
    return {str(name): definition for name, definition in connection.execute(rows)}


def move_on(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Sets how far schedules are, by name."""
    update_many(connection, schedules, rows)


# -- for declarations and changes ---------------------------------------------------------------------------------


def find(connection: Connection, name: str) -> ScheduleRow | None:
    """The schedule of this name."""
    row = connection.execute(select(schedules).where(schedules.c.name == name)).one_or_none()
    return ScheduleRow(**row._mapping) if row else None


def find_all(connection: Connection, names: Collection[str]) -> list[ScheduleRow]:
    """The schedules of these names."""
    rows = select(schedules).where(among(connection, schedules.c.name, names))
    return [ScheduleRow(**row._mapping) for row in connection.execute(rows)]


def lock(connection: Connection, name: str) -> ScheduleRow | None:
    """The schedule of this name, which nobody else touches until the transaction ends."""
    row = connection.execute(select(schedules).where(schedules.c.name == name).with_for_update()).one_or_none()
    return ScheduleRow(**row._mapping) if row else None


def lock_free(connection: Connection, names: Collection[str]) -> list[ScheduleRow]:
    """As :func:`lock`, for several; those that somebody else has are left out."""
    rows = select(schedules).where(among(connection, schedules.c.name, names)).order_by(schedules.c.name)
    return [ScheduleRow(**row._mapping) for row in connection.execute(rows.with_for_update(skip_locked=True))]


def list_all(connection: Connection) -> list[ScheduleRow]:
    """All schedules by name."""
    return [ScheduleRow(**row._mapping) for row in connection.execute(select(schedules).order_by(schedules.c.name))]


def some_names(connection: Connection, limit: int) -> list[str]:
    """Names of schedules, the first ones."""
    return list(connection.execute(select(schedules.c.name).order_by(schedules.c.name).limit(limit)).scalars())


def declared(connection: Connection, application: str, names: Collection[str]) -> list[ScheduleRow]:
    """The schedules of these names, and all others that an application has declared before."""
    these = or_(schedules.c.declared_by == application, among(connection, schedules.c.name, names))
    rows = select(schedules).where(these).order_by(schedules.c.name)
    return [ScheduleRow(**row._mapping) for row in connection.execute(rows.with_for_update())]


def add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Inserts schedules; the names of those that were not there."""
    return {name for (name,) in insert_many(connection, schedules, rows)}


def change(connection: Connection, name: str, values: Mapping[str, Any], now: datetime) -> None:
    """Sets columns of a schedule."""
    connection.execute(update(schedules).where(schedules.c.name == name).values(**values, updated_at=now))


def remove(connection: Connection, name: str) -> None:
    """Deletes a schedule; its fires stay, until retention deletes them."""
    connection.execute(delete(schedules).where(schedules.c.name == name))


# -- schedulers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BeatRow:
    """A scheduler."""

    name: str
    started_at: datetime
    seen_at: datetime
    """When it last looked what is due."""


def note_beat(connection: Connection, name: str, started_at: datetime, now: datetime) -> None:
    """Notes that a scheduler looks what is due."""
    values = {"name": name, "started_at": started_at, "seen_at": now}
    statement = insert_into(connection, beats).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=[beats.c.name], set_=values))


def forget_beats(connection: Connection, before: datetime, name: str | None = None) -> None:
    """Deletes schedulers that were last seen before; or one of them."""
    gone = beats.c.seen_at < before
    connection.execute(delete(beats).where(or_(gone, beats.c.name == name) if name else gone))


def list_beats(connection: Connection) -> list[BeatRow]:
    """Schedulers by name."""
    return [BeatRow(*row) for row in connection.execute(select(beats).order_by(beats.c.name))]


def overdue(connection: Connection, now: datetime, by: timedelta) -> tuple[int, datetime | None]:
    """How many schedules have been due for longer than ``by``, and since when the first."""
    late = schedules.c.due_at < now - by
    count, first = connection.execute(select(func.count(), func.min(schedules.c.due_at)).where(late)).one()
    return count, first
