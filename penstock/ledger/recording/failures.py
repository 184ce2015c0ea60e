"""How often which error came in which hour: what `failures list` shows of jobs, without reading any of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, case

from penstock.job import Reason, State
from penstock.ledger.queries import insert_into
from penstock.ledger.recording.columns import fit
from penstock.ledger.recording.fence import Judgement, target
from penstock.ledger.recording.tallies import shard
from penstock.ledger.records import Record, Verdict
from penstock.ledger.tables import failure_hours

SHARDS = 4
"""Fewer than tallies have: each is a row for each error and hour, and they are read as a whole."""


class Failed(NamedTuple):
    """A job that has failed for good."""

    fingerprint: str
    task: str
    at: datetime
    job_id: str

    @property
    def key(self) -> tuple[str, str, datetime]:
        """What it is counted by."""
        return self.fingerprint, self.task, self.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def failed_by(record: Record, judgement: Judgement) -> Failed | None:
    """The job that the record has made a failed one; None if it has not, or if that had been written before."""
    if judgement.verdict is not Verdict.WON or judgement.is_repeated or target(record) is not State.FAILED:
        return None
    failure = record.outcome.failure if record.outcome else None
    if failure is None or failure.fingerprint is None:
        return None
    if record.outcome is not None and record.outcome.reason is Reason.DISCARDED:
        return None  # Its own body has dealt with it.
    task, job_id = fit(record.delivery.task) or "", fit(record.delivery.id) or ""
    return Failed(failure.fingerprint, task, record.at, job_id)


def count_failures(connection: Connection, failed: Sequence[Failed]) -> None:
    """Adds the jobs, by error, task and hour. In the order of the key, so that of two transactions that count the same
    errors none waits for ever; several rows for one sum (shards) let most of them not wait at all.
    """
    of: dict[tuple[str, str, datetime], list[Failed]] = {}
    for each in failed:
        of.setdefault(each.key, []).append(each)
    rows = [_row(key, of[key]) for key in sorted(of)]
    if not rows:
        return
    statement = insert_into(connection, failure_hours)
    new, old = statement.excluded, failure_hours.c
    is_later = new.last_at >= old.last_at
    changes = {
        "count": old.count + new.count,
        "first_at": case((new.first_at < old.first_at, new.first_at), else_=old.first_at),
        "last_at": case((is_later, new.last_at), else_=old.last_at),
        "job_id": case((is_later, new.job_id), else_=old.job_id),
    }
    statement = statement.on_conflict_do_update(index_elements=list(failure_hours.primary_key), set_=changes)
    connection.execute(statement, rows)


def _row(key: tuple[str, str, datetime], failed: Sequence[Failed]) -> dict[str, object]:
    fingerprint, task, hour = key
    last = max(failed, key=lambda each: each.at)
    return {
        "fingerprint": fingerprint,
        "task": task,
        "hour": hour,
        "shard": shard(SHARDS),
        "count": len(failed),
        "first_at": min(each.at for each in failed),
        "last_at": last.at,
        "job_id": last.job_id,
    }
