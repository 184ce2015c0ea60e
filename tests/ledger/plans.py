"""How PostgreSQL carries out what the ledger asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, event

from penstock.ledger.session import engine_for, reading


def plans_of(url: str, ask: Callable[[Connection], object]) -> list[dict[str, Any]]:
    """How it ran each statement that ``ask`` has sent."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    engine = engine_for(url)
    with reading(url) as connection:
        event.listen(engine, "before_cursor_execute", note)
        try:
            ask(connection)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        cursor = connection.connection.cursor()
        found = []
        for statement, parameters in statements:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            (plan,) = cursor.fetchone()
            found.append((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's steps."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def tables_read(plans: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
    """The steps that read a table, each with how many of its rows it has looked at."""
    for node in (node for plan in plans for node in nodes(plan) if "Relation Name" in node):
        yield node, (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
