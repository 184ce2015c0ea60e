"""Rows of jobs as the fence asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.job import State
from penstock.ledger.recording.fence import Found
from penstock.ledger.tables import jobs

STATES = {state.value: state for state in State}
FOUND_COLUMNS = tuple(jobs.c[name] for name in Found.__slots__)


def read(rows: Iterable[Any]) -> dict[str, Found]:
    """The rows of a SELECT of FOUND_COLUMNS, by id."""
    return {row[0]: _found(*row) for row in rows}


def _found(id: str, task: str, queue: str | None, state: str, *rest: Any) -> Found:
    return Found(id, task, queue, STATES[state], *rest)
