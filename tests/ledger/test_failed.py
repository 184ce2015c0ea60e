"""Failed jobs of one error: which are open, in stretches, and that of two who deal with one, one is first."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from penstock.job import Reason, State
from penstock.ledger import failed
from penstock.ledger.failed import FailedFilter
from penstock.ledger.queries import add_audit
from penstock.ledger.rows import Failure, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import dead_letters, jobs
from tests.conftest import NewLedger
from tests.ledger.making import SUCCEEDED, delivery, end, write
from tests.live import wait_for

PRINT, OTHER = "0123456789ab", "ba9876543210"
NOW = datetime.now(UTC)


def fail(url: str, *ids: str, fingerprint: str = PRINT) -> None:
    """Jobs that have failed one after the other, a minute ago."""
    failure = Failure(type="ValueError", message="no", exception={}, fingerprint=fingerprint)
    outcome = Outcome(state=State.FAILED, reason=Reason.ERROR, failure=failure)
    write(url, *(end(delivery(id), outcome) for id in ids))
    with writing(url) as connection:
        for number, id in enumerate(ids):
            at = NOW - timedelta(minutes=1) + timedelta(seconds=number)
            connection.execute(update(jobs).where(jobs.c.id == id).values(updated_at=at))


def open_ids(url: str, limit: int = 10, until: datetime = NOW) -> list[list[str]]:
    """The open jobs of the error, by stretches."""
    found, after = [], None
    with reading(url) as connection:
        while True:
            stretch = failed.open_stretch(connection, FailedFilter(error=PRINT), until, limit, after)
            found.append(stretch.ids)
            after = stretch.after
            if after is None:
                return found


def retry(url: str, id: str) -> None:
    with writing(url) as connection:
        add_audit(connection, actor="ada", action=failed.RETRY, job_id=id, details={"new": "n"})


def discard(url: str, *ids: str) -> int:
    with writing(url) as connection:
        return failed.discard(connection, ids)


def reason(url: str, id: str) -> str | None:
    with reading(url) as connection:
        return connection.execute(select(jobs.c.reason).where(jobs.c.id == id)).scalar_one()


def test_failed_jobs_of_an_error_are_open_the_oldest_first(database_url: str) -> None:
    fail(database_url, "b", "a", "c")
    fail(database_url, "other", fingerprint=OTHER)
    write(database_url, end(delivery("good"), SUCCEEDED))
    assert open_ids(database_url) == [["b", "a", "c"]]


def test_stretches_have_a_bound_and_leave_none_out(database_url: str) -> None:
    fail(database_url, *"abcde")
    retry(database_url, "b")
    assert open_ids(database_url, limit=2) == [["a"], ["c", "d"], ["e"]]


def test_what_failed_later_is_left(database_url: str) -> None:
    fail(database_url, *"abc")
    assert open_ids(database_url, until=NOW - timedelta(seconds=59)) == [["a", "b"]]


def test_a_job_that_was_retried_is_not_open(database_url: str) -> None:
    fail(database_url, *"ab")
    retry(database_url, "a")
    assert open_ids(database_url) == [["b"]]


def test_a_job_whose_message_is_a_dead_letter_is_not_open(database_url: str) -> None:
    fail(database_url, *"ab")
    letter = {"id": "1:2:0", "kind": "buried", "job_id": "a", "queue": "q", "step": 0, "reason": "died"}
    with writing(database_url) as connection:
        connection.execute(insert(dead_letters).values(**letter, payload=b"x", deliveries=3, at=NOW))
    assert open_ids(database_url) == [["b"]]
    assert discard(database_url, "a") == 0


def test_a_discarded_job_stays_failed_says_so_and_is_not_open(database_url: str) -> None:
    fail(database_url, *"ab")
    assert discard(database_url, "a") == 1
    assert open_ids(database_url) == [["b"]]
    assert (reason(database_url, "a"), reason(database_url, "b")) == ("discarded", "error")


def test_only_open_jobs_are_discarded(database_url: str) -> None:
    fail(database_url, *"ab")
    write(database_url, end(delivery("good"), SUCCEEDED))
    retry(database_url, "a")
    discard(database_url, "b")
    assert discard(database_url, "a", "b", "good", "nobody") == 0
    assert (reason(database_url, "a"), reason(database_url, "good")) == ("error", None)


@pytest.fixture
def postgresql(new_ledger: NewLedger) -> Iterator[str]:
    """SQLite has one writer at a time."""
    with new_ledger("postgresql") as url:
        yield url


def test_whoever_waits_for_one_that_is_being_retried_does_not_discard_it(postgresql: str) -> None:
    fail(postgresql, "a")
    discarded: list[int] = []
    with writing(postgresql) as connection:
        assert failed.lock_open(connection, ["a"]) == ["a"]
        second = threading.Thread(target=lambda: discarded.append(discard(postgresql, "a")))
        second.start()
        wait_for(lambda: not second.is_alive() or _is_somebody_waiting(postgresql), "the second waits for the first")
        add_audit(connection, actor="ada", action=failed.RETRY, job_id="a", details={"new": "n"})
    second.join()
    assert discarded == [0]
    assert reason(postgresql, "a") == "error"


def _is_somebody_waiting(url: str) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with reading(url) as connection:
        return bool(connection.exec_driver_sql(waiting).scalar_one())
