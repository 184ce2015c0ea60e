"""Why a job does not run, for whoever has an app: ids may be short, and the app may know of more queues than Redis."""

from __future__ import annotations

from functools import partial

from penstock.app import PenstockApp
from penstock.errors import JobNotFound
from penstock.ledger import queries
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, lease_seconds, served_queues
from penstock.operations.jobs.lookup import find_job
from penstock.why.explaining import explain
from penstock.why.reason import Why
from penstock.why.subject import look


def why(app: PenstockApp, given: str) -> Why:
    """Why the job with this id, or the only one whose id begins like this, does not run.

    A whole id is that of its job, with a row or without, before it is the beginning of another's.

    Raises:
        JobNotFound: nobody has heard of it, or several ids begin like this.
    """
    look_at = partial(
        look,
        database_url=app.settings.database_url,
        open_broker=partial(broker_of, app),
        lease_seconds=lease_seconds(app),
        queues=served_queues(app),
    )
    found = explain(look_at(given))
    if "unknown" not in found.names:
        return found
    with reading(app.settings.database_url) as connection:
        if not queries.ids_like(connection, given, 1):
            raise JobNotFound(f"there is no job {given}: {found.sentence}")
        row = find_job(connection, given)
    return explain(look_at(row.id))
