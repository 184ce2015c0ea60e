"""A ledger on each database, and an application whose schedules are there."""

from collections.abc import Iterator

import pytest

from penstock.app import PenstockApp
from tests.conftest import NewLedger, deployment, producer
from tests.scheduler.ground import Ground


@pytest.fixture
def ground(app: PenstockApp) -> Iterator[Ground]:
    """An empty ledger."""
    with Ground(app) as made:
        yield made


@pytest.fixture
def postgresql_ground(
    broker_url: str, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """The same, for what SQLite has no word for."""
    with new_ledger("postgresql") as url:
        variables = deployment(broker_url, url, tmp_path_factory.mktemp("deployment"))
        with producer(variables) as app, Ground(app) as made:
            yield made
