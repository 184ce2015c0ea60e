"""Who notices that Redis was restarted or replaced, and when."""

from typing import Any

import pytest
import redis

from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.engine.keeping.identity import last_change
from tests.engine.station import Station


@pytest.fixture
def scripts(broker: redis.Redis, broker_url: str) -> Scripts:
    return Scripts(redis.Redis.from_url(broker_url), Keys())


def test_a_server_that_is_seen_for_the_first_time_has_not_changed(scripts: Scripts) -> None:
    assert [last_change(scripts) for _ in range(2)] == [0, 0]


def test_a_server_under_another_identity_has_changed_once(scripts: Scripts, broker: Any) -> None:
    broker.hset(scripts.keys.server, mapping={"run_id": "another", "changed": 0})
    seen = [last_change(scripts) for _ in range(2)]
    assert seen[0] == seen[1] > 0


def test_a_worker_claims_nothing_from_a_changed_server_before_it_knows(booked: Station) -> None:
    """Not when its keeper finds out: what was settled before could be claimed, and run again, until then."""
    booked.redis.hset(booked.keys.server, mapping={"run_id": "another", "changed": 0})
    with booked.worker() as worker:
        booked.ended(booked.send("touch"))
        before, _, _ = worker.log.partition(" ready.")
        assert "looked up in the ledger" in before
