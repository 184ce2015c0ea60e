"""Reading single jobs, on each database."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, text

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import attempts
from tests.conftest import administer
from tests.ledger.making import delivery, end, start, write


def test_jobs_are_found_by_their_ids(database_url: str) -> None:
    write(database_url, *(start(delivery(id)) for id in "abc"))
    with reading(database_url) as connection:
        assert sorted(row.id for row in queries.find_jobs(connection, ["a", "c", "d"])) == ["a", "c"]
        assert queries.find_job(connection, "d") is None


def test_ids_are_found_by_their_beginning(database_url: str) -> None:
    write(database_url, *(start(delivery(id)) for id in ("ab", "aba", "abé", "ac", "AB")))
    with reading(database_url) as connection:
        assert queries.ids_like(connection, "ab") == ["ab", "aba", "abé"]
        assert queries.ids_like(connection, "ab", limit=2) == ["ab", "aba"]


def test_times_come_back_aware_and_in_utc(database_url: str) -> None:
    eta = datetime(2026, 3, 29, 3, 30, 0, 7, tzinfo=UTC).astimezone()
    write(database_url, start(delivery(eta=eta)))
    with reading(database_url) as connection:
        row = queries.find_job(connection, "1")
    assert row is not None
    assert row.eta == eta
    assert row.eta is not None
    assert row.eta.utcoffset() == timedelta(0)


def test_children_come_in_the_order_in_which_they_were_enqueued(database_url: str) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    times = {"first": noon, "third": noon + timedelta(seconds=2), "second": noon + timedelta(seconds=1)}
    write(database_url, *(start(delivery(id, parent_id="p", enqueued_at=at)) for id, at in times.items()))
    with reading(database_url) as connection:
        assert [row.id for row in queries.children_of(connection, "p")] == ["first", "second", "third"]
        assert [row.id for row in queries.children_of(connection, "p", 1)] == ["first"]


def test_a_job_that_is_forgotten_takes_its_attempts_along(database_url: str) -> None:
    retried = Outcome(state=State.SCHEDULED)
    write(database_url, end(delivery(token="a:1"), retried), start(delivery(token="a:2", retries=1)))
    with writing(database_url) as connection:
        queries.forget_job(connection, "1")
    with reading(database_url) as connection:
        assert queries.find_job(connection, "1") is None
        assert connection.execute(select(func.count()).select_from(attempts)).scalar_one() == 0


def test_a_connection_that_was_closed_while_it_rested_is_replaced(postgresql_url: str) -> None:
    with reading(postgresql_url) as connection:
        own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    administer(postgresql_url, f"SELECT pg_terminate_backend({own})")
    with reading(postgresql_url) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != own
