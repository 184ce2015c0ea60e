"""Follow-ups of records that have won: messages that exist from the same COMMIT on as the row that they follow from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from penstock.ledger.queries import insert_into
from penstock.ledger.recording.among import among
from penstock.ledger.recording.columns import fit
from penstock.ledger.records import FollowUp
from penstock.ledger.session import through_driver
from penstock.ledger.tables import outbox


def insert_follow_ups(connection: Connection, follow_ups: Sequence[FollowUp]) -> None:
    """Puts them into the outbox as published: whoever writes publishes them right after COMMIT, or the reconciler
    finds that Redis does not have them. One that is there stays as it is.
    """
    if follow_ups:
        now = datetime.now(UTC)
        statement = insert_into(connection, outbox).on_conflict_do_nothing(index_elements=[outbox.c.key])
        connection.execute(statement, [_row(each, now) for each in follow_ups])


def insert_first_messages(connection: Connection, messages: Sequence[FollowUp]) -> None:
    """As :func:`insert_follow_ups`, for messages of jobs whose ids have just been made up: none of them is there."""
    if connection.dialect.name != "postgresql" or not messages:
        insert_follow_ups(connection, messages)
        return
    now = datetime.now(UTC)
    rows = [_row(each, now) for each in messages]
    statement = f"COPY {outbox.name} ({', '.join(rows[0])}) FROM STDIN"
    with through_driver(connection) as driver, driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(list(row.values()))


def _row(follow_up: FollowUp, now: datetime) -> dict[str, Any]:
    return {
        "key": fit(follow_up.key),
        "job_id": fit(follow_up.job_id),
        "task": fit(follow_up.task),
        "queue": fit(follow_up.queue),
        "step": follow_up.step,
        "due": follow_up.due,
        "payload": follow_up.payload,
        "created_at": now,
        "published_at": now,
    }


def delete_done(connection: Connection, keys: Sequence[str]) -> None:
    """Takes out the messages whose attempts have ended: nobody may publish them again. By the unique key."""
    if keys:
        connection.execute(delete(outbox).where(among(connection, outbox.c.key, {fit(key) for key in keys})))


def still_there(connection: Connection, follow_ups: Sequence[FollowUp]) -> list[FollowUp]:
    """Those whose row is there, so that whoever publishes them again cannot publish one that is done with."""
    if not follow_ups:
        return []
    keys = {fit(each.key) for each in follow_ups}
    known = set(connection.execute(select(outbox.c.key).where(among(connection, outbox.c.key, keys))).scalars())
    return [each for each in follow_ups if fit(each.key) in known]
