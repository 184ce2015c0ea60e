"""Failures in pages, and those that are settled."""

from datetime import UTC, datetime, timedelta

import pytest

from penstock.app import PenstockApp
from penstock.ledger import letters
from penstock.ledger.rows import DeadLetter
from penstock.ledger.session import writing
from penstock.ledger.tables import Kind, Resolution
from penstock.operations.failures.entries import EntryFilter, EntryNotFound, list_entries

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def quarantine(app: PenstockApp, *ids: str) -> None:
    """Messages that nobody could read, one a minute."""
    for minute, id in enumerate(ids):
        letter = DeadLetter(
            id=id,
            kind=Kind.QUARANTINED,
            queue="default",
            step=0,
            reason="not JSON",
            payload=b"?",
            deliveries=1,
            at=NOON + timedelta(minutes=minute),
        )
        with writing(app.settings.database_url) as connection:
            letters.bury(connection, [letter])


def ids(app: PenstockApp, chosen: EntryFilter, limit: int = 10, after: str | None = None) -> list[str]:
    return [entry.id for entry in list_entries(app, chosen, limit, after).entries]


def test_a_page_goes_on_where_the_one_before_has_ended(app: PenstockApp) -> None:
    quarantine(app, "a", "b", "c")
    assert ids(app, EntryFilter(), 2) == ["c", "b"]
    assert ids(app, EntryFilter(), 2, after="b") == ["a"]


def test_a_page_after_what_is_gone_is_refused(app: PenstockApp) -> None:
    with pytest.raises(EntryNotFound, match="first page"):
        ids(app, EntryFilter(), after="never")


def test_what_is_settled_is_apart_from_what_is_open(app: PenstockApp) -> None:
    quarantine(app, "a", "b")
    with writing(app.settings.database_url) as connection:
        letters.mark_resolved(connection, "a", Resolution.DISCARDED, actor="me")
    assert ids(app, EntryFilter(is_open=True)) == ["b"]
    assert ids(app, EntryFilter(is_open=False)) == ["a"]
    assert ids(app, EntryFilter(is_open=None)) == ["b", "a"]
