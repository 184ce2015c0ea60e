"""Who notices that Redis was restarted or replaced, and when; and what else comes twice and runs once."""

from typing import Any

import pytest
import redis

from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.engine.keeping.identity import last_change
from penstock.message import REPLAY_OF
from tests.engine.station import POOLS, QUEUE, Station
from tests.live import wait_for


@pytest.fixture
def scripts(broker: redis.Redis, broker_url: str) -> Scripts:
    return Scripts(redis.Redis.from_url(broker_url), Keys())


def test_a_server_that_is_seen_for_the_first_time_has_not_changed(scripts: Scripts) -> None:
    assert [last_change(scripts) for _ in range(2)] == [0, 0]


def test_a_server_under_another_identity_has_changed_once(scripts: Scripts, broker: Any) -> None:
    broker.hset(scripts.keys.server, mapping={"run_id": "another", "changed": 0})
    seen = [last_change(scripts) for _ in range(2)]
    assert seen[0] == seen[1] > 0


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_does_not_run_again_what_a_changed_server_brings_back(booked: Station, pool: str) -> None:
    """It knows of the change before it claims anything; when its keeper finds out is too late."""
    settled = booked.send("touch")
    (message,) = booked.redis.lrange(QUEUE, 0, -1)
    with booked.worker("-P", pool):
        booked.ended(settled)
        wait_for(booked.quiet, "it is settled")
    booked.push(message)
    booked.redis.hset(booked.keys.server, mapping={"run_id": "another", "changed": 0})
    with booked.worker("-P", pool):
        booked.ended(booked.send("touch"))
        wait_for(booked.quiet, "everything is settled")
    assert len(booked.starts(settled)) == 1


@pytest.mark.parametrize("pool", POOLS)
def test_a_replay_that_was_sent_twice_because_nobody_had_noted_it_runs_once(booked: Station, pool: str) -> None:
    replay = {"task_id": f"replay-{pool}", "headers": {REPLAY_OF: f"old-{pool}"}}
    with booked.worker("-P", pool):
        for _ in range(2):
            booked.ended(booked.send("touch", **replay))
            wait_for(booked.quiet, "its message is done with")
    assert len(booked.starts(f"replay-{pool}")) == 1
