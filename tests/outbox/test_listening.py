"""Whoever listens hears of rows as soon as their transaction has committed, and of nothing else."""

from collections.abc import Iterator

import pytest

from penstock.errors import LedgerUnavailable
from penstock.ledger import outbox
from penstock.ledger.listening import Listener, listen
from penstock.ledger.session import writing
from tests.outbox.ground import Ground, follow_up

SOON = 5.0


@pytest.fixture
def listener(ground: Ground) -> Iterator[Listener]:
    """Of the test's ledger, with nothing left to hear."""
    made = listen(ground.database_url)
    made.wait(0)
    yield made
    made.close()


@pytest.mark.parametrize("jobs", [("a",), ("a", "b")], ids=["one", "two"])
def test_a_commit_is_heard(ground: Ground, listener: Listener, jobs: tuple[str, ...]) -> None:
    ground.put(*jobs)
    assert listener.wait(SOON)


def test_what_was_committed_while_nobody_listened_is_heard_later(ground: Ground, listener: Listener) -> None:
    with listener.connection.begin():
        assert outbox.take(listener.connection, 0, 10, 10) == []
    ground.put("a")
    with listener.connection.begin():
        assert len(outbox.take(listener.connection, 0, 10, 10)) == 1
    assert listener.wait(SOON)


def test_a_rollback_is_not_heard(ground: Ground, listener: Listener) -> None:
    with writing(ground.database_url) as connection:
        outbox.put(connection, [follow_up("a")])
        connection.rollback()
    assert not listener.wait(0)


def test_nothing_is_heard_twice(ground: Ground, listener: Listener) -> None:
    ground.put("a")
    assert listener.wait(SOON)
    ground.relay().turn()
    assert not listener.wait(0)


def test_a_lost_connection_is_told(postgresql_ground: Ground) -> None:
    listener = listen(postgresql_ground.database_url)
    with writing(postgresql_ground.database_url) as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(LedgerUnavailable):
        listener.wait(SOON)
    listener.close()
