"""Cancelling jobs through Celery's revoke."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Connection

from penstock.app import PenstockApp
from penstock.checks import require_redis
from penstock.cli.command import actor
from penstock.cli.output import print_json
from penstock.errors import BrokerUnavailable, NotCancellable
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading, writing
from penstock.operations.wording import SHORT_ID, counted, distance, is_uuid

REPLY_SECONDS = 2.0
"""How long workers have to answer; a worker of one process answers between two jobs only."""


def cancel(app: PenstockApp, given: Sequence[str], terminate: bool, as_json: bool = False) -> None:
    """Cancels the jobs, prints what that means for each, and notes it in the audit.

    Redis keeps the request for workers that are down or too busy to hear it: a job that waits is cancelled when it is
    claimed, whoever claims it.

    Raises:
        NotCancellable: some had ended already, and the others were cancelled.
        BrokerUnavailable: Redis does not answer.
    """
    with reading(app.settings.database_url) as connection:
        rows = dict(_find(connection, id) for id in given)
    ended = {id: row for id, row in rows.items() if row and row.state.is_final}
    open_jobs = {id: row for id, row in rows.items() if id not in ended}
    workers = _revoke(app, list(open_jobs), terminate) if open_jobs else []
    if open_jobs:
        _note(app, list(open_jobs), terminate, workers)
    means = {id: _consequence(row, terminate, workers) for id, row in open_jobs.items()}
    if as_json:
        print_json([{"job": id, "workers": workers, "means": text} for id, text in means.items()])
    else:
        for id, text in means.items():
            click.echo(f"{id}: {_heard(workers)}; {text}")
    if ended:
        raise NotCancellable("\n".join(f"{id} {_ending(row)}" for id, row in ended.items()))


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


def _note(app: PenstockApp, ids: list[str], terminate: bool, workers: list[str]) -> None:
    details = {"terminate": terminate, "workers": workers}
    with writing(app.settings.database_url) as connection:
        for id in ids:
            queries.add_audit(connection, actor=actor(), action="cancel", job_id=id, details=details)


def _heard(workers: Sequence[str]) -> str:
    return f"{counted(len(workers), 'worker')} heard it" if workers else "noted; no worker has heard it yet"


def _consequence(row: JobRow | None, terminate: bool, workers: Sequence[str]) -> str:
    if row is None or row.state is not State.RUNNING:
        return "it will not start" if workers else "it is cancelled when one claims it"
    if not terminate:
        return "it runs to its end (--terminate stops it), and is not retried"
    return "it is being stopped" if workers else "it is stopped when its worker does"


def _ending(row: JobRow) -> str:
    ago = f" {distance(row.finished_at, datetime.now(UTC))}" if row.finished_at else ""
    return f"has already ended: {row.state}{ago}"
