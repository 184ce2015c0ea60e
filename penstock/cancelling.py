"""Cancelling jobs, whatever state they are in, from any process that can reach SQL and Redis.

The audit keeps the request; Redis tells the workers. A job that waits for the ledger's word is ended by the request
itself, and every other one that waits by a keeper, within about a second while any worker runs. A body that runs is
asked to stop, and stopped when its grace is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from penstock.broker.scripts import Scripts
from penstock.errors import ArgumentError, BrokerUnavailable, LedgerUnavailable
from penstock.job import UNSAID, Reason, State
from penstock.ledger import cancellations, queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import has_collided, writing
from penstock.ledger.tables import is_plain
from penstock.seconds import MOST_SECONDS, are_seconds

SLICE = 200
"""Jobs that one transaction, and one call of Redis, is about."""


class Meaning(StrEnum):
    """What a request means for a job; the value says it to people."""

    CANCELLED = "it is cancelled"
    NEVER_STARTS = "it will not start"
    CANCELLED_LATER = "no worker runs; it is cancelled when one does"
    IS_ASKED = "it runs, and is asked to stop"
    IS_STOPPED = "it is being stopped"
    STOPPED_LATER = "no worker runs; it does not start again"


@dataclass(frozen=True)
class Cancelled:
    """What became of a request to cancel jobs."""

    means: dict[str, Meaning]
    """For each job that had not ended, or that somebody had cancelled before, by its full id."""
    ended: list[JobRow]
    """Jobs that had ended otherwise already, which stay as they are: also those that nobody has cancelled, though they
    are ``cancelled``, by their bodies or because they expired.
    """


def end_in_words(row: JobRow) -> str:
    """How a job has ended: ``succeeded``, ``cancelled (expired)``."""
    return f"{row.state} ({row.reason})" if row.reason and row.reason not in UNSAID else row.state.value


def cancel(
    database_url: str,
    broker: Callable[[], AbstractContextManager[Scripts]],
    ids: Sequence[str],
    *,
    actor: str,
    grace: float | None,
    reason: str | None,
) -> Cancelled:
    """Cancels jobs; a request that is repeated changes nothing, but for a shorter grace.

    Args:
        broker: Redis.
        ids: in full, also of jobs that have no row yet.
        grace: seconds that a body has to stop by itself; 0: none, None: as long as it takes.

    Raises:
        ArgumentError: the grace is no number of seconds, or an id can be nobody's; nothing is cancelled.
        LedgerUnavailable: SQL does not answer; nothing is cancelled.
        BrokerUnavailable: Redis does not answer, and a worker may have one of the jobs. The request is in the audit;
            repeat it.
    """
    if grace is not None and not are_seconds(grace):
        raise ArgumentError(
            f"grace is a number of seconds from 0 to {MOST_SECONDS:,}, or None for as long as it takes, not {grace!r}"
        )
    if strange := [id for id in ids if not is_plain(id)]:
        raise ArgumentError(f"{strange[0]!r} is the id of no job: neither Redis nor a database can have it")
    means: dict[str, Meaning] = {}
    ended: list[JobRow] = []
    distinct = list(dict.fromkeys(ids))
    for begin in range(0, len(distinct), SLICE):
        some = distinct[begin : begin + SLICE]
        rows, done = _note(database_url, some, actor=actor, grace=grace, reason=reason)
        over = {id: row for id, row in rows.items() if row.state.is_final}
        means |= {id: Meaning.CANCELLED for id, row in over.items() if row.reason is Reason.REVOKED}
        ended += [row for row in over.values() if row.reason is not Reason.REVOKED]
        is_open = [id for id in some if id not in over]
        if is_open:
            means |= zip(is_open, _tell(broker, is_open, rows, done, grace), strict=True)
    return Cancelled(means, ended)


def _note(
    database_url: str, ids: Sequence[str], *, actor: str, grace: float | None, reason: str | None
) -> tuple[dict[str, JobRow], set[str]]:
    """Notes the request for those that have not ended; their rows, and which of them have ended by it.

    Repeated when others that write the same rows at this moment stand in the way.
    """
    for is_last in (False, False, True):
        try:
            with writing(database_url) as connection:
                rows = {row.id: row for row in queries.find_jobs(connection, ids)}
                is_open = [id for id in ids if not (id in rows and rows[id].state.is_final)]
                cancellations.note(connection, is_open, actor=actor, grace=grace, reason=reason)
                return rows, cancellations.end_asking(connection, is_open, rows)
        except LedgerUnavailable as error:
            if is_last or not has_collided(error):
                raise
    raise AssertionError("the last try returns or raises")


def _tell(
    broker: Callable[[], AbstractContextManager[Scripts]],
    ids: Sequence[str],
    rows: Mapping[str, JobRow],
    done: set[str],
    grace: float | None,
) -> Iterator[Meaning]:
    """Tells the workers; what it means for each.

    Also of jobs that have ended just now: others wait for them, and messages of theirs are to be dropped. Both are
    found without this, later, so that a Redis which is away is no reason to say that they were not cancelled.
    """
    try:
        with broker() as scripts:
            scripts.cancel(ids, grace)
            scripts.announce((id, State.CANCELLED.value) for id in done)
            has_workers = bool(scripts.client.exists(scripts.keys.leases))
    except BrokerUnavailable:
        if not done.issuperset(ids):
            raise
        has_workers = False
    for id in ids:
        if id in done:
            yield Meaning.CANCELLED
        else:
            yield _meaning(rows.get(id), grace, has_workers=has_workers)


def _meaning(row: JobRow | None, grace: float | None, *, has_workers: bool) -> Meaning:
    if row is None or row.state is not State.RUNNING:
        return Meaning.NEVER_STARTS if has_workers else Meaning.CANCELLED_LATER
    if not has_workers:
        return Meaning.STOPPED_LATER
    return Meaning.IS_STOPPED if grace == 0 else Meaning.IS_ASKED
