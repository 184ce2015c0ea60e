"""How connections to the ledger are opened: late, one engine per process and database, and never across a fork."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from kombu.utils.json import dumps, loads
from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from penstock.errors import LedgerOutdated, LedgerUnavailable, UnserialisableResult

BUSY_SECONDS = 15
PING_SECONDS = 1.0
"""For whoever tries again anyway, a connection that has rested for less is still there: asking takes a third of a short
write.
"""
_tries_again: ContextVar[bool] = ContextVar("penstock_tries_again", default=False)
RESTS_SINCE = "rests_since"
CONNECT_SECONDS = 5
POSTGRESQL: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    # Named, because a database made as SQL_ASCII would otherwise hand out bytes.
    "client_encoding": "utf8",
    # A host that is gone says nothing. The system would notice after two hours, or a quarter of one if something was
    # sent; a server that is only slow answers these probes, because its kernel does.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Parameters of each connection, in seconds and (the last one) milliseconds; the address may say otherwise."""
NO_PRIVILEGE = "42501"
COLLISIONS = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same transaction may pass when it is repeated."""
BAD_DATA = ("22", "23", "54")
"""Classes of errors about values: of data, of integrity, and of what is too large or too deep."""
MISSING = ("no such table", "no such column", "has no column named")
"""How SQLite says that a table or column is missing, which has no code of its own there."""
UNBINDABLE = ("cannot adapt type", "Error binding parameter")
"""How drivers say that a value is of no type that they know."""
SQLITE_BUSY, SQLITE_LOCKED = 5, 6
_engines: dict[str, Engine] = {}
_lock = threading.Lock()


def engine_for(url: str) -> Engine:
    """This process's engine for the database at ``url``; connects to nothing yet."""
    with _lock:
        if url not in _engines:
            _engines[url] = _make_engine(url)
        return _engines[url]


def close_all() -> None:
    """Closes every idle connection of this process; the next use opens new ones."""
    for engine in list(_engines.values()):
        engine.dispose()


@contextmanager
def writing(url: str, *, tries_again: bool = False) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back on an error.

    Args:
        tries_again: the caller repeats what fails because a connection had been closed by the other end.

    Raises:
        LedgerUnavailable: the database does not answer.
        LedgerOutdated: its tables are missing.
    """
    token = _tries_again.set(tries_again)
    try:
        with translated(url), engine_for(url).begin() as connection:
            yield connection
    finally:
        _tries_again.reset(token)


@contextmanager
def migrating(url: str) -> Iterator[Connection]:
    """:func:`writing` for changes of tables.

    SQLite can change a table only by making it anew, and dropping the old one deletes all rows that refer to it; so it
    follows no foreign key meanwhile. That can be said only outside of a transaction, and of a whole connection, which
    is therefore closed afterwards.
    """
    with translated(url), engine_for(url).connect() as connection:
        connection.detach()
        if connection.dialect.name == "sqlite":
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        with connection.begin():
            yield connection


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A connection that sees each committed row and holds no lock; the same errors as :func:`writing`."""
    with translated(url), engine_for(url).connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def through_driver(connection: Connection) -> Iterator[Any]:
    """The driver's own connection in the transaction of ``connection``, with the errors of SQLAlchemy."""
    # One that is detached from its pool has no other name for it; both are the same with our drivers.
    driver = connection.connection.dbapi_connection
    errors = connection.dialect.loaded_dbapi.Error
    try:
        yield driver
    except errors as error:
        if connection.dialect.is_disconnect(error, connection.connection, None):
            connection.invalidate(error)
        raise exc.DBAPIError.instance(None, None, error, errors, dialect=connection.dialect) from error


def has_collided(error: LedgerUnavailable) -> bool:
    """Whether two transactions stood in each other's way, so that this one may pass when it is repeated."""
    cause = getattr(error.__cause__, "orig", None)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return getattr(cause, "sqlstate", None) in COLLISIONS or code in (SQLITE_BUSY, SQLITE_LOCKED)


def is_about_data(error: Exception) -> bool:
    """Whether one of the values is to blame: the same statement fails for ever, and passes without that value."""
    if isinstance(error, (UnserialisableResult, ValueError, OverflowError)):
        return True
    if isinstance(error, exc.StatementError) and not isinstance(error, exc.DBAPIError):
        return isinstance(error.orig, (ValueError, OverflowError))
    if isinstance(error, exc.ProgrammingError) and any(words in str(error.orig) for words in UNBINDABLE):
        return True
    return isinstance(error, (exc.DataError, exc.IntegrityError)) or _state(error)[:2] in BAD_DATA


