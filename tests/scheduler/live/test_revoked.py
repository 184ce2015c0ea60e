"""A job of a schedule is revoked while it waits in its queue: the schedule goes on without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from penstock.broker.keys import Keys
from penstock.job import State
from tests.conftest import producer
from tests.scheduler.live.beats import wait_for
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NAME = "one at a time"


@pytest.fixture
def ground(database: str, new_ground: NewGround) -> Iterator[Ground]:
    with new_ground(database, "single") as made:
        yield made


@contextmanager
def closed_queue(ground: Ground) -> Iterator[None]:
    """Inside of the block no worker claims anything."""
    keys = Keys()
    with redis.Redis.from_url(ground.broker_url) as client:
        gate = json.dumps({"paused": True, "by": "test", "at": 0, "note": ""})
        client.hset(keys.gates, "default", gate)
        yield
        client.hdel(keys.gates, "default")
        client.lpush(keys.wake("default"), 1)


def test_a_revoked_job_that_has_never_run_keeps_no_fire_from_starting(ground: Ground) -> None:
    with ground.worker():
        with closed_queue(ground), ground.beat(), producer(ground.environment) as app:
            wait_for(lambda: ground.books.started, "a job waits")
            (job,) = ground.books.started
            app.control.revoke(job)
            wait_for(lambda: ground.books.jobs.get(job) == State.CANCELLED, "the ledger has it as cancelled")
        wait_for(lambda: job not in ground.books.outbox, "nobody publishes it again")
        with ground.beat():
            wait_for(lambda: len(ground.books.started) > 2, "its schedule goes on")
