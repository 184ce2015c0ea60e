"""Nothing here depends on the kind of the ledger's database, so one is enough."""

from collections.abc import Iterator

import pytest

from tests.conftest import NewLedger


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """An empty ledger."""
    with new_ledger("sqlite") as url:
        yield url
