"""Deliveries that came to no end, on each database: lost with their process, put aside, or made twice."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import Celery, states
from celery.app.task import Context
from celery.result import AsyncResult

from penstock.job import FINAL, Reason, State
from penstock.ledger import deliveries, queries
from penstock.ledger.backend import LedgerBackend
from penstock.ledger.delivery import describe_message
from penstock.ledger.rows import AttemptRow, Delivery, JobRow, Outcome
from penstock.ledger.session import reading, writing

HERE, ELSEWHERE = "celery@here", "celery@elsewhere"
SIGNAL = "Worker exited prematurely: signal 9 (SIGKILL)."


class Books:
    """A ledger with one job in it, and a worker's backend on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.app = Celery("books", set_as_current=False)
        self.backend = LedgerBackend(self.app, url=url)

    def start(self, worker: str = HERE, retries: int = 0) -> int | None:
        with writing(self.url) as connection:
            return queries.start_attempt(connection, self._delivery(worker, retries))

    def end(self, state: State, attempt: int | None = None) -> bool:
        with writing(self.url) as connection:
            return queries.end_attempt(connection, self._delivery(HERE, 0), Outcome(state=state), attempt)

    def lose(self, worker: str = HERE, retries: int = 0) -> bool:
        delivery_info = {"routing_key": "default"}
        request = Context(id="1", task="t", hostname=worker, retries=retries, delivery_info=delivery_info, args=[1])
        return self.backend.record_lost(request, SIGNAL)

    def block(self) -> None:
        self.backend.record_blocked(self._delivery(HERE, 0), Reason.UNKNOWN_TASK)

    @staticmethod
    def _delivery(worker: str, retries: int) -> Delivery:
        return Delivery(id="1", task="t", queue="default", worker=worker, retries=retries)

    @property
    def job(self) -> JobRow:
        with reading(self.url) as connection:
            row = queries.find_job(connection, "1")
        assert row is not None
        return row

    @property
    def attempts(self) -> list[AttemptRow]:
        with reading(self.url) as connection:
            return queries.attempts_of(connection, "1")

    @property
    def outcomes(self) -> list[str | None]:
        return [attempt.outcome for attempt in self.attempts]


@pytest.fixture
def books(database_url: str) -> Books:
    return Books(database_url)


def test_a_job_whose_process_died_waits_again_and_says_why(books: Books) -> None:
    books.start()
    assert books.lose() is True
    assert (books.job.state, books.job.reason, books.job.error_message) == (State.QUEUED, Reason.CRASHED, SIGNAL)
    assert books.job.error_type == "billiard.exceptions.WorkerLostError"


def test_the_attempt_that_died_with_its_process_is_recorded_as_crashed(books: Books) -> None:
    books.start()
    books.lose()
    (attempt,) = books.attempts
    assert (attempt.outcome, attempt.error_message) == ("crashed", SIGNAL)
    assert attempt.finished_at is not None


def test_the_next_start_after_a_crash_is_an_attempt_of_its_own_and_forgets_the_reason(books: Books) -> None:
    books.start()
    books.lose()
    assert books.start() == 2
    assert (books.job.state, books.job.reason) == (State.RUNNING, None)
    books.end(State.SUCCEEDED, 2)
    assert books.outcomes == ["crashed", "succeeded"]
    assert books.job.error_message is None


@pytest.mark.parametrize("final", sorted(FINAL))
def test_a_process_that_dies_after_its_job_has_ended_changes_nothing(books: Books, final: State) -> None:
    """The outcome was written, the answer to the parent was not."""
    books.start()
    books.end(final, 1)
    before = books.job, books.attempts
    assert books.lose() is False
    assert (books.job, books.attempts) == before


def test_a_crash_does_not_touch_the_attempt_of_another_worker(books: Books) -> None:
    """This worker was silent for a lease, another one has the job, and only now the old process dies."""
    books.start(HERE)
    books.start(ELSEWHERE)
    assert books.lose(HERE) is True
    assert books.job.state is State.RUNNING
    assert books.outcomes == [None, None]


def test_a_process_that_died_before_its_start_was_recorded_leaves_no_row(books: Books) -> None:
    assert books.lose() is True
    with reading(books.url) as connection:
        assert queries.find_job(connection, "1") is None


def test_a_second_process_that_died_before_its_start_was_recorded_changes_nothing(books: Books) -> None:
    books.start()
    books.lose()
    before = books.job, books.attempts
    assert books.lose() is True
    assert (books.job, books.attempts) == before


