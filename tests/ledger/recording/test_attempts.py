"""How many attempts a job needed, and what became of each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.app.task import Context
from sqlalchemy import select

from penstock.job import Reason, State
from penstock.ledger.delivery import describe_delivery
from penstock.ledger.recording.attempts import KEPT_SNOOZES
from penstock.ledger.records import Record, Verdict
from penstock.ledger.rows import Failure, Outcome
from penstock.ledger.session import reading
from penstock.ledger.tables import attempts
from tests.ledger.making import CRASHED, SUCCEEDED, aside, end, running, start
from tests.ledger.recording.job import REQUEUED, RETRIED, Job

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SNOOZED = Outcome(state=State.SCHEDULED, reason=Reason.SNOOZED)
CANCELLED = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)


def rows(job: Job) -> list[str | None]:
    """Outcomes of the attempts that have rows of their own."""
    with reading(job.url) as connection:
        statement = select(attempts.c.outcome).where(attempts.c.job_id == job.id).order_by(attempts.c.number)
        return list(connection.execute(statement).scalars())


def ended_at_once(job: Job) -> list[Record]:
    return [end(job.claim())]


def shown_and_ended(job: Job) -> list[Record]:
    return [running(job.claim()), running(job.claim()), end(job.claim())]


def started_and_ended(job: Job) -> list[Record]:
    return [start(job.claim()), running(job.claim()), end(job.claim())]


def without_claim(job: Job) -> list[Record]:
    return [start(job.claim(None)), end(job.claim(None))]


def started_twice_without_claim(job: Job) -> list[Record]:
    return [start(job.claim(None)), start(job.claim(None)), end(job.claim(None))]


def retried(job: Job) -> list[Record]:
    return [end(job.claim(), RETRIED), start(job.claim("a:2", 1)), end(job.claim("a:2", 1))]


def crashed_unseen(job: Job) -> list[Record]:
    return [end(job.claim(), CRASHED), end(job.claim("a:2", 0, 1))]


def taken_over(job: Job) -> list[Record]:
    return [start(job.claim()), end(job.claim("a:2", 0, 1))]


def cancelled_while_it_ran(job: Job) -> list[Record]:
    return [start(job.claim()), end(job.claim(None), CANCELLED, started_at=None), end(job.claim())]


def cancelled_while_it_waited(job: Job) -> list[Record]:
    return [end(job.claim(None), CANCELLED, started_at=None)]


def cancelled_before_its_retry(job: Job) -> list[Record]:
    return [end(job.claim(), RETRIED), end(job.claim(None), CANCELLED, started_at=None)]


def started_and_put_aside(job: Job) -> list[Record]:
    return [start(job.claim()), aside(job.claim())]


def lost_and_put_aside(job: Job) -> list[Record]:
    return [start(job.claim()), aside(job.claim("b:1", 0, 1))]


@pytest.mark.parametrize(
    ("story", "outcomes", "own_rows"),
    [
        (ended_at_once, ["succeeded"], []),
        (shown_and_ended, ["succeeded"], []),
        (started_and_ended, ["succeeded"], []),
        (without_claim, ["succeeded"], []),
        (started_twice_without_claim, ["lost", "succeeded"], ["lost", "succeeded"]),
        (retried, ["retried", "succeeded"], ["retried", "succeeded"]),
        (crashed_unseen, ["crashed", "succeeded"], ["crashed", "succeeded"]),
        (taken_over, ["lost", "succeeded"], ["lost", "succeeded"]),
        (cancelled_while_it_ran, ["cancelled"], []),
        (cancelled_while_it_waited, [], []),
        (cancelled_before_its_retry, ["retried"], ["retried"]),
        (started_and_put_aside, ["blocked"], ["blocked"]),
        (lost_and_put_aside, ["lost"], ["lost"]),
    ],
)
def test_each_attempt_is_told_once(job: Job, story: Any, outcomes: list[str], own_rows: list[str]) -> None:
    """The only attempt of a job has no row of its own, which most jobs never need."""
    job.tell(*story(job))
    assert (job.outcomes, rows(job)) == (outcomes, own_rows)
    assert [attempt.number for attempt in job.attempts] == list(range(1, len(outcomes) + 1))
    assert job.row.attempts == len(outcomes)


@pytest.mark.parametrize("before", [[], ["crashed"]], ids=["first", "second"])
def test_an_attempt_that_runs_is_told_by_its_jobs_row(job: Job, before: list[str]) -> None:
    job.tell(*(end(job.claim(f"a:{n}", 0, n), CRASHED) for n, _ in enumerate(before)))
    job.tell(start(job.claim("b:1", 1, 2, worker="here"), started_at=NOON))
    *_, own = job.attempts
    assert (own.number, own.retries, own.deliveries, own.token, own.worker) == (len(before) + 1, 1, 2, "b:1", "here")
    assert (own.started_at, own.finished_at, own.outcome) == (NOON, None, None)


def test_an_attempt_keeps_its_place_its_times_and_its_error(job: Job) -> None:
    failure = Failure(type="E" * 300, message="no\x00", exception={})
    later = NOON + timedelta(seconds=3)
    claim = job.claim("a:1", 2, 1, worker="here")
    job.tell(start(claim, started_at=NOON))
    job.tell(end(claim, Outcome(state=State.SCHEDULED, failure=failure), started_at=NOON, at=later))
    (attempt,) = job.attempts
    assert (attempt.retries, attempt.deliveries, attempt.token, attempt.worker) == (2, 1, "a:1", "here")
    assert (attempt.started_at, attempt.finished_at) == (NOON, later)
    assert (attempt.error_type, attempt.error_message) == ("E" * 255, "no\ufffd")


def test_a_crash_is_told_of_the_worker_that_had_started_the_attempt(job: Job) -> None:
    """Who tells it knows neither the worker's name nor when the body began."""
    job.tell(start(job.claim(worker="there"), started_at=NOON))
    job.tell(end(job.claim(worker=None), CRASHED, started_at=None))
    (attempt,) = job.attempts
    assert (attempt.worker, attempt.started_at, attempt.outcome) == ("there", NOON, "crashed")


