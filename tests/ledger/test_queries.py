"""The statements, on each database: guards of the state machine, filters, retention."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, update

from penstock.job import FINAL, Reason, State
from penstock.ledger import queries
from penstock.ledger.queries import JobFilter
from penstock.ledger.rows import Delivery, Failure, JobRow, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import jobs

FAILURE = Failure(type="ValueError", message="wrong", exception={"exc_type": "ValueError"}, fingerprint="f" * 12)


def delivery(id: str = "1", **changes: object) -> Delivery:
    return Delivery(**{"id": id, "task": "t", "queue": "default", **changes})  # type: ignore[arg-type]


def outcome(state: State) -> Outcome:
    return Outcome(state=state, failure=FAILURE if state is State.FAILED else None)


def end(url: str, state: State, id: str = "1", **changes: object) -> bool:
    with writing(url) as connection:
        return queries.end_attempt(connection, delivery(id, **changes), outcome(state))


def start(url: str, id: str = "1", **changes: object) -> int | None:
    with writing(url) as connection:
        return queries.start_attempt(connection, delivery(id, **changes))


def found(url: str, id: str = "1") -> JobRow:
    with reading(url) as connection:
        row = queries.find_job(connection, id)
    assert row is not None
    return row


def listed(url: str, **conditions: object) -> list[str]:
    with reading(url) as connection:
        return sorted(row.id for row in queries.list_jobs(connection, JobFilter(**conditions), 100))  # type: ignore[arg-type]


@pytest.mark.parametrize("final", sorted(FINAL))
@pytest.mark.parametrize("late", sorted(State))
def test_a_final_state_never_changes(database_url: str, final: State, late: State) -> None:
    start(database_url)
    assert end(database_url, final)
    before = found(database_url)
    if late is State.RUNNING:
        assert start(database_url) is None
    else:
        assert end(database_url, late) is False
    assert found(database_url) == before


def test_each_start_is_an_attempt_of_its_own(database_url: str) -> None:
    assert [start(database_url), start(database_url)] == [1, 2]
    assert found(database_url).attempts == 2


@pytest.mark.parametrize("state", [State.SCHEDULED, State.QUEUED])
def test_an_attempt_that_reports_late_does_not_put_back_a_job_that_runs_again(database_url: str, state: State) -> None:
    """Celery sends the retry before it reports the attempt, and another child may be quicker."""
    for _ in range(2):
        start(database_url)
    with writing(database_url) as connection:
        assert queries.end_attempt(connection, delivery(), outcome(state), attempt=1) is False
        first, second = queries.attempts_of(connection, "1")
    assert found(database_url).state is State.RUNNING
    assert first.outcome is not None
    assert second.outcome is None


def test_an_end_without_a_start_still_has_a_row(database_url: str) -> None:
    """A job that is cancelled while it waits was never started."""
    assert end(database_url, State.CANCELLED)
    assert (found(database_url).state, found(database_url).attempts) == (State.CANCELLED, 0)


def test_over_long_text_is_cut_and_costs_no_row(database_url: str) -> None:
    start(database_url, task="t" * 1000, worker="w" * 1000)
    assert found(database_url).task == "t" * 255


def test_ids_differ_by_case_and_accent(database_url: str) -> None:
    for id in ("a", "A", "á"):
        start(database_url, id)
    assert listed(database_url) == sorted(["a", "A", "á"])


def test_two_workers_that_start_the_same_job_at_once_get_different_attempts(database_url: str) -> None:
    numbers: list[int | None] = []
    threads = [threading.Thread(target=lambda: numbers.append(start(database_url))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number or 0 for number in numbers) == list(range(1, 9))


def test_two_workers_that_end_the_same_job_at_once_leave_one_winner(database_url: str) -> None:
    start(database_url)
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda state=state: won.append(end(database_url, state)))  # type: ignore[misc]
        for state in sorted(FINAL) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 1


def test_times_come_back_aware_and_in_utc(database_url: str) -> None:
    eta = datetime(2026, 3, 29, 3, 30, tzinfo=UTC).astimezone()
    start(database_url, eta=eta)
    row = found(database_url)
    assert row.eta == eta
    assert row.eta is not None
    assert row.eta.utcoffset() == timedelta(0)


@pytest.fixture
def filled(database_url: str) -> str:
    start(database_url, "running")
    start(database_url, "failed", task="other", queue="web", schedule="nightly")
    end(database_url, State.FAILED, "failed")
    start(database_url, "done")
    end(database_url, State.SUCCEEDED, "done")
    return database_url


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, ["done", "failed", "running"]),
        ({"states": (State.FAILED, State.RUNNING)}, ["failed", "running"]),
        ({"task": "other"}, ["failed"]),
        ({"queue": "web"}, ["failed"]),
        ({"schedule": "nightly"}, ["failed"]),
        ({"error": "wron"}, ["failed"]),
        ({"error": "ValueE"}, ["failed"]),
        ({"error": "f" * 12}, ["failed"]),
        ({"error": "%"}, []),
        ({"since": datetime.now(UTC) + timedelta(days=1)}, []),
        ({"since": datetime.now(UTC) - timedelta(days=1), "states": (State.SUCCEEDED,)}, ["done"]),
    ],
)
def test_jobs_are_listed_by(filled: str, conditions: dict[str, object], ids: list[str]) -> None:
    assert listed(filled, **conditions) == ids


def test_jobs_are_counted_by_state(filled: str) -> None:
    with reading(filled) as connection:
        counts = queries.count_by_state(connection, JobFilter())
    assert counts == {State.RUNNING: 1, State.FAILED: 1, State.SUCCEEDED: 1}


def age(connection: Connection, id: str, days: int) -> None:
    when = datetime.now(UTC) - timedelta(days=days)
    connection.execute(update(jobs).where(jobs.c.id == id).values(finished_at=when))


def test_retention_takes_the_oldest_ended_jobs_and_their_attempts_first(filled: str) -> None:
    end(filled, State.SUCCEEDED, "older")
    with writing(filled) as connection:
        age(connection, "done", 10)
        age(connection, "older", 20)
        assert queries.delete_ended(connection, [State.SUCCEEDED], timedelta(days=5), limit=1) == 1
    assert listed(filled) == ["done", "failed", "running"]
    with writing(filled) as connection:
        assert queries.delete_ended(connection, [State.SUCCEEDED], timedelta(days=5), limit=9) == 1
        assert queries.attempts_of(connection, "done") == []
    assert listed(filled) == ["failed", "running"]


def test_retention_refuses_to_delete_what_has_not_ended(filled: str) -> None:
    with writing(filled) as connection, pytest.raises(ValueError, match="only final jobs"):
        queries.delete_ended(connection, [State.RUNNING], timedelta(0), limit=1)


def test_progress_is_kept_while_a_job_runs_and_refused_afterwards(filled: str) -> None:
    for id in ("running", "done"):
        with writing(filled) as connection:
            queries.record_progress(connection, id, {"state": "HALF", "meta": 1})
    assert found(filled, "running").progress == {"state": "HALF", "meta": 1}
    assert found(filled, "done").progress is None


def test_an_outcome_keeps_its_reason(database_url: str) -> None:
    with writing(database_url) as connection:
        queries.end_attempt(connection, delivery(), Outcome(state=State.CANCELLED, reason=Reason.EXPIRED))
    assert found(database_url).reason is Reason.EXPIRED


steps = st.lists(st.sampled_from([*State]), max_size=8)


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_whatever_happens_in_whatever_order_a_job_obeys_its_state_machine(
    sqlite_ledger: str, steps: list[State]
) -> None:
    """A model beside the real statements: the first final state stays, and every accepted start is one attempt."""
    id, state, attempts = str(uuid.uuid4()), None, 0
    for step in steps:
        closed = state is not None and state in FINAL
        if step is State.RUNNING:
            number = start(sqlite_ledger, id)
            assert (number is None) == closed
            attempts += number is not None
        else:
            assert end(sqlite_ledger, step, id) == (not closed and _allowed(state, step))
        if not closed and (step is State.RUNNING or _allowed(state, step)):
            state = step
    if state is not None:
        assert (found(sqlite_ledger, id).state, found(sqlite_ledger, id).attempts) == (state, attempts)


def _allowed(state: State | None, step: State) -> bool:
    """Written apart from the code under test: scheduled, queued and blocked do not follow themselves, nor does
    scheduled follow blocked.
    """
    return state != step and (state, step) != (State.BLOCKED, State.SCHEDULED)


@pytest.fixture
def sqlite_ledger(new_ledger: object) -> object:
    with new_ledger("sqlite") as url:  # type: ignore[operator]
        yield url
