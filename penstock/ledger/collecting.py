"""What a job tells of itself while it ends, kept together until somebody writes it in one transaction.

Whoever runs a job opens a collection around Celery's tracer: the backend adds records to it in place of writing them,
and what is sent as part of the outcome (a retry, callbacks, the next step of a chain) becomes a follow-up in place of
a message. Nothing of it exists before the record is written, and all of it does afterwards.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Protocol

from penstock.ledger.records import Encoded, FollowUp, Part, Record
from penstock.ledger.rows import clip


class Report(Protocol):
    """What an attempt says of itself while it runs; see ``penstock.engine.reporting``."""

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        """How far it is."""

    def log(self, at: float, level: int, logger: str, text: str) -> None:
        """A line of its log."""

    def end(self) -> None:
        """The body has ended."""


@dataclass(slots=True)
class Collection:
    """Of one run of one job."""

    job_id: str
    is_on_the_books: bool = False
    """Whether the job's outcome will be among the records; results of some tasks are kept elsewhere."""
    keeps_success: bool = False
    """Whether a success is kept as its result alone, for somebody who knows all else of its record."""
    has_succeeded: bool = False
    success: Encoded | None = None
    """The result, when it has succeeded and is kept so."""
    started: float | None = None
    """When the body began, in seconds since 1970, where whoever runs it tells and no signal of Celery's."""
    records: list[Record] = field(default_factory=list)
    follow_ups: list[FollowUp] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    is_replacing: bool = False
    """Whether Celery is sending another task in the job's place at this moment."""
    replaced: bool = False
    """Whether the job goes on as another task."""
    is_following_up: bool = False
    """Whether what is sent at this moment is part of the outcome."""
    request: Any = None
    """Celery's, as a dictionary, where whoever runs the job has it."""
    report: Report | None = None
    """Made when the body says something of itself for the first time, which few do."""

    def reporting(self) -> Report | None:
        """Where the body says something of itself; None: nobody listens in this process."""
        if self.report is None and _make_report is not None:
            self.report = _make_report(self)
        return self.report

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        """Says how far the body is."""
        if (report := self.reporting()) is not None:
            report.progress(done, total, note)

    def key_for(self, job_id: str, retries: int, *, is_new: bool = True) -> str:
        """The outbox's name for a message that is sent now.

        The job's own next message keeps its id: a retry counts on, and what replaces the job may come any number of
        times.

        Args:
            is_new: it is the first message of its job.
        """
        if job_id == self.job_id and self.is_replacing:
            self.replaced = True
        elif retries:
            return _storable(f"{job_id}~{retries}")
        elif is_new:
            return _storable(job_id)
        return _storable(f"{job_id}~{secrets.token_hex(4)}")

    @property
    def is_plain_success(self) -> bool:
        """Whether the job has succeeded and there is nothing else to tell."""
        return self.has_succeeded and not (self.records or self.follow_ups or self.parts)

    def words(self) -> list[str]:
        """The records as they travel, complete."""
        return [json.dumps(record.to_words(), separators=(",", ":")) for record in self.complete()]

    def complete(self) -> list[Record]:
        """The records, the job's own end with all that hangs on it."""
        if self.records and (self.follow_ups or self.parts):
            own = next((place for place, each in enumerate(self.records) if each.delivery.id == self.job_id), -1)
            self.records[own] = replace(self.records[own], follow_ups=tuple(self.follow_ups), parts=tuple(self.parts))
        return self.records


def _storable(key: str) -> str:
    """The key, or its hash if it is too long for its column: cut off, it would be another message's."""
    return key if clip(key) == key else sha256(key.encode(errors="replace")).hexdigest()


_current: ContextVar[Collection | None] = ContextVar("penstock_collection", default=None)
_make_report: Callable[[Collection], Report] | None = None
_last: Collection | None = None


def report_by(make: Callable[[Collection], Report] | None) -> None:
    """Has what bodies say of themselves taken by what ``make`` returns, in this process."""
    global _make_report
    _make_report = make


def current() -> Collection | None:
    """The collection of the job that runs in this thread, greenlet or coroutine."""
    return _current.get()


def current_of(job_id: str) -> Collection | None:
    """The same, if it is of this job, and not of one whose body calls this one."""
    collection = _current.get()
    return collection if collection is not None and collection.job_id == job_id else None


def last() -> Collection | None:
    """The collection that was opened last and is open: the only one, where one job runs at a time."""
    return _last


def open(collection: Collection) -> Token[Collection | None]:
    """Collects what is told from now on, until :func:`close`; cheaper than :func:`collecting`."""
    global _last
    _last = collection
    return _current.set(collection)


def close(mark: Token[Collection | None]) -> None:
    """Ends what :func:`open` has begun."""
    global _last
    _last = None
    _current.reset(mark)


@contextmanager
def collecting(job_id: str, request: Any = None) -> Iterator[Collection]:
    """Collects what is told inside of the block.

    Args:
        request: Celery's, as a dictionary.
    """
    collection = Collection(job_id, request=request)
    mark = open(collection)
    try:
        yield collection
    finally:
        close(mark)
        if collection.report is not None:
            collection.report.end()


@contextmanager
def following_up(*, is_replacing: bool = False) -> Iterator[None]:
    """What is sent inside of the block is part of the job's outcome.

    Args:
        is_replacing: a message with the job's own id is another task in its place.
    """
    collection = _current.get()
    if collection is None or not collection.is_on_the_books or collection.is_following_up:
        yield
        return
    collection.is_following_up, collection.is_replacing = True, is_replacing
    try:
        yield
    finally:
        collection.is_following_up = collection.is_replacing = False
