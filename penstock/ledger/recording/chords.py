"""Parts of chords, counted in the transaction that ends them; whoever counts the last one starts the body's job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, case, select, update

from penstock.ledger.groups import find_group
from penstock.ledger.queries import insert_into
from penstock.ledger.records import FollowUp, Part
from penstock.ledger.rows import clip
from penstock.ledger.tables import counted, counters
from penstock.ledger.unlocking import unlock


def count_parts(connection: Connection, parts: Sequence[Part]) -> list[FollowUp]:
    """Counts each part once, however often it is told; the messages of the chords that are complete now.

    A chord's counter is locked by its UPDATE until COMMIT, and goes to zero once. In the order of their ids, so that
    two who end parts of the same chords wait for each other instead of both for ever.
    """
    if not parts:
        return []
    now = datetime.now(UTC)
    of = {clip(part.counter): part for part in parts}
    rows = [{"id": id, "total": of[id].total, "remaining": of[id].total, "created_at": now} for id in sorted(of)]
    connection.execute(insert_into(connection, counters).on_conflict_do_nothing(), rows)
    new = _insert_counted(connection, parts)
    return [_unlock(connection, of[id], now) for id in sorted(new) if _count_down(connection, id, new[id], now)]


def _insert_counted(connection: Connection, parts: Sequence[Part]) -> Counter[str]:
    """How many parts of each chord had not been counted before; the primary key tells."""
    keys = {(clip(part.counter), clip(part.job_id)): part.position for part in parts}
    rows = [{"counter_id": id, "job_id": job_id, "position": keys[id, job_id]} for id, job_id in sorted(keys)]
    statement = insert_into(connection, counted).on_conflict_do_nothing().returning(counted.c.counter_id)
    return Counter(connection.execute(statement, rows).scalars())


def _count_down(connection: Connection, id: str, count: int, now: datetime) -> bool:
    """Whether these parts were the last. More than there are of a chord do no harm."""
    has_more = counters.c.remaining > count
    statement = (
        update(counters)
        .where(counters.c.id == id, counters.c.remaining > 0)
        .values(
            remaining=case((has_more, counters.c.remaining - count), else_=0),
            fired_at=case((has_more, None), else_=now),
        )
        .returning(counters.c.remaining)
    )
    return connection.execute(statement).scalar_one_or_none() == 0


def _unlock(connection: Connection, part: Part, now: datetime) -> FollowUp:
    """The message of Celery's own job that joins the parts and starts the body, as with any backend."""
    saved = find_group(connection, part.counter)
    return unlock(part, _job_ids(connection, clip(part.counter)), saved, now)


def add_part(connection: Connection, counter: str, total: int) -> None:
    """Makes a chord wait for one part more; while the job runs that asks for this, it cannot be complete.

    Args:
        total: parts of the chord as its messages say, in case that none has ended yet.
    """
    now, one_more = datetime.now(UTC), total + 1
    upsert = insert_into(connection, counters).values(
        id=clip(counter), total=one_more, remaining=one_more, created_at=now
    )
    upsert = upsert.on_conflict_do_update(
        index_elements=[counters.c.id],
        set_={"total": counters.c.total + 1, "remaining": counters.c.remaining + 1},
        where=counters.c.fired_at.is_(None),
    )
    connection.execute(upsert)


def _job_ids(connection: Connection, id: str) -> list[str]:
    """The parts in the order of the body's arguments."""
    statement = select(counted.c.job_id).where(counted.c.counter_id == id)
    return list(connection.execute(statement.order_by(counted.c.position, counted.c.job_id)).scalars())
