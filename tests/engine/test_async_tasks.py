"""Tasks that are coroutines, in every kind of pool that is not made for them: one at a time in a thread."""

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.job import State
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.live import Worker

POOLS = ("prefork", "processes", "threads", "solo", "gevent")


@pytest.fixture(scope="module", params=POOLS)
def worker(request: pytest.FixtureRequest, booked: Station) -> Iterator[Worker]:
    booked.redis.flushdb()
    # Patching for gevent makes Celery look for the project's own settings.
    environment = {"REDIS_URL": booked.server.url, "DATABASE_URL": "sqlite:///unused"}
    with booked.worker("-P", request.param, children=3, environment=environment) as worker:
        yield worker


def result_of(station: Station, task: str, *args: Any) -> Any:
    return station.app.tasks[f"engine.{task}"].apply_async(args).get(timeout=30)


def test_a_coroutine_returns_what_it_returns(booked: Station, worker: Worker) -> None:
    assert result_of(booked, "pause", 0.01) > 0


def test_job_and_task_and_context_are_its_own_while_others_run(booked: Station, worker: Worker) -> None:
    results = [booked.app.tasks["engine.mixed"].apply_async((number, 0.01)) for number in range(40)]
    for number, result in enumerate(results):
        assert result.get(timeout=30) == [[result.id, result.id, str(number)]] * 2


def test_a_coroutine_that_fails_is_tried_again_as_its_retry_says(booked: Station, worker: Worker) -> None:
    id = booked.send("retried")
    row = ended(booked, id)
    assert (row.state, row.attempts, len(booked.starts(id))) == (State.SUCCEEDED, 3, 3)


@pytest.mark.parametrize(
    ("task", "error"), [("fall", "ValueError"), ("cancel_itself", "penstock.errors.BodyCancelled")]
)
def test_a_coroutine_that_raises_fails_once_and_its_worker_goes_on(
    booked: Station, worker: Worker, task: str, error: str
) -> None:
    row = ended(booked, booked.send(task))
    assert (row.state, row.attempts, row.error_type) == (State.FAILED, 1, error)
    assert result_of(booked, "pause", 0) > 0
