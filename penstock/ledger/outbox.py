"""Every statement on the outbox but those of outcomes, one function each. The caller brings the transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, bindparam, delete, func, inspect, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import NoSuchTableError

from penstock.errors import OutboxError
from penstock.job import State
from penstock.ledger.records import FollowUp
from penstock.ledger.rows import clip
from penstock.ledger.tables import ID_LENGTH, outbox

CHANNEL = "penstock_outbox"
"""On which a transaction that has put rows there tells of it, on PostgreSQL."""
_ledgers: WeakSet[Engine] = WeakSet()
"""Engines whose database has been seen to be a ledger."""


@dataclass(frozen=True)
class Published:
    """A row whose message was published, as it was read."""

    number: int
    key: str
    at: datetime
    job_id: str


@dataclass(frozen=True)
class OutboxRow:
    """A message that is to be in Redis until its job has ended."""

    key: str
    job_id: str
    task: str
    queue: str
    due: datetime | None
    created_at: datetime
    published_at: datetime | None
    """None: it waits to be published."""

    @property
    def state(self) -> State:
        """Of a job that nobody has recorded anything of so far."""
        return State.SCHEDULED if self.due and self.due > datetime.now(UTC) else State.QUEUED


# -- in a transaction of the application's ------------------------------------------------------------------------


def put(connection: Connection, messages: Sequence[FollowUp]) -> None:
    """Inserts rows, which are published after the transaction has committed.

    Raises:
        OutboxError: the database has no outbox, or has one of these messages in it already. The transaction can go on.
    """
    if not messages:
        return
    _require_ledger(connection)
    now = datetime.now(UTC)
    rows = [_columns(message, now) for message in messages]
    inserted = set(_inserted(connection, rows))
    if kept := [message.job_id for message in messages if message.key not in inserted]:
        raise OutboxError(f"job {kept[0]} is in the outbox already; give each job an id of its own, or none")


def _inserted(connection: Connection, rows: list[dict[str, Any]]) -> Iterable[str]:
    """The keys of the rows that were not there. Whoever listens on PostgreSQL hears of them when they are committed."""
    # A table of the application's tenant is none of the ledger's.
    options: dict[str, Any] = {"schema_translate_map": None}
    if connection.dialect.name == "sqlite":
        return connection.execute(_insert(sqlite), rows, execution_options=options).scalars()
    if len(rows) == 1:  # In one round trip.
        return connection.execute(_insert_and_tell(), rows[0], execution_options=options).scalars()
    inserted = connection.execute(_insert(postgresql), rows, execution_options=options).scalars()
    connection.exec_driver_sql(f"NOTIFY {CHANNEL}")
    return inserted


@cache
def _insert(dialect: Any) -> Any:
    """The dialect's own; SQLAlchemy's common one knows no conflicts."""
    return dialect.insert(outbox).on_conflict_do_nothing(index_elements=[outbox.c.key]).returning(outbox.c.key)


@cache
def _insert_and_tell() -> Any:
    columns = [column for column in outbox.c if column.name not in ("number", "published_at")]
    values = {column.name: bindparam(column.name, type_=column.type) for column in columns}
    inserted = _insert(postgresql).values(values).cte("inserted")
    return select(inserted.c.key, func.pg_notify(CHANNEL, ""))


def _require_ledger(connection: Connection) -> None:
    """One look for each engine; a statement that failed would cost PostgreSQL's users their transaction."""
    if connection.engine in _ledgers:
        return
    if connection.dialect.name not in ("postgresql", "sqlite"):
        raise OutboxError(f"{connection.dialect.name} is no database that can be a ledger; use PostgreSQL or SQLite")
    try:
        found = {column["name"] for column in inspect(connection).get_columns(outbox.name)}
    except NoSuchTableError:
        found = set()
    if not found >= set(outbox.c.keys()):
        url = connection.engine.url.render_as_string(hide_password=True)
        raise OutboxError(
            f"the session's database, {url}, has no outbox: the ledger has to be in the same database as your own "
            "tables; set DATABASE_URL to it, for the workers as well, and run `celery -A workers ledger upgrade`"
        )
    _ledgers.add(connection.engine)


