"""From the commit to the end of the job, with a real worker: nothing of it stays in the outbox or in Redis."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from penstock import Job, Task
from penstock.broker.keys import Keys
from penstock.broker.queues import pause
from penstock.broker.scripts import Scripts
from penstock.job import State
from penstock.ledger.session import reading
from penstock.ledger.tables import outbox as table
from tests import jobs
from tests.conftest import Live
from tests.live import wait_for

pytestmark = pytest.mark.slow


def enqueue(live: Live, task: Task[..., Any], *arguments: Any, **options: Any) -> Job[Any]:
    engine = create_engine(live.database_url)
    with Session(engine) as session:
        job = task.options(session=session, **options).enqueue(*arguments)
        session.commit()
    engine.dispose()
    return job


def is_forgotten(live: Live) -> Callable[[], bool]:
    """Whether neither side knows of a message that has not ended."""
    client = redis.Redis.from_url(live.app.settings.redis_url)

    def look() -> bool:
        with reading(live.database_url) as connection:
            kept = connection.execute(select(func.count()).select_from(table)).scalar_one()
        return kept == 0 and client.hlen(Keys().outbox) == 0

    return look


def test_a_committed_job_runs_and_leaves_nothing(live: Live) -> None:
    job = enqueue(live, jobs.add, 1, 2)
    assert job.result(10) == 3
    wait_for(is_forgotten(live), "the message is forgotten")


def test_so_does_one_that_is_tried_again(live: Live) -> None:
    job = enqueue(live, jobs.succeed_at, 2)
    assert job.result(15) == 2
    wait_for(is_forgotten(live), "the messages are forgotten")


def test_one_that_fails_leaves_nothing_either(live: Live) -> None:
    job = enqueue(live, jobs.fail, "no")
    wait_for(lambda: job.refresh().state is State.FAILED, "the job has failed")
    wait_for(is_forgotten(live), "the message is forgotten")


def test_a_job_for_later_starts_then(live: Live) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    job = enqueue(live, jobs.add, 1, 2, at=due)
    assert job.result(15) == 3
    assert job.row is not None
    assert job.row.started_at is not None
    assert job.row.started_at >= due - timedelta(milliseconds=50)


def test_jobs_that_redis_has_lost_run_all_the_same(live: Live) -> None:
    """The last of this module: the worker loses all that it has in Redis."""
    with redis.Redis.from_url(live.app.settings.redis_url) as client:
        scripts = Scripts(client, Keys())
        pause(scripts, "default", "a test")
        made = [enqueue(live, jobs.add, number, 0) for number in range(5)]
        wait_for(lambda: client.llen("default") == 5, "the jobs are ready")
        client.flushdb()
        assert [job.result(30) for job in made] == list(range(5))
    wait_for(is_forgotten(live), "the messages are forgotten")
    assert [row.attempts for job in made if (row := job.row)] == [1] * 5
