"""Saved groups: which jobs belong together, and in which order. The caller brings the transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from penstock.ledger.queries import insert_into
from penstock.ledger.rows import clip
from penstock.ledger.tables import groups


def save_group(connection: Connection, id: str, members: Any) -> None:
    """Keeps a group, in place of the one that was kept under this id.

    Args:
        members: what Celery's ``GroupResult.as_tuple()`` gives.
    """
    upsert = insert_into(connection, groups).values(id=clip(id), members=members, created_at=datetime.now(UTC))
    upsert = upsert.on_conflict_do_update(index_elements=[groups.c.id], set_={"members": upsert.excluded.members})
    connection.execute(upsert)


def find_group(connection: Connection, id: str) -> Any:
    """What was kept of a group; None if nothing was."""
    return connection.execute(select(groups.c.members).where(groups.c.id == clip(id))).scalar_one_or_none()


def delete_group(connection: Connection, id: str) -> None:
    """Forgets a group; its jobs stay."""
    connection.execute(delete(groups).where(groups.c.id == clip(id)))
