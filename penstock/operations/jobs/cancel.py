"""Cancelling jobs through Celery's revoke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.checks import require_redis
from penstock.errors import BrokerUnavailable
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading, writing
from penstock.operations.wording import SHORT_ID, is_uuid

REPLY_SECONDS = 2.0
"""How long workers have to answer; a worker of one process answers between two jobs only."""


class Meaning(StrEnum):
    """What a cancellation means for a job; the value says it to people."""

    NEVER_STARTS = "it will not start"
    CANCELLED_WHEN_CLAIMED = "it is cancelled when one claims it"
    RUNS_ON = "it runs to its end, and is not retried"
    IS_STOPPED = "it is being stopped"
    STOPPED_LATER = "it is stopped when its worker does"


@dataclass(frozen=True)
class Cancelled:
    """What became of a request to cancel jobs."""

    means: dict[str, Meaning]
    """For each job that had not ended, by its full id."""
    ended: list[JobRow]
    """Jobs that had ended already, which stay as they are."""
    workers: list[str]
    """Those that heard it; the others find it in Redis."""


def cancel(app: PenstockApp, given: Sequence[str], *, terminate: bool, actor: str) -> Cancelled:
    """Cancels jobs, and notes it in the audit of each.

    Redis keeps the request for workers that are down or too busy to hear it: a job that waits is cancelled when it is
    claimed, whoever claims it.

    Args:
        given: ids in full, also of jobs that have no row yet, or beginnings of UUIDs.
        terminate: also stop those that run (SIGTERM to their process).

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
    with reading(app.settings.database_url) as connection:
        rows = dict(_find(connection, id) for id in given)
    ended = [row for row in rows.values() if row and row.state.is_final]
    open_jobs = {id: row for id, row in rows.items() if not (row and row.state.is_final)}
    workers = _revoke(app, list(open_jobs), terminate) if open_jobs else []
    if open_jobs:
        _note(app, list(open_jobs), terminate, workers, actor)
    means = {id: _meaning(row, terminate, workers) for id, row in open_jobs.items()}
    return Cancelled(means, ended, workers)


def _find(connection: Connection, given: str) -> tuple[str, JobRow | None]:
    """The full id, and the row if there is one.

    Only the beginning of a UUID is completed: a short id that somebody chose may be that of a job that waits
    and has no row, and completing it would cancel another job.
    """
    row = queries.find_job(connection, given)
    if row is None and len(given) >= SHORT_ID:
        ids = queries.ids_like(connection, given, 2)
        if len(ids) == 1 and is_uuid(ids[0]):
            return ids[0], queries.find_job(connection, ids[0])
    return given, row


def _revoke(app: PenstockApp, ids: list[str], terminate: bool) -> list[str]:
    """Notes the request in Redis, then tells the workers; the names of those that answer."""
    require_redis(app.settings)
    try:
        replies: list[dict[str, Any]] = (
            app.control.revoke(ids, terminate=terminate, signal="SIGTERM", reply=True, timeout=REPLY_SECONDS) or []
        )
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerUnavailable(f"Redis did not pass the request on ({error}); repeat the command") from error
    return [name for reply in replies for name, answer in reply.items() if "ok" in answer]


def _note(app: PenstockApp, ids: list[str], terminate: bool, workers: list[str], actor: str) -> None:
    details = {"terminate": terminate, "workers": workers}
    with writing(app.settings.database_url) as connection:
        for id in ids:
            queries.add_audit(connection, actor=actor, action="cancel", job_id=id, details=details)


def _meaning(row: JobRow | None, terminate: bool, workers: Sequence[str]) -> Meaning:
    if row is None or row.state is not State.RUNNING:
        return Meaning.NEVER_STARTS if workers else Meaning.CANCELLED_WHEN_CLAIMED
    if not terminate:
        return Meaning.RUNS_ON
    return Meaning.IS_STOPPED if workers else Meaning.STOPPED_LATER
