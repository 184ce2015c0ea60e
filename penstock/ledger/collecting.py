"""What a job tells of itself while it ends, kept together until somebody writes it in one transaction.

Whoever runs a job opens a collection around Celery's tracer: the backend adds records to it in place of writing them,
and what is sent as part of the outcome (a retry, callbacks, the next step of a chain) becomes a follow-up in place of
a message. Nothing of it exists before the record is written, and all of it does afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from penstock.ledger.records import FollowUp, Part, Record


@dataclass
class Collection:
    """Of one run of one job."""

    records: list[Record] = field(default_factory=list)
    follow_ups: list[FollowUp] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    replaced: bool = False
    """Whether the job goes on as another task."""
    is_following_up: bool = False
    """Whether what is sent at this moment is part of the outcome."""

    def complete(self) -> list[Record]:
        """The records, the last of the job's own with all that hangs on it."""
        if self.records and (self.follow_ups or self.parts):
            own = self.records[-1]
            follow_ups, parts = (*own.follow_ups, *self.follow_ups), (*own.parts, *self.parts)
            self.records[-1] = replace(own, follow_ups=follow_ups, parts=parts)
            self.follow_ups, self.parts = [], []
        return self.records


_current: ContextVar[Collection | None] = ContextVar("penstock_collection", default=None)


def current() -> Collection | None:
    """The collection of the job that runs in this thread, greenlet or coroutine."""
    return _current.get()


@contextmanager
def collecting() -> Iterator[Collection]:
    """Collects what is told inside of the block."""
    token = _current.set(Collection())
    try:
        collection = _current.get()
        assert collection is not None
        yield collection
    finally:
        _current.reset(token)


@contextmanager
def following_up() -> Iterator[None]:
    """What is sent inside of the block is part of the job's outcome."""
    collection = _current.get()
    if collection is None or collection.is_following_up:
        yield
        return
    collection.is_following_up = True
    try:
        yield
    finally:
        collection.is_following_up = False
