"""Looking at every message and every open row: whose each is, and what has no other side.

Others go on publishing, claiming and ending meanwhile. So what was not met is looked for once more, in the other
direction, and counts only if its row or its place in the index is as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection

from penstock.broker import census
from penstock.broker.census import Message, Place
from penstock.broker.scripts import Scripts
from penstock.job import State
from penstock.ledger import balance
from penstock.ledger.balance import OpenJob
from penstock.operations.books.account import Account, Found, Sheet

T = TypeVar("T")


class Kind(StrEnum):
    """What may be wrong with a job or a message."""

    LOST = "lost"
    """It has not ended, and there is no message of it."""
    TAKEN = "taken"
    """It was waiting, and its message has gone with nobody of ours having claimed it."""
    RELAYED = "relayed"
    """Its message is in the outbox and not in Redis."""
    WORKERLESS = "workerless"
    """The ledger shows it as running at a worker that has no lease any more; its message is there."""
    AWAITING = "awaiting"
    """Others run in its place, the last of which will be this one."""
    LATE = "late"
    """It has ended, and there is a message of it."""
    TWICE = "twice"
    """There are several messages of it."""
    UNRECORDED = "unrecorded"
    """A dead letter that the ledger does not have yet."""


FAULTS = (Kind.LOST, Kind.TAKEN)
"""Those that break the balance; the others mend themselves."""
NO_QUEUE = "(unknown)"
"""Where a row is shown that names no queue."""


@dataclass(frozen=True)
class Problem:
    """One of them."""

    kind: Kind
    queue: str
    job_id: str
    """Empty for a message without a readable id."""
    text: str
    remedy: str
    task: str = ""


@dataclass
class Examination:
    """What was found."""

    limit: int
    """How many of each kind are kept by name."""
    accounts: dict[str, Found] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)
    of_stock: Found = field(default_factory=Found)
    """Rows of jobs that stock producers have sent, of all queues: nobody counted them when they were accepted."""
    lost: list[OpenJob] = field(default_factory=list)
    """The rows of lost jobs, all of them."""

    def of(self, queue: str) -> Found:
        """What was found of a queue."""
        return self.accounts.setdefault(queue, Found())

    def add(self, problem: Problem) -> None:
        """Notes one more."""
        self.counts[problem.kind] += 1
        if self.counts[problem.kind] <= self.limit:
            self.problems.append(problem)


def examine(scripts: Scripts, connection: Connection, names: Sequence[str], limit: int) -> Examination:
    """Looks at all messages of these queues, and at all open rows.

    Args:
        limit: how many of each kind are told by name.
    """
    found = Examination(limit)
    met = _meet(scripts, connection, names, found)
    live = census.live_incarnations(scripts)
    rows: dict[str, OpenJob] = {}
    for job in balance.open_jobs(connection):
        if hash(job.id) not in met:
            rows[job.id] = job
        elif job.state is State.RUNNING and job.incarnation and job.incarnation not in live:
            found.add(_workerless(job))
    ids = {id: queue for queue in names for id in census.indexed(scripts, queue) if hash(id) not in met}
    if rows or ids:
        for message in census.messages(scripts, names, upstream=True):
            rows.pop(message.job_id, None)
            ids.pop(message.job_id, None)
    _judge_rows(connection, found, list(rows.values()), live)
    _judge_ids(scripts, connection, found, ids.items())
    return found


def enter(examination: Examination, sheet: Sheet) -> None:
    """Writes what was found into the sheet."""
    known = {account.queue: account for account in sheet.accounts}
    for queue, found in examination.accounts.items():
        if queue not in known:
            known[queue] = Account(queue)
            sheet.accounts.append(known[queue])
        known[queue].found = found
    sheet.lost_of_stock = examination.of_stock.lost
    sheet.is_examined = True


def _meet(scripts: Scripts, connection: Connection, names: Sequence[str], found: Examination) -> set[int]:
    """Judges every message; which jobs have one. By hashes, because there may be millions: two of 64 bits that are
    equal by chance would hide a lost job.
    """
    marks: set[int] = set()
    met: set[int] = set()
    for page in _pages(census.messages(scripts, names)):
        # One that moves while it is looked for is met in both places, as it is.
        new = [message for message in page if message.mark not in marks]
        states = balance.states_of(connection, [message.job_id for message in new if message.job_id])
        for message in new:
            if message.mark not in marks:
                marks.add(message.mark)
                _judge(found, message, states.get(message.job_id), is_met=hash(message.job_id) in met)
                met.add(hash(message.job_id))
    return met


def _judge(found: Examination, message: Message, state: State | None, *, is_met: bool) -> None:
    if message.place in (Place.BURIED, Place.QUARANTINED):
        found.add(_unrecorded(message))
    if message.place is Place.QUARANTINED:
        return
    of = found.of(message.queue)
    if not (message.is_accepted and message.job_id):
        of.foreign += 1
    elif state is not None and state.is_final:
        of.late += 1
        if message.place is not Place.IN_FLIGHT:
            found.add(_late(message, state))
    elif is_met:
        of.twice += 1
        found.add(_twice(message))


def _judge_rows(connection: Connection, found: Examination, unmet: Sequence[OpenJob], live: set[str]) -> None:
    for page in _pages(unmet):
        kept = balance.unchanged(connection, page)
        in_outbox = balance.in_outbox(connection, [job.id for job in page])
        for job in page:
            if job.id in kept:
                _judge_row(found, job, in_outbox.get(job.id), is_alive=job.incarnation in live)


def _judge_row(found: Examination, job: OpenJob, is_published: bool | None, *, is_alive: bool) -> None:
    of = found.of(job.queue or NO_QUEUE) if job.is_accepted else found.of_stock
    if is_published is not None:
        # One that is not published counts as such already.
        of.relayed += is_published
        found.add(_relayed(job))
    elif job.state is State.RUNNING and is_alive:
        of.early += 1
    elif job.is_replaced:
        of.awaiting += 1
        found.add(_awaiting(job))
    else:
        of.lost += 1
        found.lost.append(job)
        found.add(_lost(job))


def _judge_ids(scripts: Scripts, connection: Connection, found: Examination, unmet: Iterable[tuple[str, str]]) -> None:
    for page in _pages(unmet):
        recorded = balance.states_of(connection, [id for id, _ in page])
        waiting = census.are_indexed(scripts, page)
        in_outbox = balance.in_outbox(connection, [id for id, _ in page])
        for (id, queue), still in zip(page, waiting, strict=True):
            if still and id not in recorded and id not in in_outbox:
                found.of(queue).lost += 1
                found.add(_taken(id, queue))


def _pages(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while page := list(islice(left, balance.PAGE)):
        yield page


# -- in words ---------------------------------------------------------------------------------------------------

COMMAND = "celery -A workers"


def _lost(job: OpenJob) -> Problem:
    text = f"{job.state.value} in the ledger, and there is no message of it"
    remedy = f"`{COMMAND} audit --fail-lost`, then `{COMMAND} jobs retry {job.id}`"
    return Problem(Kind.LOST, job.queue or "", job.id, text, remedy, job.task)


def _taken(id: str, queue: str) -> Problem:
    text = "was waiting, and its message has gone without us: a stock worker has it, or somebody deleted it"
    remedy = "if stock workers share the queue, look again in two minutes; if not, submit it anew"
    return Problem(Kind.TAKEN, queue, id, text, remedy)


def _relayed(job: OpenJob) -> Problem:
    text = "Redis has lost its message, and the outbox has it"
    remedy = f"nothing: a worker publishes it again within seconds; if none runs, start one: `{COMMAND} worker`"
    return Problem(Kind.RELAYED, job.queue or "", job.id, text, remedy, job.task)


def _awaiting(job: OpenJob) -> Problem:
    text = "was replaced by a chain or a group, and goes on when that comes to its end"
    remedy = f"nothing while they run; `{COMMAND} jobs show {job.id}` has its history"
    return Problem(Kind.AWAITING, job.queue or "", job.id, text, remedy, job.task)


def _workerless(job: OpenJob) -> Problem:
    text = f"shown as running on {job.worker or 'a worker'}, which has no lease any more; its message is there"
    remedy = f"nothing: it starts again when a worker claims it; if none runs, start one: `{COMMAND} worker`"
    return Problem(Kind.WORKERLESS, job.queue or "", job.id, text, remedy, job.task)


def _late(message: Message, state: State) -> Problem:
    text = f"has ended as {state.value}, and a message of it is {message.place.value}"
    return Problem(Kind.LATE, message.queue, message.job_id, text, "nothing: a worker that claims it drops it")


def _twice(message: Message) -> Problem:
    text = f"there is another message of it, {message.place.value}"
    return Problem(Kind.TWICE, message.queue, message.job_id, text, "nothing: the ledger lets one of them end")


def _unrecorded(message: Message) -> Problem:
    text = f"dead letter {message.holder.rpartition('/')[2]} is not in the ledger yet"
    remedy = f"a worker writes it within a second; if none runs: `{COMMAND} failures list`"
    return Problem(Kind.UNRECORDED, message.queue, message.job_id, text, remedy)
