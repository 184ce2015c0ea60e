"""Rows of jobs on PostgreSQL: a batch goes into a temporary table by COPY, and from there into `jobs` in one statement.

That is the quickest way which can tell new rows from those that are there; a plain COPY into `jobs` would fail as a
whole. The temporary table is empty at the beginning of each transaction, and made again where a pooler has given us
another connection. It costs a few round trips and files of its own, so a handful of rows goes without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql

from penstock.ledger.recording.among import among
from penstock.ledger.recording.columns import COLUMNS, Changes, Row
from penstock.ledger.recording.fence import Found
from penstock.ledger.recording.found import FOUND_COLUMNS, read
from penstock.ledger.recording.plain import PlainSuccess, row_of
from penstock.ledger.session import through_driver
from penstock.ledger.tables import jobs

STAGED = "staged_jobs"
FEW = 16
"""Rows that are written as values; each number of them is a statement that the server prepares."""


def insert_new(connection: Connection, rows: Sequence[Row | PlainSuccess]) -> set[str]:
    """Inserts the rows of jobs that have none, and tells their ids.

    In the order of their ids, so that two who insert the same ones wait for each other instead of both for ever. A row
    that somebody else is just inserting is waited for, and then counts as there.
    """
    if len(rows) <= FEW:
        ordered = sorted(map(row_of, rows), key=lambda row: str(row[0]))
        with through_driver(connection) as driver:
            values = [value for row in ordered for value in row]
            return {id for (id,) in driver.execute(_insert_values(len(rows)), values)}
    _stage(connection, COLUMNS, rows)
    with through_driver(connection) as driver:
        return {id for (id,) in driver.execute(_insert())}


def lock(connection: Connection, ids: Iterable[str]) -> dict[str, Found]:
    """The rows with these ids, which nobody else changes until the transaction ends. In the order of their ids."""
    statement = select(*FOUND_COLUMNS).where(among(connection, jobs.c.id, ids))
    return read(connection.execute(statement.order_by(jobs.c.id).with_for_update()))


def change(connection: Connection, changed: Sequence[tuple[str, Changes]]) -> None:
    """Changes rows that :func:`lock` has locked, those with the same columns in one statement."""
    by_columns = sorted(changed, key=lambda each: tuple(each[1]))
    for columns, group in groupby(by_columns, key=lambda each: tuple(each[1])):
        rows = [[id, *values.values()] for id, values in group]
        if len(rows) <= FEW:
            with through_driver(connection) as driver, driver.cursor() as cursor:
                cursor.executemany(_update_one(columns), [[*values, id] for id, *values in rows])
            continue
        _stage(connection, ("id", *columns), rows)
        with through_driver(connection) as driver:
            driver.execute(_update(columns))


def _stage(connection: Connection, columns: Sequence[str], rows: Iterable[Sequence[Any] | PlainSuccess]) -> None:
    with through_driver(connection) as driver:
        driver.execute(_make())
        # Rows of this transaction; TRUNCATE would make new files for them.
        driver.execute(f"DELETE FROM {STAGED}")  # noqa: S608
        with driver.cursor() as cursor, cursor.copy(f"COPY {STAGED} ({', '.join(columns)}) FROM STDIN") as copy:
            lines: list[str] = []
            for row in rows:
                if isinstance(row, PlainSuccess):
                    if row.line is not None:
                        lines.append(row.line)
                        continue
                    row = row.row
                copy.write_row(row)
            copy.write("".join(lines))


@cache
def _make() -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    columns = ", ".join(f"{column.name} {column.type.compile(dialect)}" for column in jobs.c)
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {STAGED} ({columns}) ON COMMIT DELETE ROWS"


@cache
def _insert() -> str:
    columns = ", ".join(COLUMNS)
    chosen = f"SELECT {columns} FROM {STAGED} ORDER BY id"  # noqa: S608
    return f"INSERT INTO jobs ({columns}) {chosen} ON CONFLICT DO NOTHING RETURNING id"


@cache
def _update(columns: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{column} = {STAGED}.{column}" for column in columns)
    return f"UPDATE jobs SET {assignments} FROM {STAGED} WHERE jobs.id = {STAGED}.id"  # noqa: S608


@cache
def _insert_values(count: int) -> str:
    row = f"({', '.join(['%s'] * len(COLUMNS))})"
    return (
        f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES {', '.join([row] * count)} "  # noqa: S608
        "ON CONFLICT DO NOTHING RETURNING id"
    )


@cache
def _update_one(columns: tuple[str, ...]) -> str:
    return f"UPDATE jobs SET {', '.join(f'{column} = %s' for column in columns)} WHERE id = %s"  # noqa: S608