def test_a_lost_attempt_ends_when_the_next_one_has_its_job(job: Job) -> None:
    later = NOON + timedelta(minutes=1)
    job.tell(start(job.claim(worker="there"), started_at=NOON), start(job.claim("b:1", 0, 1), at=later))
    lost, _ = job.attempts
    assert (lost.worker, lost.token, lost.started_at, lost.finished_at) == ("there", "a:1", NOON, later)


@pytest.mark.parametrize("outcome", [RETRIED, REQUEUED, CRASHED, SUCCEEDED])
def test_an_attempt_that_never_started_does_not_count(job: Job, outcome: Outcome) -> None:
    assert job.tell(end(job.claim(), outcome, started_at=None)) == [Verdict.WON]
    assert (job.row.attempts, job.outcomes) == (0, [])


def test_a_job_that_snoozes_for_months_keeps_its_newest_attempts(job: Job) -> None:
    failed_at, last = 3, KEPT_SNOOZES + 20
    for number in range(last):
        outcome = RETRIED if number == failed_at else SNOOZED
        claim = job.claim(f"a:{number}", number)
        records = [start(claim, started_at=NOON), end(claim, outcome, started_at=NOON)]
        assert job.tell(*records) == [Verdict.WON] * 2
    kept = [attempt.number for attempt in job.attempts]
    assert kept == [failed_at + 1, *range(last - KEPT_SNOOZES + 1, last + 1)]
    assert job.tell(records[1]) == [Verdict.WON], "what is told again is known"
    assert (job.row.attempts, job.pair) == (last, (last, 0, None))


def test_a_job_that_has_snoozed_more_often_than_a_small_column_counts_goes_on(job: Job) -> None:
    told = describe_delivery(job.id, Context({"retries": 100_000, "task": "t", "headers": {}}))
    assert told.retries == 100_000
    job.tell(end(job.claim("a:1", 99_999), SNOOZED))
    assert job.tell(start(replace(told, queue=job.queue, token="b:1"))) == [Verdict.WON]


def test_attempts_of_nobodys_job_are_none(job: Job) -> None:
    assert job.attempts == []
