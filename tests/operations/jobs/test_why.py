"""Why a job does not run, by commands and pages; with workers it is in tests/why."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from penstock.app import PenstockApp
from penstock.broker.keys import Keys
from penstock.errors import JobNotFound
from penstock.job import Reason, State
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import writing
from penstock.operations.broker import broker_of
from penstock.operations.jobs.cancel import cancel
from penstock.operations.jobs.why import why
from penstock.operations.queues import pause, resume
from tests import jobs as tasks
from tests.conftest import producer
from tests.ledger.making import end_attempt, start_attempt
from tests.live import wait_for

AGO = re.compile(r"\b\d+s ago\b")


def as_told(app: PenstockApp, id: str) -> str:
    """What happened a moment ago is told as happened now, however slow the machine is."""
    return AGO.sub("now", why(app, id).sentence)


def with_row(app: PenstockApp, id: str, outcome: Outcome | None) -> str:
    """A job with an attempt, and how that ended."""
    delivery = Delivery(id=id, task="tests.jobs.add", queue="default", args=[1, 2], kwargs={}, worker="here")
    with writing(app.settings.database_url) as connection:
        start_attempt(connection, delivery)
        if outcome:
            end_attempt(connection, delivery, outcome)
    return id


@contextmanager
def a_lease(app: PenstockApp) -> Iterator[None]:
    """As if a worker ran, inside of the block."""
    with broker_of(app) as scripts:
        scripts.join("there/1")
        yield
        scripts.client.delete(scripts.keys.leases)


@pytest.fixture
def waiting(app: PenstockApp) -> str:
    """A job that nobody claims."""
    return tasks.add.enqueue(1, right=2).id


def test_without_a_worker_that_is_the_reason(app: PenstockApp, waiting: str) -> None:
    found = why(app, waiting)
    assert found.sentence == "no worker runs, so nobody serves its queue default"
    assert (found.facts["Jobs before it"], found.facts["Workers"]) == (0, 0)


def test_the_jobs_before_it_are_counted(app: PenstockApp, waiting: str) -> None:
    def before() -> int:
        """What was enqueued in the same millisecond is neither before nor after."""
        later = tasks.add.enqueue(2, right=2).id
        return int(why(app, later).facts["Jobs before it"])

    wait_for(before, "a job has one before it")
    assert why(app, waiting).facts["Jobs before it"] == 0


def test_a_job_for_later_says_when_it_is_due(app: PenstockApp) -> None:
    later = tasks.add.options(delay=7000).enqueue(1, right=2).id
    found = why(app, later)
    assert found.sentence == "it is due in 1h"
    assert found.facts["Due"] > datetime.now(UTC) + timedelta(minutes=50)


def test_a_retry_says_when_it_is_due_and_after_how_many_attempts(app: PenstockApp) -> None:
    due = datetime.now(UTC) + timedelta(minutes=90)
    id = with_row(app, "one", Outcome(state=State.SCHEDULED, due=due))
    assert as_told(app, id) == "its retry, after 1 attempt, is due in 1h"
    assert why(app, id).facts["Due"] == due


def test_a_job_that_has_snoozed_says_until_when(app: PenstockApp) -> None:
    due = datetime.now(UTC) + timedelta(minutes=90)
    id = with_row(app, "one", Outcome(state=State.SCHEDULED, reason=Reason.SNOOZED, due=due))
    assert as_told(app, id) == "it has snoozed, and is due in 1h"


def test_a_paused_queue_says_who_paused_it_since_when_and_why(app: PenstockApp, waiting: str) -> None:
    pause(app, "default", "the bank is down", actor="otto")
    found = why(app, waiting)
    assert as_told(app, waiting) == "its queue default was paused now by otto (the bank is down)"
    assert (found.facts["Paused by"], found.facts["Note"]) == ("otto", "the bank is down")
    resume(app, "default", actor="otto")
    assert "paused" not in as_told(app, waiting)


def test_two_reasons_are_both_told(app: PenstockApp) -> None:
    later = tasks.add.options(delay=7000).enqueue(1, right=2).id
    pause(app, "default", "", actor="otto")
    assert as_told(app, later) == "it is due in 1h; its queue default was paused now by otto"


def test_a_cancelled_job_that_waits_says_who_ends_it_and_when(app: PenstockApp, waiting: str) -> None:
    cancel(app, [waiting], actor="otto", grace=10)
    assert as_told(app, waiting) == "it was cancelled, and no worker runs that would end it"
    with a_lease(app):
        assert as_told(app, waiting) == "it was cancelled, and a running worker ends it within about a second"


def test_a_job_that_celery_has_revoked_says_that_it_ends_when_it_is_claimed(app: PenstockApp, waiting: str) -> None:
    with broker_of(app) as scripts:
        scripts.revoke([waiting])
    assert as_told(app, waiting) == "it was revoked, and ends as soon as a worker claims it"


def test_a_cancelled_job_that_runs_says_that_it_is_asked_to_stop(app: PenstockApp) -> None:
    with a_lease(app):
        cancel(app, [with_row(app, "one", None)], actor="otto", grace=10)
        assert as_told(app, "one") == "it runs: it started now on here; it was cancelled, and is asked to stop"
    assert as_told(app, "one") == "it runs: it started now on here; it was cancelled, and does not start again"


def test_a_job_of_a_transaction_that_nobody_has_published_is_in_the_outbox(app: PenstockApp) -> None:
    engine = create_engine(app.settings.database_url)
    with Session(engine) as session:
        id = tasks.add.options(session=session).enqueue(1, right=2).id
        session.commit()
    engine.dispose()
    found = why(app, id)
    assert as_told(app, id).startswith("its message is in the outbox since now and not in Redis yet")
    assert isinstance(found.facts["In the outbox since"], datetime)


def test_a_job_that_has_ended_does_not_wait(app: PenstockApp) -> None:
    assert as_told(app, with_row(app, "one", Outcome(state=State.SUCCEEDED))) == "it has ended: succeeded now"


def test_a_job_that_runs_does_not_wait(app: PenstockApp) -> None:
    assert as_told(app, with_row(app, "one", None)) == "it runs: it started now on here"


def test_a_whole_id_is_not_the_beginning_of_another(app: PenstockApp) -> None:
    with_row(app, "job-12", Outcome(state=State.SUCCEEDED))
    app.send_task("tests.jobs.add", (1, 2), task_id="job-1")
    assert as_told(app, "job-1").startswith("no worker runs")
    assert as_told(app, "job-12") == as_told(app, "job-") == "it has ended: succeeded now"


def test_a_job_that_is_put_aside_for_another_reason_says_which(app: PenstockApp, waiting: str) -> None:
    with redis.Redis.from_url(app.settings.redis_url) as connection:
        connection.hset(Keys().blocked, waiting, "the key customer-7 is at its limit")
    assert as_told(app, waiting) == "it is put aside: the key customer-7 is at its limit"


def test_a_job_that_nobody_knows_is_refused(app: PenstockApp) -> None:
    with pytest.raises(JobNotFound, match="no job nobody: neither the ledger nor Redis"):
        why(app, "nobody")


def test_without_redis_that_is_said(environment: dict[str, str]) -> None:
    with producer({**environment, "REDIS_URL": "redis://127.0.0.1:1/0"}) as app:
        id = with_row(app, "one", Outcome(state=State.QUEUED))
        assert as_told(app, id) == "Redis does not answer, so nobody can claim it"