def test_a_process_that_died_after_it_had_sent_its_retry_is_not_delivered_again(books: Books) -> None:
    books.start()
    books.end(State.SCHEDULED, 1)
    assert books.lose() is False
    assert (books.job.state, books.outcomes) == (State.SCHEDULED, ["retried"])


def test_a_retry_whose_process_died_before_its_start_was_recorded_is_delivered_again(books: Books) -> None:
    books.start()
    books.end(State.SCHEDULED, 1)
    assert books.lose(retries=1) is True


def test_a_crash_that_is_reported_twice_at_once_ends_one_attempt_once(books: Books) -> None:
    books.start()
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(books.lose())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 4
    assert (books.job.state, books.outcomes) == (State.QUEUED, ["crashed"])


def test_a_crash_with_arguments_that_are_not_json_is_recorded(books: Books) -> None:
    books.start()
    request = Context(id="1", task="t", hostname=HERE, retries=0, args=[float("nan")], kwargs={})
    assert books.backend.record_lost(request, SIGNAL)
    assert books.outcomes == ["crashed"]


def test_a_job_of_an_unknown_task_is_blocked_with_its_reason(books: Books) -> None:
    books.block()
    assert (books.job.state, books.job.reason) == (State.BLOCKED, Reason.UNKNOWN_TASK)
    assert (books.job.task, books.job.queue, books.job.attempts) == ("t", "default", 0)


def test_a_blocked_job_is_pending_to_celery(books: Books) -> None:
    books.block()
    assert AsyncResult("1", backend=books.backend, app=books.app).state == states.PENDING


def test_a_blocked_job_that_starts_is_blocked_no_more(books: Books) -> None:
    books.block()
    assert books.start() == 1
    assert (books.job.state, books.job.reason) == (State.RUNNING, None)


@pytest.mark.parametrize("final", sorted(FINAL))
def test_a_job_that_has_ended_cannot_be_blocked(books: Books, final: State) -> None:
    books.start()
    books.end(final, 1)
    before = books.job
    books.block()
    assert books.job == before


def test_a_retry_that_is_blocked_stays_so_when_its_attempt_reports_late(books: Books) -> None:
    """Celery sends the retry before it reports the attempt, and a worker that does not know the task was quicker."""
    books.start()
    books.block()
    assert books.end(State.SCHEDULED, 1) is False
    assert (books.job.state, books.outcomes) == (State.BLOCKED, ["retried"])


def test_states_are_told_of_all_jobs_that_have_a_row(books: Books) -> None:
    books.start(ELSEWHERE)
    books.start(HERE, retries=3)
    with writing(books.url) as connection:
        queries.end_attempt(connection, Delivery(id="2", task="t"), Outcome(state=State.CANCELLED))
    with reading(books.url) as connection:
        known = deliveries.states_of(connection, ["1", "2", "3"])
    assert sorted(known) == ["1", "2"]
    assert (known["1"].state, known["1"].worker, known["1"].retries) == (State.RUNNING, HERE, 3)
    assert known["1"].started_at == books.attempts[1].started_at
    assert (known["2"].state, known["2"].started_at) == (State.CANCELLED, None)


def test_states_of_no_jobs_are_none(books: Books) -> None:
    with reading(books.url) as connection:
        assert deliveries.states_of(connection, []) == {}


def test_a_message_says_what_its_job_is() -> None:
    headers = {"id": "1", "task": "t", "retries": 2, "root_id": "0", "enqueued_at": "2026-01-02T03:04:05+00:00"}
    assert describe_message(headers, [[1], {"a": 2}, {}], "web", 3) == Delivery(
        id="1",
        task="t",
        queue="web",
        priority=3,
        args=[1],
        kwargs={"a": 2},
        retries=2,
        root_id="0",
        enqueued_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


@pytest.mark.parametrize("body", [None, "text", [], [[1]], {"args": [1]}])
def test_a_message_with_an_unreadable_body_says_what_its_headers_say(body: Any) -> None:
    described = describe_message({"id": "1", "task": "t"}, body, "web")
    assert described == Delivery(id="1", task="t", queue="web")


@pytest.mark.parametrize("headers", [{}, {"id": None}, {"id": 7}, {"id": ""}])
def test_a_message_without_a_readable_id_is_nobodys(headers: dict[str, Any]) -> None:
    assert describe_message(headers, None, "web") is None


def test_headers_that_bear_the_names_of_a_requests_own_attributes_do_no_harm() -> None:
    headers = {"id": "1", "headers": 5, "delivery_info": "x", "get": 1, "args": 2, "retries": "many", "eta": 9}
    assert describe_message(headers, None, "web") == Delivery(id="1", task="(unknown)", queue="web")
