"""The ledger's side of the balance sheet: what it counts when jobs end, and what it finds open."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from penstock.job import Reason, State
from penstock.ledger import balance
from penstock.ledger.balance import PAGE, Booked, OpenJob
from penstock.ledger.records import Verdict
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import jobs, outbox, tallies
from tests.ledger.making import SUCCEEDED, aside, delivery, end, running, start, write

NOW = datetime.now(UTC)
CANCELLED = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)


def ours(id: str = "1", **values: Any) -> Delivery:
    """Of a job that was accepted by us."""
    return delivery(id, **{"enqueued_at": NOW, **values})


def booked(url: str, queue: str = "default") -> Booked:
    with reading(url) as connection:
        return balance.read(connection).queues.get(queue, Booked())


def put_out(url: str, key: str, job_id: str, *, published: bool = False, queue: str = "default") -> None:
    """A row of the outbox."""
    times = {"created_at": NOW, "published_at": NOW if published else None}
    row = {"key": key, "job_id": job_id, "task": "t", "queue": queue, "step": 0, "payload": b"{}", **times}
    with writing(url) as connection:
        connection.execute(insert(outbox).values(row))


def opened(url: str) -> list[OpenJob]:
    with reading(url) as connection:
        return list(balance.open_jobs(connection))


def test_an_empty_ledger_has_nothing_on_its_books(database_url: str) -> None:
    with reading(database_url) as connection:
        assert balance.read(connection).queues == {}
        assert balance.first_change(connection) is None


def test_ends_are_counted_by_queue_and_state_and_by_who_sent_the_job(database_url: str) -> None:
    write(database_url, end(ours("1")), end(ours("2")), end(ours("3"), CANCELLED), end(ours("4", queue="web")))
    write(database_url, end(delivery("5")), end(delivery("6"), CANCELLED))
    assert booked(database_url).ended == {State.SUCCEEDED: 2, State.CANCELLED: 1}
    assert booked(database_url).stock == {State.SUCCEEDED: 1, State.CANCELLED: 1}
    assert booked(database_url, "web").ended == {State.SUCCEEDED: 1}


def test_an_end_counts_once_however_often_it_is_told(database_url: str) -> None:
    told = end(ours(token="a:1"))
    assert write(database_url, told).verdicts == [Verdict.WON]
    assert write(database_url, told).verdicts == [Verdict.WON]
    assert write(database_url, end(ours(token="b:1"))).verdicts == [Verdict.ENDED]
    assert booked(database_url).ended == {State.SUCCEEDED: 1}


def test_a_retried_job_counts_when_it_has_ended(database_url: str) -> None:
    write(database_url, end(ours(token="a:1"), Outcome(state=State.SCHEDULED, due=NOW)))
    assert booked(database_url).ended == {}
    write(database_url, end(ours(token="a:2", retries=1)))
    assert booked(database_url).ended == {State.SUCCEEDED: 1}


def test_a_job_counts_on_the_queue_on_which_it_was_accepted(database_url: str) -> None:
    write(database_url, end(ours(token="a:1"), Outcome(state=State.SCHEDULED, due=NOW)))
    write(database_url, end(ours(token="a:2", retries=1, queue="web")))
    assert booked(database_url).ended == {State.SUCCEEDED: 1}
    assert booked(database_url, "web").ended == {}


def test_a_job_that_was_cancelled_unseen_counts_when_its_message_is_seen(database_url: str) -> None:
    """Until then its message still waits, and it counts as waiting."""
    write(database_url, end(Delivery(id="1", task="(unknown)"), CANCELLED))
    assert booked(database_url).ended == {}
    assert write(database_url, end(ours(token="a:1"), SUCCEEDED)).verdicts == [Verdict.ENDED]
    assert booked(database_url).ended == {State.CANCELLED: 1}
    write(database_url, end(ours(token="a:2"), CANCELLED))
    assert booked(database_url).ended == {State.CANCELLED: 1}


def test_a_row_says_whether_its_job_was_accepted_by_us_also_to_who_does_not_know(database_url: str) -> None:
    write(database_url, start(ours(token="a:1")))
    write(database_url, end(delivery(), CANCELLED))
    assert booked(database_url).ended == {State.CANCELLED: 1}
    assert booked(database_url).stock == {}


def test_the_sums_go_over_all_shards(database_url: str) -> None:
    rows = [{"queue": "default", "state": "failed", "shard": shard, "count": 2**40} for shard in range(3)]
    with writing(database_url) as connection:
        connection.execute(insert(tallies), rows)
    assert booked(database_url).ended == {State.FAILED: 3 * 2**40}


def test_what_is_unpublished_is_counted_apart_from_what_is_to_be_published_again(database_url: str) -> None:
    put_out(database_url, "1", "1")
    put_out(database_url, "2", "2", queue="web")
    put_out(database_url, "3~1", "3")
    put_out(database_url, "4", "4", published=True)
    found = booked(database_url)
    assert (found.unpublished, found.again, booked(database_url, "web").unpublished) == (1, 1, 1)


def test_open_rows_are_counted_by_queue_and_state(database_url: str) -> None:
    write(database_url, start(ours("1")), running(delivery("2")), aside(ours("3")), end(ours("4")))
    write(database_url, start(ours("5", queue="web")))
    assert booked(database_url).open == {State.RUNNING: 2, State.BLOCKED: 1}
    assert booked(database_url, "web").open == {State.RUNNING: 1}


def test_of_very_many_open_rows_the_first_are_counted(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "MOST_OPEN", 2)
    write(database_url, *(start(ours(str(number))) for number in range(3)))
    with reading(database_url) as connection:
        found = balance.read(connection)
    assert found.queues["default"].open == {State.RUNNING: 2}
    assert found.is_cut


def test_every_open_job_is_found_page_by_page(database_url: str) -> None:
    write(database_url, *(start(ours(f"{number:04}", token="worker/3:1:0")) for number in range(PAGE + 2)))
    write(database_url, aside(delivery("blocked")), end(ours("ended")))
    found = opened(database_url)
    assert [job.id for job in found] == ["blocked", *(f"{number:04}" for number in range(PAGE + 2))]
    assert (found[0].state, found[0].is_accepted, found[0].incarnation) == (State.BLOCKED, False, "")
    assert (found[1].state, found[1].is_accepted, found[1].incarnation) == (State.RUNNING, True, "worker")


def test_jobs_that_changed_at_the_same_moment_are_all_found(database_url: str) -> None:
    write(database_url, *(start(ours(f"{number:04}")) for number in range(PAGE + 2)))
    with writing(database_url) as connection:
        connection.execute(update(jobs).values(updated_at=NOW))
    assert len(opened(database_url)) == PAGE + 2


@pytest.mark.parametrize("lock", [False, True])
def test_a_row_that_has_changed_since_it_was_read_is_told_from_one_that_has_not(database_url: str, lock: bool) -> None:
    write(database_url, start(ours("1", token="a:1")), start(ours("2", token="a:2")), start(ours("3", token="a:3")))
    found = opened(database_url)
    write(database_url, end(ours("1", token="a:1")), running(ours("2", token="a:2")))
    with writing(database_url) as connection:
        assert balance.unchanged(connection, found, lock=lock) == {"3"}


def test_states_are_told_of_the_jobs_that_have_a_row(database_url: str) -> None:
    write(database_url, end(ours("1")), start(ours("2")))
    with reading(database_url) as connection:
        states = balance.states_of(connection, ["1", "2", "3"])
    assert states == {"1": State.SUCCEEDED, "2": State.RUNNING}


def test_jobs_in_the_outbox_are_told_with_whether_they_were_published(database_url: str) -> None:
    put_out(database_url, "1", "1", published=True)
    put_out(database_url, "2~1", "2")
    with reading(database_url) as connection:
        assert balance.in_outbox(connection, ["1", "2", "3"]) == {"1": True, "2": False}


def test_the_first_change_is_that_of_the_row_that_was_left_alone_for_longest(database_url: str) -> None:
    write(database_url, end(ours("1")), start(ours("2")))
    long_ago = NOW - timedelta(days=3)
    with writing(database_url) as connection:
        connection.execute(update(jobs).where(jobs.c.id == "2").values(updated_at=long_ago))
    with reading(database_url) as connection:
        assert balance.first_change(connection) == long_ago