def own_connection(url: str, *, autocommit: bool = False) -> Connection:
    """A connection beside those of the pool, which its owner closes; to be used inside of :func:`translated`.

    Args:
        autocommit: it is never in a transaction, and holds no lock; for reading.
    """
    connection = engine_for(url).connect()
    if autocommit:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()
    return connection


@contextmanager
def translated(url: str) -> Iterator[None]:
    """The one border at which driver errors become ours.

    Raises:
        LedgerUnavailable: the database does not answer.
        LedgerOutdated: its tables are missing.
    """
    try:
        yield
    except exc.DBAPIError as error:
        if _names_missing_table(error):
            raise LedgerOutdated(
                f"the ledger at {address(url)} lacks tables or columns; run `celery -A workers ledger upgrade`"
            ) from error
        if _may_pass(error):
            raise _unavailable(url, error) from error
        raise
    except exc.TimeoutError as error:
        raise _unavailable(url, error) from error
    except exc.StatementError as error:
        # encode_json's own error: one driver calls it inside a statement and wraps it, the other does not.
        if isinstance(error.orig, UnserialisableResult):
            raise error.orig from None
        raise


def _may_pass(error: exc.DBAPIError) -> bool:
    """Whether the same statement may work later: a server that is away, read-only, or refuses us for now.

    The rest is ours to mend, a value that does not fit or a statement that is wrong, and would fail for ever. The bare
    class is what SQLite raises for a file that is no database.
    """
    if isinstance(error, (exc.OperationalError, exc.InterfaceError, exc.InternalError)):
        return _state(error)[:2] not in BAD_DATA
    return type(error) is exc.DatabaseError or _state(error) == NO_PRIVILEGE


def _unavailable(url: str, error: exc.SQLAlchemyError) -> LedgerUnavailable:
    cause = " ".join(str(getattr(error, "orig", error)).split())
    return LedgerUnavailable(
        f"the ledger at {address(url)} does not answer ({cause}); start it or correct DATABASE_URL"
    )


def _names_missing_table(error: exc.DBAPIError) -> bool:
    message = str(error.orig)
    return _state(error) in ("42P01", "42703") or any(words in message for words in MISSING)


def _state(error: Exception) -> str:
    """Five letters and digits by which SQL names errors; empty where the driver has none."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def address(url: str) -> str:
    """``url`` without its password."""
    return make_url(url).render_as_string(hide_password=True)


def _make_engine(url: str) -> Engine:
    options: dict[str, Any] = {"json_serializer": encode_json, "json_deserializer": loads}
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediately)
        database = engine.url.database
        if database and database != ":memory:":
            _make_folder(Path(database).parent)
        return engine
    given = make_url(url).query
    arguments = {name: value for name, value in POSTGRESQL.items() if name not in given}
    engine = create_engine(url, pool_size=1, connect_args=arguments, **options)
    event.listen(engine, "checkin", _note_rest)
    event.listen(engine, "checkout", partial(_ping_after_rest, engine))
    return engine


def _note_rest(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[RESTS_SINCE] = time.monotonic()


def _ping_after_rest(engine: Engine, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Asks whether the server is still there, as SQLAlchemy's own `pool_pre_ping` does each time."""
    rest = time.monotonic() - record.info.get(RESTS_SINCE, math.inf)
    if rest < 0 or (rest < PING_SECONDS and _tries_again.get()):
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise exc.DisconnectionError from error  # The pool connects anew.


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger's folder {folder} cannot be made ({error}); correct DATABASE_URL"
        ) from error


def encode_json(value: Any) -> str:
    """JSON with kombu's forms for dates, UUIDs and decimals, as Celery's own results have.

    Raises:
        UnserialisableResult: it is not JSON; NaN and infinity are not, because no database takes them.
    """
    try:
        return str(dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnserialisableResult(f"not JSON ({error})") from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN comes late and deferred, so two writers could both read and then deadlock on upgrade;
    # with autocommit here, _begin_immediately decides.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediately(connection: Connection) -> None:
    # Writers queue for the lock before they read: none of them can find its snapshot stale later.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _forget_engines() -> None:
    # The child must not even close what it inherited: a goodbye on a shared socket would end the parent's session.
    # The lock is made anew because a thread that held it does not exist here.
    global _lock
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.dispose(close=False)
    _engines.clear()


# Before a fork idle connections are closed, so that no child inherits an open socket; afterwards each side opens its
# own. A connection that another thread is using at that moment stays with the parent, untouched by the child.
os.register_at_fork(before=close_all, after_in_child=_forget_engines)
