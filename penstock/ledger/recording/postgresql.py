"""Rows of jobs on PostgreSQL: a batch goes by COPY, straight into `jobs` while all of its jobs seem to be new.

If one of them has a row already, COPY fails as a whole, and nothing of it is there. Then the batch goes into a
temporary table, and from there into `jobs` in one statement, which can tell new rows from those that are there and
takes longer. The temporary table is empty at the beginning of each transaction, and made again where a pooler has given
us another connection. Both cost a few round trips, so a handful of rows goes without.
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
IN_THE_WAY = ("23505", "40P01")
"""States of errors by which PostgreSQL says that a row is there, or is just being inserted by somebody."""
LEAST_PAUSE, LONGEST_PAUSE = 4, 256
"""Batches that are staged without a trial after one that had to be; twice as many each time."""
FEW = 16
"""Rows that are written as values; each number of them is a statement that the server prepares."""


def insert_new(connection: Connection, rows: Sequence[Row | PlainSuccess]) -> set[str]:
    """Inserts the rows of jobs that have none, and tells their ids.

    Staged rows are in the order of their ids, so that two who insert the same ones wait for each other instead of both
    for ever. Those that are copied straight are in none; then PostgreSQL ends the wait of one, who stages them. A row
    that somebody else is just inserting is waited for, and then counts as there.
    """
    if len(rows) <= FEW:
        ordered = sorted(map(row_of, rows), key=lambda row: str(row[0]))
        with through_driver(connection) as driver:
            values = [value for row in ordered for value in row]
            return {id for (id,) in driver.execute(_insert_values(len(rows)), values)}
    if _copied_straight(connection, rows):
        return {row.id if isinstance(row, PlainSuccess) and row.line is not None else row_of(row)[0] for row in rows}
    _stage(connection, COLUMNS, rows)
    with through_driver(connection) as driver:
        return {id for (id,) in driver.execute(_insert())}


def _copied_straight(connection: Connection, rows: Sequence[Row | PlainSuccess]) -> bool:
    """Whether the rows are in `jobs` now: all of them, or none."""
    pauses: dict[str, int] = connection.info.setdefault("straight", {"left": 0, "next": LEAST_PAUSE})
    if pauses["left"]:
        pauses["left"] -= 1
        return False
    with through_driver(connection) as driver:
        driver.execute("SAVEPOINT straight")
        try:
            _copy(driver, "jobs", COLUMNS, rows)
        except connection.dialect.loaded_dbapi.Error as error:
            if error.sqlstate not in IN_THE_WAY:
                raise
            driver.execute("ROLLBACK TO SAVEPOINT straight")
            pauses["left"], pauses["next"] = pauses["next"], min(2 * pauses["next"], LONGEST_PAUSE)
            return False
        driver.execute("RELEASE SAVEPOINT straight")
    pauses["next"] = LEAST_PAUSE
    return True


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
        _copy(driver, STAGED, columns, rows)


def _copy(driver: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any] | PlainSuccess]) -> None:
    lines: list[str] = []
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
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
