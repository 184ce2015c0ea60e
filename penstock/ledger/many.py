"""Many rows in one statement, whose text does not depend on their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, Connection, Table, bindparam, cast, column, func, select, update

from penstock.ledger.queries import insert_into

Row = Mapping[str, Any]


def insert_many(connection: Connection, table: Table, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Inserts rows unless they are there; the primary keys of those that were not.

    Args:
        rows: all with the same columns.
    """
    if not rows:
        return []
    keys, names = list(table.primary_key), list(rows[0])
    statement = insert_into(connection, table)
    if connection.dialect.name == "postgresql":
        given = statement.from_select(names, _unnested(table, names, rows)).on_conflict_do_nothing()
        return [tuple(row) for row in connection.execute(given.returning(*keys))]
    given = statement.on_conflict_do_nothing().returning(*keys)
    return [tuple(row) for row in connection.execute(given, [dict(row) for row in rows])]


def update_many(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Sets columns of rows that are found by their primary keys.

    Args:
        rows: all with the same columns, the keys among them.
    """
    if not rows:
        return
    keys = [key.name for key in table.primary_key]
    names = [name for name in rows[0] if name not in keys]
    if connection.dialect.name == "postgresql":
        given = _unnested(table, list(rows[0]), rows).subquery()
        statement = update(table).values({name: given.c[name] for name in names})
        connection.execute(statement.where(*(table.c[key] == given.c[key] for key in keys)))
        return
    statement = update(table).values({name: bindparam(f"new_{name}") for name in names})
    statement = statement.where(*(table.c[key] == bindparam(f"key_{key}") for key in keys))
    renamed = {name: f"{'key' if name in keys else 'new'}_{name}" for name in rows[0]}
    connection.execute(statement, [{renamed[name]: value for name, value in row.items()} for row in rows])


def _unnested(table: Table, names: Sequence[str], rows: Sequence[Row]) -> Any:
    """The rows as PostgreSQL reads them from one array for each column."""
    arrays = [
        cast(bindparam(None, [row[name] for row in rows], ARRAY(table.c[name].type)), ARRAY(table.c[name].type))
        for name in names
    ]
    return select(*(column(name) for name in names)).select_from(
        func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in names)).render_derived()
    )
