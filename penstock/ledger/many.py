"""Many rows in one statement, whose text does not depend on their number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Table, Text, bindparam, cast, column, func, select, update

from penstock.ledger.queries import insert_into
from penstock.ledger.session import encode_json

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
        given = statement.from_select(names, _unnested(connection, table, names, rows)).on_conflict_do_nothing()
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
        given = _unnested(connection, table, list(rows[0]), rows).subquery()
        statement = update(table).values({name: given.c[name] for name in names})
        connection.execute(statement.where(*(table.c[key] == given.c[key] for key in keys)))
        return
    statement = update(table).values({name: bindparam(f"new_{name}") for name in names})
    statement = statement.where(*(table.c[key] == bindparam(f"key_{key}") for key in keys))
    renamed = {name: f"{'key' if name in keys else 'new'}_{name}" for name in rows[0]}
    connection.execute(statement, [{renamed[name]: value for name, value in row.items()} for row in rows])


def _unnested(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Row]) -> Any:
    """The rows as PostgreSQL reads them from one parameter.

    That is JSON: the driver makes an array of a list value by value, which takes longer than all else.
    """
    columns = [table.c[name] for name in names]
    given = [_written(connection, each, [row[each.name] for row in rows]) for each in columns]
    text = json.dumps([dict(zip(names, row, strict=True)) for row in zip(*given, strict=True)], default=_moment)
    # A JSON value is a text in it: what PostgreSQL refuses in texts, it refuses in all of a JSON that it looks into.
    read = [column(each.name, Text() if isinstance(each.type, JSON) else each.type) for each in columns]
    found = func.json_to_recordset(cast(bindparam(None, text, Text()), JSON)).table_valued(*read)
    found = found.render_derived(with_types=True)
    return select(
        *(cast(found.c[each.name], JSON) if isinstance(each.type, JSON) else found.c[each.name] for each in columns)
    )


def _written(connection: Connection, each: Column[Any], values: list[Any]) -> list[Any]:
    """The values of a column as the driver would get them."""
    if isinstance(each.type, JSON):
        return [None if value is None else encode_json(value) for value in values]
    process = each.type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
    return list(map(process, values)) if process else values


def _moment(value: datetime) -> str:
    return value.isoformat()
