"""Rows of jobs as the fence asks for them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult

from penstock.job import State
from penstock.ledger.recording.fence import Found
from penstock.ledger.tables import jobs

FOUND_COLUMNS = tuple(jobs.c[name] for name in Found.__slots__)


def read(rows: CursorResult[Any]) -> dict[str, Found]:
    """The rows of a SELECT of FOUND_COLUMNS, by id."""
    return {row.id: Found(**{**row._mapping, "state": State(row.state)}) for row in rows}
