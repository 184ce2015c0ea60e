"""What the ledger has on its books of every queue: one side of the balance sheet. The caller brings the transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, and_, case, cast, func, literal, select, tuple_, union_all

from penstock.job import FINAL, State
from penstock.ledger.recording.tallies import OF_STOCK
from penstock.ledger.tables import jobs, outbox, tallies

# Nothing else lets a job that has been tried begin again from zero.
_is_replaced = and_(jobs.c.state == State.QUEUED.value, jobs.c.attempts > 0, jobs.c.retries + jobs.c.deliveries == 0)
OPEN = tuple(state for state in State if state not in FINAL)
MOST_OPEN = 2_000
"""Open rows that are counted of each state; more of them are not worth the time."""
PAGE = 500


@dataclass
class Booked:
    """One queue."""

    ended: Counter[State] = field(default_factory=Counter)
    """Ends of jobs that were accepted by us, also of those whose rows are gone."""
    stock: Counter[State] = field(default_factory=Counter)
    """Ends of jobs that stock producers have sent."""
    unpublished: int = 0
    """New jobs of SQL transactions that Redis has not been told of."""
    again: int = 0
    """Messages of jobs that go on, and that Redis has lost or has not been told of."""
    open: Counter[State] = field(default_factory=Counter)
    """Rows of jobs that have not ended, whoever sent them."""


@dataclass(frozen=True)
class Books:
    """All queues at one moment."""

    queues: dict[str, Booked]
    is_cut: bool
    """Whether there are more open rows than were counted."""


@dataclass(frozen=True)
class OpenJob:
    """A row of a job that has not ended."""

    id: str
    task: str
    queue: str | None
    state: State
    token: str | None
    worker: str | None
    is_accepted: bool
    """Whether it was accepted by us."""
    is_replaced: bool
    """Whether it goes on as another task, which may be the last of a chain: then it has no message before its turn."""
    updated_at: datetime

    @property
    def incarnation(self) -> str:
        """Of the worker that runs it, by the part of its name that no other has; empty while nobody does."""
        return (self.token or "").partition(":")[0].partition("/")[0]


def read(connection: Connection) -> Books:
    """Everything in one statement, which sees one moment.

    The tallies have some rows for each queue and state, the outbox has an index of what is not published, and the open
    rows are the heads of ranges of the index by state: none of it grows with the ledger.
    """
    ended = select(literal("ended"), tallies.c.queue, tallies.c.state, cast(func.sum(tallies.c.count), BigInteger))
    kind = case((outbox.c.key == outbox.c.job_id, "unpublished"), else_="again")
    waiting = select(kind, outbox.c.queue, literal(""), func.count()).where(outbox.c.published_at.is_(None))
    statement = union_all(
        ended.group_by(tallies.c.queue, tallies.c.state),
        waiting.group_by(kind, outbox.c.queue),
        *(_open(state) for state in OPEN),
    )
    queues: dict[str, Booked] = {}
    for what, queue, state, count in connection.execute(statement):
        _book(queues.setdefault(queue, Booked()), what, state, int(count))
    counted: Counter[State] = Counter()
    for booked in queues.values():
        counted.update(booked.open)
    return Books({name: queues[name] for name in sorted(queues)}, any(n >= MOST_OPEN for n in counted.values()))


def _open(state: State) -> Select[Any]:
    head = select(func.coalesce(jobs.c.queue, "").label("queue")).where(jobs.c.state == state.value)
    # In the index's order, so that nobody reads the table for a state that has few rows.
    of = head.order_by(jobs.c.updated_at, jobs.c.id).limit(MOST_OPEN).subquery(f"open_{state.value}")
    return select(literal("open"), of.c.queue, literal(state.value), func.count()).group_by(of.c.queue)


def _book(booked: Booked, what: str, state: str, count: int) -> None:
    if what == "unpublished":
        booked.unpublished += count
    elif what == "again":
        booked.again += count
    elif what == "open":
        booked.open[State(state)] += count
    elif state.startswith(OF_STOCK):
        booked.stock[State(state.removeprefix(OF_STOCK))] += count
    else:
        booked.ended[State(state)] += count


def first_change(connection: Connection) -> datetime | None:
    """When the row that has been left alone for longest last changed; the end of a range of an index for each state."""
    oldest = [
        select(func.min(jobs.c.updated_at)).where(jobs.c.state == state.value).scalar_subquery() for state in State
    ]
    found = [moment for moment in connection.execute(select(*oldest)).one() if moment is not None]
    return min(found, default=None)


def states_of(connection: Connection, ids: Sequence[str]) -> dict[str, State]:
    """States of those of these jobs that have a row, some hundred at most, by primary key."""
    rows = select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(ids))
    return {id: State(state) for id, state in connection.execute(rows)}


def open_jobs(connection: Connection) -> Iterator[OpenJob]:
    """Every row of a job that has not ended, page by page along the index by state; those that change meanwhile may
    come twice.
    """
    for state in OPEN:
        yield from _of_state(connection, state)


def _of_state(connection: Connection, state: State) -> Iterator[OpenJob]:
    place = tuple_(jobs.c.updated_at, jobs.c.id)
    statement = (
        select(
            jobs.c.id,
            jobs.c.task,
            jobs.c.queue,
            jobs.c.token,
            jobs.c.worker,
            jobs.c.enqueued_at.is_not(None).label("is_accepted"),
            _is_replaced.label("is_replaced"),
            jobs.c.updated_at,
        )
        .where(jobs.c.state == state.value)
        .order_by(jobs.c.updated_at, jobs.c.id)
        .limit(PAGE)
    )
    page = connection.execute(statement).all()
    while page:
        yield from (OpenJob(state=state, **row._mapping) for row in page)
        last = tuple_(page[-1].updated_at, page[-1].id, types=[jobs.c.updated_at.type, jobs.c.id.type])
        page = connection.execute(statement.where(place > last)).all()


def unchanged(connection: Connection, found: Sequence[OpenJob], *, lock: bool = False) -> set[str]:
    """Those of these jobs, some hundred at most, whose rows are still as they were read, by primary key.

    Args:
        lock: nobody changes them before the transaction ends; on SQLite a transaction that writes sees to that anyway.
    """
    read_at = {job.id: (job.state, job.updated_at) for job in found}
    rows = select(jobs.c.id, jobs.c.state, jobs.c.updated_at).where(jobs.c.id.in_(read_at)).order_by(jobs.c.id)
    answer = connection.execute(rows.with_for_update() if lock else rows)
    return {id for id, state, at in answer if (State(state), at) == read_at[id]}


def in_outbox(connection: Connection, ids: Collection[str]) -> dict[str, bool]:
    """Those of these jobs, some hundred at most, that have a message in the outbox, by an index; and whether it was
    published.
    """
    rows = select(outbox.c.job_id, outbox.c.published_at.is_not(None)).where(outbox.c.job_id.in_(ids))
    return {row[0]: row[1] for row in connection.execute(rows.order_by(outbox.c.number))}
