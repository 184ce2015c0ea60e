"""Rows of minutes: written anew they are the same, and several who measure make one row."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table

from penstock.ledger.minutes import MINUTE, Counts, Depth, Span, write_counts, write_depths
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import queue_counts, queue_depths

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SPAN = Span("mail", MINUTE, int(NOON.timestamp()))
DEPTH = Depth(5, 4, 3, 2, 1.5, 100, NOON)


def rows(url: str, table: Table) -> list[dict[str, Any]]:
    with reading(url) as connection:
        return [dict(row._mapping) for row in connection.execute(table.select().order_by(*table.primary_key))]


def count(url: str, writer: str, counts: Counts) -> None:
    with writing(url) as connection:
        write_counts(connection, writer, {SPAN: counts})


def measure(url: str, *depths: Depth) -> None:
    for depth in depths:
        with writing(url) as connection:
            write_depths(connection, [(SPAN, depth)])


def test_counts_written_again_are_not_added(database_url: str) -> None:
    count(database_url, "one", Counts(succeeded=1))
    for _ in range(2):
        count(database_url, "one", Counts(3, 2, 1, 4, Counter({7: 3}), Counter({9: 2})))
    assert rows(database_url, queue_counts) == [
        {"queue": "mail", "seconds": 60, "at": NOON, "writer": "one", "succeeded": 3, "failed": 2, "cancelled": 1}
        | {"retried": 4, "waits": {"7": 3}, "runs": {"9": 2}}
    ]


def test_each_who_counts_has_a_row(database_url: str) -> None:
    for writer in ("one", "other"):
        count(database_url, writer, Counts(succeeded=1))
    assert [row["writer"] for row in rows(database_url, queue_counts)] == ["one", "other"]


def test_of_several_samples_the_largest_counts_and_what_the_first_had_accepted(database_url: str) -> None:
    later = DEPTH._replace(ready=9, parked=0, oldest_seconds=None, accepted=200, sampled_at=NOON.replace(second=9))
    measure(database_url, DEPTH, later, DEPTH)
    (row,) = rows(database_url, queue_depths)
    assert row == {"queue": "mail", "seconds": 60, "at": NOON, **DEPTH._asdict(), "ready": 9}


def test_an_age_counts_after_a_sample_without_any(database_url: str) -> None:
    measure(database_url, DEPTH._replace(oldest_seconds=None), DEPTH)
    assert rows(database_url, queue_depths)[0]["oldest_seconds"] == 1.5
