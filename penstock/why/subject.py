"""What is known of a job that is asked about: a few statements, and two round trips to Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from penstock.broker import envelope, whereabouts
from penstock.broker.scripts import Scripts
from penstock.broker.whereabouts import Whereabouts, WorkerCard
from penstock.errors import BrokerUnavailable, LedgerOutdated, LedgerUnavailable
from penstock.job import State
from penstock.ledger import chords, fires, letters, outbox, queries
from penstock.ledger.chords import ChordRow
from penstock.ledger.fires import FireRow
from penstock.ledger.letters import LetterFilter
from penstock.ledger.outbox import OutboxRow
from penstock.ledger.rows import JobRow, LetterRow
from penstock.ledger.session import reading

SILENT_PART = 0.5
"""Of a lease: whoever was not heard of for longer is told of. Keepers are heard of five times in a lease."""
OpenBroker = Callable[[], AbstractContextManager[Scripts]]
"""Gives the way to Redis inside of a block, out of which errors come as BrokerUnavailable."""


@dataclass(frozen=True)
class Books:
    """What the ledger knows."""

    row: JobRow | None = None
    outbox: OutboxRow | None = None
    letter: LetterRow | None = None
    """The newest dead letter of the job, or the one whose id was given."""
    fire: FireRow | None = None
    """The planned time that the job is for, or, of the schedule whose name was given, the first one that waits."""
    open_job: str | None = None
    """For which a fire that waits does."""
    chord: ChordRow | None = None
    """Of the group whose id was given, or whose body the job is."""
    error: str = ""
    """Why it does not answer."""


@dataclass(frozen=True)
class Subject:
    """A job, and what stands around it."""

    id: str
    books: Books
    found: Whereabouts | None
    """None: Redis does not answer."""
    lease_seconds: float
    now: datetime
    named_queue: str | None = None
    """Where whoever asks has put it."""

    @property
    def row(self) -> JobRow | None:
        """Of the ledger."""
        return self.books.row

    @property
    def is_known(self) -> bool:
        """Whether anybody has heard of it."""
        found = self.found
        in_redis = found and (found.waits_since or found.claim or found.dead or found.spooled_by or found.blocked)
        return bool(self.row or self.books.outbox or self.books.letter or in_redis)

    @property
    def queue(self) -> str | None:
        """Where it waits, or was put last."""
        if self.found and (self.found.waits_since or self.found.claim):
            return self.found.claim.queue if self.found.claim else self.found.queue
        known = self.row or self.books.outbox
        return known.queue if known else self.named_queue

    @property
    def due(self) -> datetime | None:
        """When it may start, if that is still to come."""
        found, row, kept = self.found, self.row, self.books.outbox
        since = found.waits_since if found else None
        times = (row.eta if row and row.state is State.SCHEDULED else None, kept.due if kept else None, since)
        return max((time for time in times if time and time > self.now), default=None)

    @property
    def workers(self) -> Sequence[WorkerCard]:
        """Those that have a lease, or had one lately."""
        return self.found.workers if self.found else ()

    @property
    def live_workers(self) -> Sequence[WorkerCard]:
        """Those of them that are heard of."""
        return [card for card in self.workers if not self.is_silent(card)]

    def worker(self, name: str) -> WorkerCard | None:
        """The worker whose incarnation has this name."""
        return next((card for card in self.workers if card.worker == name), None)

    def is_silent(self, card: WorkerCard) -> bool:
        """Whether its keeper was not heard of for longer than it should be."""
        return card.silent_seconds is None or card.silent_seconds > self.lease_seconds * SILENT_PART


def look(
    id: str,
    database_url: str,
    open_broker: OpenBroker,
    *,
    lease_seconds: float,
    queues: Sequence[str] = (),
    named_queue: str | None = None,
) -> Subject:
    """Asks the ledger and Redis of the job with this full id; also of a dead letter's id, a group's, or the name of a
    schedule.

    Args:
        open_broker: gives the way to Redis.
        lease_seconds: after which a silent worker's claims go back.
        queues: that there may be, beside those that Redis remembers.
        named_queue: where whoever asks has put the job.
    """
    books = _read(database_url, id)
    likely = [named_queue, books.row.queue if books.row else None, books.outbox.queue if books.outbox else None]
    try:
        with open_broker() as scripts:
            found = whereabouts.find(scripts, id, [*filter(None, likely), *queues])
    except BrokerUnavailable:
        return Subject(id, books, None, lease_seconds, datetime.now(UTC), named_queue)
    subject = Subject(id, books, found, lease_seconds, found.now, named_queue)
    if not books.error and (books.row is None or not books.row.state.is_final):
        # It may have started or ended between the two questions; and who names it may say where to look.
        books = _read(database_url, id, _group_of(found.named_by, id) if not subject.is_known else None)
    return replace(subject, books=books)


def _read(database_url: str, id: str, group: str | None = None) -> Books:
    try:
        with reading(database_url) as connection:
            return _books(connection, id, group)
    except (LedgerUnavailable, LedgerOutdated) as error:
        return Books(error=str(error))


def _books(connection: Connection, id: str, group: str | None) -> Books:
    row, kept = queries.find_job(connection, id), outbox.find_waiting(connection, id)
    if row is not None and row.state is not State.FAILED:
        return Books(row, kept, fire=fires.fire_of_job(connection, id) if row.schedule else None)
    letter = next(iter(letters.list_letters(connection, LetterFilter(job_id=id), 1)), None)
    if row is not None or kept is not None or letter is not None:
        return Books(row, kept, letter, fires.fire_of_job(connection, id) if row is None or row.schedule else None)
    fire = fires.first_waiting(connection, id, planned_first=True)
    return Books(
        letter=letters.find_letter(connection, id),
        fire=fire,
        open_job=next(iter(fires.open_jobs(connection, id)), None) if fire else None,
        chord=chords.find_chord(connection, group or id),
    )


def _group_of(named_by: dict[str, Any] | None, id: str) -> str | None:
    """The group of a part whose chord has this job as its body."""
    group = named_by["headers"].get("group") if named_by and embeds(named_by, "chord", id) else None
    return group if isinstance(group, str) else None


def embeds(payload: dict[str, Any], part: str, id: str) -> bool:
    """Whether a message names a job in what follows from its own.

    Args:
        part: ``chain``, or ``chord``.
    """
    body = envelope.body(payload)
    follows = body[2] if isinstance(body, list) and len(body) == 3 else None
    return isinstance(follows, dict) and id in _ids(follows.get(part), 0)


def _ids(signature: Any, depth: int) -> set[str]:
    """Ids of the jobs of signatures, which anybody may have written."""
    if depth > 20:
        return set()
    if isinstance(signature, list):
        return {id for each in signature for id in _ids(each, depth + 1)}
    if not isinstance(signature, dict):
        return set()
    options = signature.get("options")
    own = options.get("task_id") if isinstance(options, dict) else None
    inner = (
        _ids(list(signature.get("kwargs", {}).values()), depth + 1)
        if isinstance(signature.get("kwargs"), dict)
        else set()
    )
    return inner | ({own} if isinstance(own, str) else set())
