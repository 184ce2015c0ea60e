"""What is known of chords while their parts are ending. The caller brings the transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from penstock.ledger.rows import clip
from penstock.ledger.tables import counted, counters


@dataclass(frozen=True)
class ChordRow:
    """A chord of which at least one part has ended; its row goes some time after its body was started."""

    id: str
    total: int
    remaining: int
    fired_at: datetime | None
    """When the last part had ended."""


def find_chord(connection: Connection, group_id: str) -> ChordRow | None:
    """The chord whose header is this group, by primary key."""
    columns = [counters.c[name] for name in ChordRow.__dataclass_fields__]
    row = connection.execute(select(*columns).where(counters.c.id == clip(group_id))).one_or_none()
    return ChordRow(*row) if row else None


def ended_parts(connection: Connection, group_id: str, limit: int) -> list[str]:
    """Ids of parts of a chord that have ended, at most ``limit``, by primary key; in the order of the parts."""
    parts = select(counted.c.job_id).where(counted.c.counter_id == clip(group_id))
    return list(connection.execute(parts.order_by(counted.c.position, counted.c.job_id).limit(limit)).scalars())
