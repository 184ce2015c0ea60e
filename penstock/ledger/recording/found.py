"""Rows of jobs as the fence asks for them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult

from penstock.job import State
from penstock.ledger.recording.fence import Found
from penstock.ledger.tables import jobs

STATES = {state.value: state for state in State}
FOUND_COLUMNS = tuple(jobs.c[name] for name in Found.__slots__)


def read(rows: CursorResult[Any]) -> dict[str, Found]:
    """The rows of a SELECT of FOUND_COLUMNS, by id."""
    found = (
        Found(id, task, queue, STATES[state], *rest) for id, task, queue, state, *rest in map(tuple[Any, ...], rows)
    )
    return {each.id: each for each in found}
