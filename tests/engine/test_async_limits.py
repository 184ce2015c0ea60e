"""Limits and kills of tasks that are coroutines, where children are processes that run one job at a time."""

import os
import signal
from collections.abc import Iterator

import pytest

from penstock.job import State
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import Worker, wait_for

LIMIT = "billiard.exceptions.SoftTimeLimitExceeded"


@pytest.fixture(params=["prefork", "processes"])
def child(request: pytest.FixtureRequest, booked: Station) -> Iterator[Worker]:
    booked.redis.flushdb()
    with killed_at_the_end(booked.worker("-P", request.param)) as worker:
        yield worker


def test_a_soft_limit_is_an_exception_in_the_coroutine(booked: Station, child: Worker) -> None:
    end = booked.gate("told")
    result = booked.app.tasks["engine.stubborn"].apply_async((str(end),), soft_time_limit=0.3)
    assert result.get(timeout=30) == "told to stop"
    row = ended(booked, booked.send("cleanly", 0.1, soft_time_limit=0.3))
    assert (row.state, row.error_type, row.attempts) == (State.FAILED, LIMIT, 1)
    assert len(booked.effects(row.id, "last")) == 1
    assert ended(booked, booked.send("pause", 0)).state is State.SUCCEEDED


def test_a_coroutine_whose_process_is_killed_runs_again(booked: Station, child: Worker) -> None:
    end = booked.gate("end")
    id = booked.send("await", str(end))
    os.kill(booked.started(id)["pid"], signal.SIGKILL)
    booked.started(id, 2)
    end.touch()
    row = ended(booked, id)
    assert (row.state, row.deliveries) == (State.SUCCEEDED, 1)
    wait_for(booked.quiet, "everything is settled")
