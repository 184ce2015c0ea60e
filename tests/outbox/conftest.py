"""A ledger on each database, and a broker."""

from collections.abc import Iterator

import pytest

from tests.outbox.ground import Ground


@pytest.fixture
def ground(broker_url: str, database_url: str) -> Iterator[Ground]:
    """An empty ledger and an empty broker."""
    with Ground(broker_url, database_url) as made:
        yield made


@pytest.fixture
def postgresql_ground(broker_url: str, postgresql_url: str) -> Iterator[Ground]:
    """The same, for what SQLite has no word for."""
    with Ground(broker_url, postgresql_url) as made:
        yield made
