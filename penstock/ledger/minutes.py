"""Writes what keepers have counted and measured of queues, each span of time as a whole. The caller brings the
transaction.

Both statements say how things are and not what is to be added, so whoever does not know whether its transaction went
through writes the same again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, case, or_

from penstock.ledger.histogram import to_json
from penstock.ledger.queries import insert_into
from penstock.ledger.tables import queue_counts, queue_depths

MINUTE, QUARTER = 60, 900
LENGTHS = (MINUTE, QUARTER)
"""Seconds that a row is about; all begin at multiples of them since 1970."""


class Span(NamedTuple):
    """A stretch of time of one queue."""

    queue: str
    seconds: int
    begin: int
    """Seconds since 1970."""

    @property
    def end(self) -> int:
        """The first second after it."""
        return self.begin + self.seconds


@dataclass
class Counts:
    """What has become of a queue's jobs in a span of time."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    """Attempts that ended and left their job to another."""
    waits: Counter[int] = field(default_factory=Counter)
    """How many attempts have waited how long; see :mod:`penstock.ledger.histogram`."""
    runs: Counter[int] = field(default_factory=Counter)


class Depth(NamedTuple):
    """What waits in a queue at one moment."""

    ready: int
    parked: int
    blocked: int
    in_flight: int
    oldest_seconds: float | None
    """How long the oldest ready message has waited; None: there is none, or its producer did not say."""
    accepted: int
    """How many jobs the queue has ever accepted, as Redis has counted."""
    sampled_at: datetime


def write_counts(connection: Connection, writer: str, counts: Mapping[Span, Counts]) -> None:
    """Writes the spans anew.

    Args:
        writer: a name that no other process ever has: each overwrites its own rows alone.
    """
    rows = [{**_key(span), "writer": writer, **_columns(counts[span])} for span in sorted(counts)]
    if rows:
        statement = insert_into(connection, queue_counts)
        names = ("succeeded", "failed", "cancelled", "retried", "waits", "runs")
        statement = statement.on_conflict_do_update(
            index_elements=list(queue_counts.primary_key), set_={name: statement.excluded[name] for name in names}
        )
        connection.execute(statement, rows)


def write_depths(connection: Connection, depths: Iterable[tuple[Span, Depth]]) -> None:
    """Writes samples. Of several of one span the first says what was accepted until then, and the largest the rest.

    In the order of their keys, so that two keepers that have measured the same queues do not wait for each other.
    """
    rows = [{**_key(span), **depth._asdict()} for span, depth in sorted(depths, key=lambda each: each[0])]
    if rows:
        statement = insert_into(connection, queue_depths)
        largest = {}
        for name in ("ready", "parked", "blocked", "in_flight", "oldest_seconds"):
            known, new = queue_depths.c[name], statement.excluded[name]
            largest[name] = case((or_(known.is_(None), new > known), new), else_=known)
        statement = statement.on_conflict_do_update(index_elements=list(queue_depths.primary_key), set_=largest)
        connection.execute(statement, rows)


def _key(span: Span) -> dict[str, object]:
    return {"queue": span.queue, "seconds": span.seconds, "at": datetime.fromtimestamp(span.begin, UTC)}


def _columns(counts: Counts) -> dict[str, object]:
    return {**vars(counts), "waits": to_json(counts.waits), "runs": to_json(counts.runs)}
