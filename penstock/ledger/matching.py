"""Conditions on what a job's row holds inside of one column, in the words of each database.

Rows hold what anybody has sent, so nothing here may fail on any of them: one such row would cost every search that
meets it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, case, cast, false, func, literal, not_, type_coerce

from penstock import tags
from penstock.ledger.tables import plain

PAIR = r"\\u[dD][89abAB]..\\u[dD][c-fC-F].."
"""Of a character beyond the first 65,536, as JSON writes it in ASCII."""
NO_CHARACTER = r"\\u(0000|[dD][89a-fA-F])"
"""What JSON can write and PostgreSQL has no text for: a NUL, and a half of such a pair."""


def has_tag(connection: Connection, row: Any, tag: str) -> ColumnElement[bool]:
    """Whether a row's job has a tag, which is compared letter by letter."""
    wanted = tags.to_text(tags.of_header(tag))
    if wanted is None:
        return false()
    text = type_coerce(row.tags, Text)
    place = func.strpos(text, wanted) if connection.dialect.name == "postgresql" else func.instr(text, wanted)
    return place > 0


def has_argument(connection: Connection, row: Any, name: str, value: str) -> ColumnElement[bool]:
    """Whether a row's job was given a text, a number or a boolean by name that is written so in JSON.

    Args:
        name: letters, digits and ``_``.
    """
    find = _in_postgresql if connection.dialect.name == "postgresql" else _in_sqlite
    return find(type_coerce(row.kwargs, Text), name) == plain(value)


def _in_postgresql(kwargs: ColumnElement[str], name: str) -> ColumnElement[Any]:
    document = cast(kwargs, Text)
    # Backslashes that stand for themselves go first; then what is left of them begins an escape.
    escapes = func.regexp_replace(func.replace(document, r"\\", ""), PAIR, "", "g")
    value = kwargs.op("->")(name)
    is_scalar = func.json_typeof(value).in_(("string", "number", "boolean"))
    # In the order of the cases, so that nothing is taken out of what cannot be read.
    return case((escapes.op("~")(NO_CHARACTER), None), (is_scalar, kwargs.op("->>")(name)))


def _in_sqlite(kwargs: ColumnElement[str], name: str) -> ColumnElement[Any]:
    path = literal(f'$."{name}"')
    kind = func.json_type(kwargs, path)
    return case(
        (not_(func.json_valid(kwargs)), None),
        (kind == "text", func.json_extract(kwargs, path)),
        # As it was written: SQLite has no booleans, and writes numbers in its own way.
        (kind.in_(("integer", "real", "true", "false")), kwargs.op("->")(path)),
    )