def _columns(message: FollowUp, now: datetime) -> dict[str, Any]:
    for name in ("job_id", "key", "task", "queue"):
        value = getattr(message, name)
        if clip(value) != value:  # A shortened one would be another's, or Redis would know the message by another.
            raise OutboxError(f"the {name} of {message.job_id[:40]!r} cannot be stored; {ID_LENGTH} characters at most")
    return {
        "key": message.key,
        "job_id": message.job_id,
        "task": message.task,
        "queue": message.queue,
        "step": message.step,
        "due": message.due,
        "payload": message.payload,
        "created_at": now,
    }


# -- for the relay ------------------------------------------------------------------------------------------------


def take(connection: Connection, after: int, count: int, max_bytes: int) -> list[tuple[int, FollowUp]]:
    """The oldest rows that are not published, with their numbers; nobody else takes them before the transaction ends.

    On PostgreSQL their rows are locked, and those that somebody else has locked are passed over; on SQLite there is one
    writer at a time.

    Args:
        after: a number; older rows are left out.
        max_bytes: of their messages together, and one message more.
    """
    waiting = select(outbox.c.number, func.length(outbox.c.payload))
    waiting = waiting.where(outbox.c.published_at.is_(None), outbox.c.number > after)
    found = connection.execute(waiting.order_by(outbox.c.number).limit(count).with_for_update(skip_locked=True)).all()
    numbers: list[int] = []
    for number, size in found:
        if max_bytes <= 0:
            break
        numbers.append(number)
        max_bytes -= size
    columns = [outbox.c[name] for name in FollowUp.__dataclass_fields__]
    rows = select(outbox.c.number, *columns).where(outbox.c.number.in_(numbers)).order_by(outbox.c.number)
    taken = [dict(row) for row in connection.execute(rows).mappings()]
    return [(row.pop("number"), FollowUp(**row)) for row in taken]


def mark_published(connection: Connection, numbers: Sequence[int]) -> None:
    """Notes that the messages of these rows are in Redis."""
    connection.execute(update(outbox).where(outbox.c.number.in_(numbers)).values(published_at=datetime.now(UTC)))


def published_slice(connection: Connection, after: int, count: int, seconds: float) -> list[Published]:
    """The next published rows after a number, without those of the last ``seconds``.

    A time that lies ahead counts as old: a host whose clock is wrong must not hide a lost message.
    """
    now, margin = datetime.now(UTC), timedelta(seconds=seconds)
    is_old = or_(outbox.c.published_at < now - margin, outbox.c.published_at > now + margin)
    columns = (outbox.c.number, outbox.c.key, outbox.c.published_at, outbox.c.job_id)
    rows = select(*columns).where(outbox.c.number > after, is_old).order_by(outbox.c.number).limit(count)
    return [Published(*row) for row in connection.execute(rows)]


def put_back(connection: Connection, lost: Sequence[Published]) -> int:
    """Has these messages published again; how many.

    A row whose job has ended meanwhile is gone, and one that somebody has published again has another time.
    """
    read = {each.number: each.at for each in lost}
    rows = select(outbox.c.number, outbox.c.published_at).where(outbox.c.number.in_(read))
    found = connection.execute(rows.with_for_update(skip_locked=True))
    numbers = [number for number, at in found if at == read[number]]
    connection.execute(update(outbox).where(outbox.c.number.in_(numbers)).values(published_at=None))
    return len(numbers)


# -- for whoever ends jobs by hand, and for whoever asks ------------------------------------------------------------


def forget(connection: Connection, keys: Iterable[str]) -> None:
    """Deletes rows whose messages are done with. Their fields in Redis go after the commit."""
    connection.execute(delete(outbox).where(outbox.c.key.in_([clip(key) for key in keys])))


def forget_published(connection: Connection) -> None:
    """Deletes all rows whose messages are in Redis."""
    connection.execute(delete(outbox).where(outbox.c.published_at.is_not(None)))


def find_waiting(connection: Connection, job_id: str) -> OutboxRow | None:
    """The newest message of a job in the outbox; None when there is none: it has ended, or was never put there."""
    return find_waiting_among(connection, [job_id]).get(job_id)


def find_waiting_among(connection: Connection, job_ids: Sequence[str]) -> dict[str, OutboxRow]:
    """The same of many jobs, by their ids."""
    columns = [outbox.c[name] for name in OutboxRow.__dataclass_fields__]
    rows = select(*columns).where(outbox.c.job_id.in_([clip(id) for id in job_ids])).order_by(outbox.c.number)
    newest = {row.job_id: OutboxRow(*row) for row in connection.execute(rows)}
    return {id: newest[clip(id)] for id in job_ids if clip(id) in newest}
