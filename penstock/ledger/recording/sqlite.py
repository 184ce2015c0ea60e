"""Rows of jobs on SQLite. The transaction has the whole database, so what is read here stays so until it ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from penstock.ledger.recording.among import among
from penstock.ledger.recording.columns import COLUMNS, Changes, Row
from penstock.ledger.recording.fence import Found
from penstock.ledger.recording.found import FOUND_COLUMNS, read
from penstock.ledger.recording.plain import PlainSuccess, row_of
from penstock.ledger.tables import jobs

TIMES, LENGTH_OF_TIME = 5, len("2026-11-22 12:00:00.000000")
"""Columns at the end of a row that are times, and their length without the zone, which is UTC."""


def insert_new(connection: Connection, new_rows: Sequence[Row | PlainSuccess]) -> set[str]:
    """Inserts the rows of jobs that have none, and tells their ids."""
    rows = [row_of(new) for new in new_rows]
    ids = [row[0] for row in rows]
    there = set(connection.execute(select(jobs.c.id).where(among(connection, jobs.c.id, ids))).scalars())
    new = [(*row[:-TIMES], *map(_plain, row[-TIMES:])) for row in rows if row[0] not in there]
    if new:
        connection.exec_driver_sql(_insert(), new)
    return set(ids) - there


def lock(connection: Connection, ids: Iterable[str]) -> dict[str, Found]:
    """The rows with these ids."""
    return read(connection.execute(select(*FOUND_COLUMNS).where(among(connection, jobs.c.id, ids))))


def change(connection: Connection, changed: Sequence[tuple[str, Changes]]) -> None:
    """Changes rows, those with the same columns in one statement."""
    by_columns = sorted(changed, key=lambda each: tuple(each[1]))
    for columns, group in groupby(by_columns, key=lambda each: tuple(each[1])):
        rows = [(*(_plain(value) for value in values.values()), id) for id, values in group]
        connection.exec_driver_sql(_update(columns), rows)


@cache
def _insert() -> str:
    return f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608


@cache
def _update(columns: tuple[str, ...]) -> str:
    return f"UPDATE jobs SET {', '.join(f'{column} = ?' for column in columns)} WHERE id = ?"  # noqa: S608


def _plain(value: Any) -> Any:
    """Times as SQLAlchemy writes them for SQLite."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(" ", "microseconds")[:LENGTH_OF_TIME]
    return value
