"""Many values in one condition."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, String, bindparam, func, select


def among(connection: Connection, column: ColumnElement[Any], values: Iterable[str]) -> ColumnElement[bool]:
    """Whether the column is one of the values. They are one parameter, so that each number of them is the same
    statement, and no bound on parameters is met.
    """
    if connection.dialect.name == "postgresql":
        return column == func.any(bindparam(None, list(values), ARRAY(String)))
    return column.in_(select(func.json_each(json.dumps(list(values))).table_valued("value").c.value))
