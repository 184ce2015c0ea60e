"""Places for beats, each of one module and on each database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import redis

from tests.conftest import DATABASES, NewLedger
from tests.live import ROOT
from tests.scheduler.live.ground import Ground
from tests.share import Share

NewGround = Callable[[str, str], AbstractContextManager[Ground]]


def _databases() -> tuple[str, ...]:
    """Both; a commit has CI ask for one of them, as these tests take long."""
    if not os.environ.get("CI"):
        return DATABASES
    share = Share.of_commit(ROOT, len(DATABASES))
    return (DATABASES[share.part - 1],) if share.parts > 1 else DATABASES


@pytest.fixture(scope="module", params=_databases())
def database(request: pytest.FixtureRequest) -> str:
    """A module's database, once each."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _note_database_of_module(request: pytest.FixtureRequest) -> None:
    """Notes it for the summary."""
    if (call := getattr(request.node, "callspec", None)) is not None and "database" in call.params:
        request.node.user_properties.append(("database", call.params["database"]))


@contextmanager
def emptied(broker_url: str) -> Iterator[str]:
    """The broker without anything, as it is left in the end."""
    with redis.Redis.from_url(broker_url) as client:
        client.flushdb()
        yield broker_url
        client.flushdb()


@pytest.fixture(scope="module")
def new_ground(
    live_broker_url: str, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewGround]:
    """Makes an empty ledger on the database that is asked for, beside an empty broker, for a timetable."""

    @contextmanager
    def make(kind: str, timetable: str) -> Iterator[Ground]:
        with new_ledger(kind) as url, emptied(live_broker_url) as broker_url:
            yield Ground(tmp_path_factory.mktemp("ground"), broker_url, url, timetable)

    return make
