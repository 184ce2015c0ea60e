"""A ledger on each database, and a broker."""

from collections.abc import Iterator

import pytest

from tests.outbox.ground import Ground


@pytest.fixture
def ground(broker_url: str, database_url: str) -> Iterator[Ground]:
    """An empty ledger and an empty broker."""
    made = Ground(broker_url, database_url)
    yield made
    made.client.close()
