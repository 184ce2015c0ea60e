"""A timed run of Penstock counts only when the ledger and Redis say so."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, create_engine, insert, text

from benchmarks.comparison import leftovers
from benchmarks.comparison.catalogue import BARE_PENDING, OURS_PENDING
from benchmarks.conditions import BenchmarkError
from benchmarks.peers import bare_recorded
from penstock.broker.keys import PRIORITY_STEPS, Keys
from penstock.ledger.recording.columns import COLUMNS
from penstock.ledger.tables import jobs, outbox

JOBS = 3
KEYS = Keys()


@pytest.fixture
def ledger(database_url: str) -> Iterator[Engine]:
    """A ledger in which each of a few jobs has succeeded at its first attempt."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(insert(jobs), [row() for _ in range(JOBS)])
    yield engine
    engine.dispose()


def row(**changed: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    times = {"started_at": now, "finished_at": now, "updated_at": now}
    return {"id": str(uuid.uuid4()), "task": "note", "state": "succeeded", "attempts": 1} | times | changed


def test_each_job_once_and_nothing_left_counts(broker: redis.Redis, ledger: Engine) -> None:
    assert "3 rows, all first attempts" in leftovers.check(raw(broker), ledger, JOBS)


@pytest.mark.parametrize("jobs", [JOBS - 1, JOBS + 1])
def test_a_wrong_count_of_rows_is_refused(broker: redis.Redis, ledger: Engine, jobs: int) -> None:
    with pytest.raises(BenchmarkError, match=f"holds 3 rows of {jobs} jobs"):
        leftovers.check(raw(broker), ledger, jobs)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"attempts": 2}, "1 jobs took more than a first attempt"),
        ({"retries": 1}, "1 jobs took more than a first attempt"),
        ({"deliveries": 1}, "1 jobs took more than a first attempt"),
        ({"state": "failed", "reason": "error"}, "1 jobs have not succeeded"),
        ({"state": "running", "finished_at": None}, "1 jobs have not succeeded"),
    ],
)
def test_a_job_that_is_not_what_it_should_be_is_refused(
    broker: redis.Redis, ledger: Engine, changed: dict[str, Any], said: str
) -> None:
    with ledger.begin() as connection:
        connection.execute(insert(jobs), [row(**changed)])
    with pytest.raises(BenchmarkError, match=said):
        leftovers.check(raw(broker), ledger, JOBS + 1)


def test_a_second_attempt_on_the_books_is_refused(broker: redis.Redis, ledger: Engine) -> None:
    with ledger.begin() as connection:
        id = connection.execute(text("SELECT id FROM jobs LIMIT 1")).scalar_one()
        statement = "INSERT INTO attempts (job_id, number, started_at) VALUES (:id, 1, :now)"
        connection.execute(text(statement), {"id": id, "now": datetime.now(UTC)})
    with pytest.raises(BenchmarkError, match="more than a first attempt"):
        leftovers.check(raw(broker), ledger, JOBS)


def test_what_the_outbox_has_not_published_is_refused(broker: redis.Redis, ledger: Engine) -> None:
    message = {"key": "a", "job_id": "a", "task": "note", "queue": "celery", "step": 0, "payload": b"{}"}
    with ledger.begin() as connection:
        connection.execute(insert(outbox), [message | {"created_at": datetime.now(UTC)}])
    with pytest.raises(BenchmarkError, match="1 rows of the outbox are not published"):
        leftovers.check(raw(broker), ledger, JOBS)


@pytest.mark.parametrize("step", PRIORITY_STEPS)
def test_what_is_ready_is_refused(broker: redis.Redis, step: int) -> None:
    broker.lpush(KEYS.ready("celery", step), "a")
    with pytest.raises(BenchmarkError, match="1 messages are ready"):
        leftovers.check(raw(broker), None, JOBS)


def test_what_is_held_parked_or_put_aside_is_refused(broker: redis.Redis) -> None:
    broker.hset(KEYS.inflight("bee", "celery"), "1:0", "a")
    broker.zadd(KEYS.parked("celery"), {"a": 1})
    broker.lpush(KEYS.unknown_list("celery", 0, "note"), "a")
    broker.rpush(KEYS.dead, "a")
    broker.hset(KEYS.spool, "a", "[]")
    with pytest.raises(BenchmarkError) as refused:
        leftovers.check(raw(broker), None, JOBS)
    for word in ("inflight", "parked", "unknown", "dead", "spool"):
        assert f"penstock:{word}" in str(refused.value)


def test_what_a_worker_keeps_while_it_is_idle_is_not_refused(broker: redis.Redis) -> None:
    broker.zadd(KEYS.leases, {"bee@host/1": 1})
    broker.hset(KEYS.tally, "accepted:celery", 1)
    assert "nothing ready" in leftovers.check(raw(broker), None, JOBS)


def test_whatever_makes_a_queue_unsettled_is_checked() -> None:
    assert set(OURS_PENDING) <= {*leftovers.READY, *leftovers.HELD}
    assert set(leftovers.READY) == {KEYS.ready("celery", step) for step in PRIORITY_STEPS}
    assert BARE_PENDING


def test_the_bare_loop_writes_the_columns_of_the_ledger() -> None:
    assert set(bare_recorded.COLUMNS) == set(COLUMNS)


def raw(broker: redis.Redis) -> redis.Redis:
    """The same server as the harness sees it: bytes."""
    options = {**broker.connection_pool.connection_kwargs, "decode_responses": False}
    return redis.Redis(**{name: options[name] for name in ("host", "port", "db", "decode_responses")})
