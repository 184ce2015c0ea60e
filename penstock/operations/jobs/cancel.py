"""Cancelling jobs that a person names by the beginnings of their ids."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from penstock import cancelling
from penstock.app import PenstockApp
from penstock.cancelling import Cancelled
from penstock.ledger import queries
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of
from penstock.operations.wording import SHORT_ID, is_uuid


def cancel(
    app: PenstockApp, given: Sequence[str], *, actor: str, grace: float | None, reason: str | None = None
) -> Cancelled:
    """Cancels jobs; see :func:`penstock.cancelling.cancel`.

    Args:
        given: ids in full, also of jobs that have no row yet, or beginnings of UUIDs.
    """
    url = app.settings.database_url
    with reading(url) as connection:
        ids = [_in_full(connection, id) for id in given]
    return cancelling.cancel(url, lambda: broker_of(app), ids, actor=actor, grace=grace, reason=reason)


def _in_full(connection: Connection, given: str) -> str:
    """The full id.

    Only the beginning of a UUID is completed: a short id that somebody chose may be that of a job that waits
    and has no row, and completing it would cancel another job.
    """
    if queries.find_job(connection, given) is None and len(given) >= SHORT_ID:
        ids = queries.ids_like(connection, given, 2)
        if len(ids) == 1 and is_uuid(ids[0]):
            return ids[0]
    return given
