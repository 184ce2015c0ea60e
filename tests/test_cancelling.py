"""Cancelling by the client: what it says and notes, with no worker there to do anything."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from penstock import Job
from penstock.actor import actor
from penstock.app import PenstockApp
from penstock.broker.keys import Keys
from penstock.cancelling import Meaning
from penstock.errors import ArgumentError, BrokerUnavailable, NotCancellable
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.rows import AuditRow, Outcome
from penstock.ledger.session import reading
from penstock.operations.jobs.cancel import cancel
from tests import jobs
from tests.conftest import producer
from tests.ledger.making import SUCCEEDED, delivery, end, write

ROOT = Path(__file__).parent.parent
NOWHERE = "redis://127.0.0.1:1/0"


def noted(app: PenstockApp, id: str) -> list[AuditRow]:
    with reading(app.settings.database_url) as connection:
        return queries.audit_of(connection, id)


def in_transaction(app: PenstockApp) -> Job[int]:
    engine = create_engine(app.settings.database_url)
    with Session(engine) as session:
        job = jobs.add.options(session=session).enqueue(1, 2)
        session.commit()
    engine.dispose()
    return job


@pytest.fixture
def away(environment: dict[str, str]) -> Iterator[PenstockApp]:
    """A producer that reaches no Redis."""
    with producer({**environment, "REDIS_URL": NOWHERE}) as made:
        yield made


def test_who_cancelled_and_why_is_noted_once_however_often_it_is_asked(app: PenstockApp, broker: redis.Redis) -> None:
    job = jobs.add.enqueue(1, 2)
    for _ in range(3):
        assert job.cancel(reason="wrong month", grace=7) is Meaning.CANCELLED_LATER
    (row,) = noted(app, job.id)
    assert (row.actor, row.action, row.details) == (actor(), "cancel", {"grace": 7, "reason": "wrong month"})
    job.cancel()
    assert [row.details for row in noted(app, job.id)][1:] == [{"grace": 10}]
    assert broker.zrange(Keys().revoked, 0, -1) == [job.id]


def test_a_job_is_cancelled_by_its_id_in_a_coroutine(app: PenstockApp) -> None:
    id = jobs.add.enqueue(1, 2).id
    assert asyncio.run(Job[int](id, "any").acancel("wrong month")) is Meaning.CANCELLED_LATER
    assert len(noted(app, id)) == 1


def test_a_job_that_has_ended_is_refused_and_has_its_row(app: PenstockApp) -> None:
    write(app.settings.database_url, end(delivery("one"), SUCCEEDED))
    job: Job[Any] = Job("one", "t")
    with pytest.raises(NotCancellable, match="succeeded"):
        job.cancel()
    assert job.state is State.SUCCEEDED
    assert noted(app, "one") == []


@pytest.mark.parametrize("reason", [Reason.EXPIRED, Reason.BODY])
def test_a_job_that_nobody_has_cancelled_is_refused_though_it_is_cancelled(app: PenstockApp, reason: Reason) -> None:
    write(app.settings.database_url, end(delivery("one"), Outcome(state=State.CANCELLED, reason=reason)))
    with pytest.raises(NotCancellable, match=rf"has already ended: cancelled \({reason}\)"):
        Job[Any]("one", "t").cancel()
    assert noted(app, "one") == []


@pytest.mark.parametrize("grace", [-1, float("inf"), float("nan"), 1e306, "5", True])
def test_a_grace_that_is_none_is_refused_before_anything_is_noted(app: PenstockApp, grace: Any) -> None:
    with pytest.raises(ArgumentError, match=r"grace is a number of seconds from 0 to .*, or None for as long as"):
        Job[Any]("one", "t").cancel(grace=grace)
    assert noted(app, "one") == []


@pytest.mark.parametrize("id", ["so long \ud800", "so long \x00"], ids=["surrogate", "nul"])
def test_an_id_that_nobody_can_have_is_refused_before_anything_is_noted(app: PenstockApp, id: str) -> None:
    job = jobs.add.enqueue(1, 2)
    with pytest.raises(ArgumentError, match="is the id of no job"):
        cancel(app, [job.id, id], actor="ann", grace=None)
    assert noted(app, job.id) == []


def test_without_redis_the_error_says_so_and_the_request_is_noted(away: PenstockApp) -> None:
    with pytest.raises(BrokerUnavailable, match="REDIS_URL"):
        Job[Any]("one", "t").cancel()
    assert [row.action for row in noted(away, "one")] == ["cancel"]


def test_a_job_of_the_outbox_is_cancelled_without_redis(away: PenstockApp) -> None:
    job = in_transaction(away)
    assert job.cancel() is Meaning.CANCELLED
    assert job.refresh().state is State.CANCELLED
    assert job.cancel() is Meaning.CANCELLED


def test_no_celery_is_loaded_to_cancel(environment: dict[str, str]) -> None:
    code = "import sys; from penstock import Job; print(Job('one', 't').cancel(), 'celery' in sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert output == f"{Meaning.CANCELLED_LATER} False\n"
