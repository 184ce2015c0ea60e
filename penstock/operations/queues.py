"""What waits in queues, and stopping, starting and emptying them. Works on any Celery app whose broker is Redis."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from celery import Celery

from penstock.broker import queues
from penstock.broker.queues import Pause, QueueStatus
from penstock.broker.scripts import Scripts
from penstock.broker.unacked import unacked_size
from penstock.ledger import queries
from penstock.ledger.backend import ledger_url
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, known_queues, note, options_of, require_known
from penstock.operations.ending import cancel_messages
from penstock.operations.payload import Payload, decode
from penstock.wording import counted


@dataclass(frozen=True)
class Look:
    """Queues at one moment."""

    queues: list[QueueStatus]
    held_by_stock: int
    """Messages that stock workers have taken; of which queue, only they know."""


@dataclass(frozen=True)
class Paused:
    """A queue that nobody claims from any more."""

    status: QueueStatus
    before: Pause | None
    """The pause that there was already."""


@dataclass(frozen=True)
class Resumed:
    """A queue that is open."""

    status: QueueStatus
    was_paused: bool


@dataclass(frozen=True)
class Purged:
    """How many messages of a queue were deleted, by where they were, and how many jobs recorded as cancelled."""

    queue: str
    ready: int = 0
    parked: int = 0
    blocked: int = 0
    cancelled: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Of messages, by place."""
        return {"ready": self.ready, "parked": self.parked, "blocked": self.blocked}


@dataclass(frozen=True)
class Peek:
    """The messages that come next, each with its priority step."""

    messages: list[tuple[int, Payload]]
    ready: int
    """How many there are in all."""


def look(app: Celery, names: Sequence[str]) -> Look:
    """The queues that are named, or all.

    Raises:
        PenstockError: a name is no queue's; it says what may be meant.
        BrokerUnavailable: Redis does not answer.
    """
    with broker_of(app) as scripts:
        return look_again(app, scripts, names)


def look_again(app: Celery, scripts: Scripts, names: Sequence[str]) -> Look:
    """:func:`look` over a client that there is already."""
    known = known_queues(app, scripts)
    require_known(names, known)
    chosen = list(dict.fromkeys(names)) or known
    return Look(queues.status(scripts, chosen), unacked_size(scripts, options_of(app)))


def pause(app: Celery, name: str, why: str, *, actor: str) -> Paused:
    """Closes a queue. Redis first, the audit then: a ledger that is away is a reason to pause, not to fail.

    Raises:
        PenstockError: there is no such queue.
        LedgerUnavailable: it is paused, and could not be noted.
    """
    with broker_of(app) as scripts:
        require_known([name], known_queues(app, scripts))
        before = queues.pause(scripts, name, actor, why)
        (status,) = queues.status(scripts, [name])
    note(app, actor, "pause", {"queue": name, "note": why}, f"{name} is paused")
    return Paused(status, before)


def resume(app: Celery, name: str, *, actor: str) -> Resumed:
    """Opens a queue; noted if it was closed.

    Raises:
        PenstockError: there is no such queue.
        LedgerUnavailable: it is open, and that could not be noted.
    """
    with broker_of(app) as scripts:
        require_known([name], known_queues(app, scripts))
        was_paused = queues.resume(scripts, name)
        (status,) = queues.status(scripts, [name])
    if was_paused:
        note(app, actor, "resume", {"queue": name}, f"{name} is open again")
    return Resumed(status, was_paused)


def plan_purge(app: Celery, name: str) -> QueueStatus:
    """What :func:`purge` would delete. Deletes nothing.

    Raises:
        PenstockError: there is no such queue.
        LedgerUnavailable: the end of its jobs could not be recorded, so nothing would be deleted.
    """
    with broker_of(app) as scripts:
        return _purgeable(app, scripts, name)


def purge(app: Celery, name: str, *, actor: str) -> Generator[Purged, None, None]:
    """Deletes what waits in a queue, and yields after each slice what is gone so far.

    The jobs are recorded slice by slice, right after their messages are gone: in the other order a worker could run
    a job that is on the books as cancelled. Killed in between, this leaves one slice of jobs without an end. The
    audit gets the counts at the end, also when somebody stops half way.

    Raises:
        PenstockError: there is no such queue.
        LedgerUnavailable: before anything was deleted, or half way; what was yielded is gone.
    """
    with broker_of(app) as scripts:
        _purgeable(app, scripts, name)
        counts, cancelled = {"ready": 0, "parked": 0, "blocked": 0}, 0
        try:
            for place, raws in queues.purge(scripts, name):
                counts[place] += len(raws)
                try:
                    cancelled += _end(app, scripts, name, raws)
                finally:
                    # Also when they could not be recorded: they are gone.
                    yield Purged(queue=name, cancelled=cancelled, **counts)
        finally:
            done = f"{counted(sum(counts.values()), 'message')} of {name} deleted: {in_parts(counts)}"
            note(app, actor, "purge", {"queue": name, **counts, "cancelled": cancelled}, done)


def _purgeable(app: Celery, scripts: Scripts, name: str) -> QueueStatus:
    """What cannot be recorded is not done."""
    require_known([name], known_queues(app, scripts))
    (status,) = queues.status(scripts, [name])
    if url := ledger_url(app):
        with reading(url) as connection:
            queries.ping(connection)
    return status


def _end(app: Celery, scripts: Scripts, name: str, raws: list[bytes]) -> int:
    """Records the jobs of deleted messages as cancelled; how many. Jobs without an end count as purged."""
    url = ledger_url(app)
    recorded = False
    try:
        cancelled = cancel_messages(url, name, raws)
        recorded = url is not None
    finally:
        if not recorded and (accepted := queues.accepted_among(raws)):
            scripts.tally("purged", name, accepted)
    return cancelled


def in_parts(counts: dict[str, int]) -> str:
    """Messages by where they are, in words."""
    return ", ".join(f"{count:,} {place}" for place, count in counts.items())


def peek(app: Celery, name: str, limit: int) -> Peek:
    """The ready messages that will be claimed next, in that order; they stay where they are.

    Raises:
        PenstockError: there is no such queue.
    """
    with broker_of(app) as scripts:
        require_known([name], known_queues(app, scripts))
        found = [(message.step, decode(message.raw)) for message in queues.peek(scripts, name, limit)]
        (status,) = queues.status(scripts, [name])
    return Peek(found, status.ready)
