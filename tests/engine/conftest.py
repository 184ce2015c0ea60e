"""A station for the tests of a module, with or without a ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NewLedger
from tests.engine.station import Station


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def station(folder: Path) -> Iterator[Station]:
    """A Redis for the module; nobody stores results."""
    with Station(folder) as made:
        yield made


@pytest.fixture(scope="module")
def booked(folder: Path, new_ledger: NewLedger) -> Iterator[Station]:
    """A Redis for the module, and a ledger for the results."""
    with new_ledger("sqlite") as ledger, Station(folder, ledger=ledger) as made:
        yield made
