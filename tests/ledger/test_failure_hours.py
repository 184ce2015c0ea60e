"""Failed jobs are counted by error, task and hour, each once."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from penstock.job import Reason, State
from penstock.ledger import failure_groups
from penstock.ledger.failure_groups import failures_per_hour
from penstock.ledger.recorder import Recorder
from penstock.ledger.recording import failures
from penstock.ledger.records import Encoded, Record
from penstock.ledger.rows import Failure, Outcome
from penstock.ledger.session import reading
from penstock.ledger.tables import failure_hours
from tests.ledger.making import SUCCEEDED, delivery, end, write

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def outcome(state: State = State.FAILED, fingerprint: str | None = "f") -> Outcome:
    failure = Failure(type="ValueError", message="no", exception=Encoded("{}"), fingerprint=fingerprint)
    return Outcome(state=state, reason=Reason.ERROR if state is State.FAILED else None, failure=failure)


def failing(id: str, at: datetime = NOON, task: str = "t", fingerprint: str | None = "f", **values: Any) -> Record:
    """The end of a job that fails for good."""
    return end(delivery(id, task=task, token=id), outcome(fingerprint=fingerprint), at=at, started_at=at, **values)


def hours(url: str) -> list[tuple[Any, ...]]:
    """(error, task, hour of the day, how many) of each row."""
    rows = failure_hours.c
    order = (rows.fingerprint, rows.task, rows.hour)
    statement = select(*order, func.sum(rows.count)).group_by(*order).order_by(*order)
    with reading(url) as connection:
        return [(error, task, hour.hour, int(count)) for error, task, hour, count in connection.execute(statement)]


def test_a_job_that_fails_is_counted_by_error_task_and_hour(database_url: str) -> None:
    write(
        database_url,
        failing("1"),
        failing("2", NOON + timedelta(minutes=59)),
        failing("3", NOON + timedelta(hours=1)),
        failing("4", task="other"),
        failing("5", fingerprint="g"),
    )
    write(database_url, failing("6"))
    assert hours(database_url) == [("f", "other", 12, 1), ("f", "t", 12, 3), ("f", "t", 13, 1), ("g", "t", 12, 1)]


def test_a_job_that_its_body_has_discarded_is_nobodys_failure(database_url: str) -> None:
    discarded = Outcome(state=State.FAILED, reason=Reason.DISCARDED, failure=outcome().failure)
    write(database_url, end(delivery("1", token="1"), discarded), failing("2"))
    assert hours(database_url) == [("f", "t", 12, 1)]


def test_failures_are_told_by_the_hour_of_all_errors_and_of_one_task(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = timedelta(hours=1)
    late = NOON + 2 * hour
    write(database_url, failing("0", NOON - hour), failing("1"), failing("2", task="other", fingerprint="g"))
    write(database_url, failing("3", late), failing("4", late + timedelta(minutes=59)))
    with reading(database_url) as connection:
        assert failures_per_hour(connection, NOON + timedelta(minutes=30)) == {NOON: 2, late: 2}
        assert list(failures_per_hour(connection, NOON)) == [NOON, late]
        assert failures_per_hour(connection, NOON - hour, "t") == {NOON - hour: 1, NOON: 1, late: 2}
        assert failures_per_hour(connection, NOON, "nobody's") == {}
        monkeypatch.setattr(failure_groups, "MOST_HOURS", 1)
        assert failures_per_hour(connection, NOON) == {late: 2}


def test_the_row_knows_the_first_the_last_and_the_last_job(database_url: str) -> None:
    times = {"2": 20, "1": 10, "3": 15}
    for id, minute in times.items():
        write(database_url, failing(id, NOON + timedelta(minutes=minute)))
    with reading(database_url) as connection:
        (row,) = connection.execute(failure_hours.select())
    assert (row.first_at, row.last_at, row.job_id) == (
        NOON + timedelta(minutes=10),
        NOON + timedelta(minutes=20),
        "2",
    )


def test_only_what_fails_for_good_with_an_error_is_counted(database_url: str) -> None:
    write(
        database_url,
        end(delivery("1"), outcome(State.SCHEDULED)),
        end(delivery("2"), SUCCEEDED),
        failing("3", fingerprint=None),
    )
    assert hours(database_url) == []


def test_an_end_that_is_told_again_is_counted_once(database_url: str) -> None:
    """Its COMMIT went through, and the answer was lost."""
    record = failing("1")
    write(database_url, record)
    write(database_url, record)
    assert hours(database_url) == [("f", "t", 12, 1)]


def test_a_late_end_of_a_job_that_has_ended_is_not_counted(database_url: str) -> None:
    write(database_url, end(delivery("1", token="other"), SUCCEEDED))
    write(database_url, failing("1"))
    assert hours(database_url) == []


def test_many_who_count_the_same_errors_at_once_lose_none_and_wait_for_each_other_in_one_order(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [f"{number:02}" for number in range(20)]
    monkeypatch.setattr(failures, "shard", lambda _: 0)

    def fail(worker: int) -> None:
        for round_ in range(5):
            order = errors if (worker + round_) % 2 else errors[::-1]
            Recorder(database_url).write([failing(f"{worker}-{round_}-{e}", fingerprint=e) for e in order])

    threads = [threading.Thread(target=fail, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hours(database_url) == [(error, "t", 12, 20) for error in errors]
