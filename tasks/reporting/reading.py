"""Rows from a database that this connection cannot change, whatever the statement says: the database enforces it.

SQLite opens the file read-only and permits nothing but reading tables and calling functions. PostgreSQL gets a
read-only transaction and the statement inside DECLARE CURSOR by the extended protocol, which takes one statement
and only a query, so that none can end the transaction first. A connection is opened for each query and closed after
it: a source database holds no idle session of ours.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, CursorResult, Engine, create_engine, exc, make_url, text
from sqlalchemy.pool import NullPool

from tasks.reporting.errors import QueryRefused, SourceUnavailable

CONNECT_SECONDS = 5
QUERY_SECONDS = 240.0
ROWS_AT_A_TIME = 1000
SQLITE_STEPS = 10_000
PERMITTED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


@dataclass(frozen=True)
class Rows:
    """The rows of a query, as they come; only a bounded number is in memory."""

    columns: tuple[str, ...]
    result: CursorResult[Any]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        with _translated():
            for row in self.result:
                yield tuple(row)


@contextmanager
def read(url: str, sql: str, parameters: Mapping[str, Any]) -> Iterator[Rows]:
    """Runs one query and gives its rows while the context lasts.

    Args:
        sql: one SELECT (or WITH, or VALUES); values stand in it as ``:name``.
        parameters: a value for each name.

    Raises:
        QueryRefused: it is not one query, its parameters do not fit, or it takes longer than ``QUERY_SECONDS``.
        SourceUnavailable: the database does not answer.
    """
    statement = text(_checked(sql))
    _check_parameters({str(name) for name in statement._bindparams}, parameters)
    engine = _engine(url)
    with _connected(engine) as connection:
        with _translated():
            _forbid_writing(connection)
            options = {"stream_results": True, "max_row_buffer": ROWS_AT_A_TIME}
            result = connection.execute(statement, dict(parameters), execution_options=options)
        if not result.returns_rows:
            raise QueryRefused("the statement gives no rows; reports run queries only")
        columns = tuple(result.keys())
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise QueryRefused(f"two columns are called {', '.join(twice)}; name them apart with AS")
        yield Rows(columns, result)


def _checked(sql: object) -> str:
    if not isinstance(sql, str) or not sql.strip():
        raise QueryRefused(
            "there is no SQL; give a query such as SELECT region, sum(amount) FROM sales GROUP BY region"
        )
    return sql.strip().rstrip(";")


def _check_parameters(wanted: set[str], given: Mapping[str, Any]) -> None:
    missing, unused = sorted(wanted - given.keys()), sorted(given.keys() - wanted)
    if missing:
        raise QueryRefused(f"no value for :{', :'.join(missing)}; give it in parameters (or write \\: for a colon)")
    if unused:
        raise QueryRefused(f"the SQL has no :{', :'.join(unused)}; leave it out of parameters, or use it")


def _engine(url: str) -> Engine:
    if url.startswith("sqlite"):
        return create_engine(url, poolclass=NullPool, creator=lambda: _open_sqlite(url))
    return create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS})


def _open_sqlite(url: str) -> sqlite3.Connection:
    path = Path(make_url(url).database or "").absolute()
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
    # Text that is not UTF-8 must not cost the report.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    try:
        connection = engine.connect()
    except (exc.DBAPIError, OSError) as error:
        raise SourceUnavailable(f"{engine.url.render_as_string()} does not answer ({_sentence(error)})") from error
    with connection:
        yield connection


def _forbid_writing(connection: Connection) -> None:
    """Puts the connection into the state in which it can only read, and only for so long."""
    if connection.dialect.name == "sqlite":
        raw: Any = connection.connection.dbapi_connection
        raw.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in PERMITTED else sqlite3.SQLITE_DENY)
        deadline = time.monotonic() + QUERY_SECONDS
        # A signal's exception cannot leave SQLite's C code, so that a time limit has to be its own.
        raw.set_progress_handler(lambda: time.monotonic() > deadline, SQLITE_STEPS)
        return
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(QUERY_SECONDS * 1000)}")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise SourceUnavailable(f"the database went away ({_sentence(error)})") from error
        raise QueryRefused(
            f"the database does not run this as one query that only reads: {_sentence(error)}"
        ) from error
    except (exc.StatementError, sqlite3.Warning, sqlite3.Error) as error:
        raise QueryRefused(
            f"the database does not run this as one query that only reads: {_sentence(error)}"
        ) from error


def _sentence(error: BaseException) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
