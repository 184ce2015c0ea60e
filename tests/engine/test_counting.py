"""Which messages are new jobs for the balance sheet: the first of each, by whichever way it is sent."""

import json
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
import redis
from celery import Celery, chain, chord, group, shared_task
from celery.app.task import Context

from penstock.broker import transport
from penstock.broker.keys import Keys
from penstock.engine import following
from penstock.ledger.collecting import collecting
from penstock.message import ENQUEUED_AT, GOES_ON

THEN = "2026-11-22T08:00:00+00:00"
KEYS = Keys()


def one(value: Any) -> Any:
    return value


# Not as a decorator: see test_amqp.py.
shared_task(name="tests.counting.one")(one)


@pytest.fixture
def app(broker_url: str) -> Iterator[Celery]:
    """A plain Celery application, whose tasks go our way."""
    made = Celery("tests.counting", broker=broker_url, set_as_current=False)
    made.amqp_cls = "penstock.engine.amqp:AMQP"
    yield made
    made.close()


def send(app: Celery, id: str = "1", **options: Any) -> None:
    app.tasks["tests.counting.one"].apply_async((1,), task_id=id, **options)


def headers(broker: redis.Redis) -> dict[str, Any]:
    """Those of the newest message."""
    raw: Any = broker.lindex("celery", 0)
    return dict(json.loads(raw)["headers"])


def accepted(broker: redis.Redis) -> int:
    return int(broker.hget(KEYS.tally, "accepted:celery") or 0)  # type: ignore[arg-type]


def indexed(broker: redis.Redis) -> Any:
    return broker.zrange(KEYS.waiting("celery"), 0, -1)


def test_a_first_message_is_a_new_job_and_says_since_when(app: Celery, broker: redis.Redis) -> None:
    send(app)
    assert (accepted(broker), indexed(broker)) == (1, ["1"])
    assert headers(broker)[ENQUEUED_AT]


def test_a_retry_is_the_same_job_and_keeps_its_time(app: Celery, broker: redis.Redis) -> None:
    send(app, retries=1, headers={ENQUEUED_AT: THEN})
    assert (accepted(broker), indexed(broker)) == (0, ["1"])
    assert headers(broker)[ENQUEUED_AT] == THEN


def test_a_retry_of_a_stock_producers_job_is_not_taken_for_ours(app: Celery, broker: redis.Redis) -> None:
    send(app, retries=1)
    assert (accepted(broker), indexed(broker)) == (0, [])
    assert ENQUEUED_AT not in headers(broker)


def test_what_a_job_sends_under_its_own_id_is_itself(app: Celery, broker: redis.Redis) -> None:
    with collecting("1"):
        send(app)
        send(app, "2")
    assert (accepted(broker), indexed(broker)) == (1, ["2"])


def test_the_last_of_a_chain_that_has_replaced_a_job_is_that_job(app: Celery, broker: redis.Redis) -> None:
    with collecting("of the chain"):
        send(app, headers={GOES_ON: "1", ENQUEUED_AT: THEN})
        assert headers(broker)[ENQUEUED_AT] == THEN
        send(app, "of stock", headers={GOES_ON: "of stock", ENQUEUED_AT: None})
    assert (accepted(broker), indexed(broker)) == (0, ["1"])


def test_headers_that_somebody_copies_make_no_job_another_one(app: Celery, broker: redis.Redis) -> None:
    send(app, "2", headers={GOES_ON: "1"})
    assert accepted(broker) == 1


@pytest.mark.parametrize(
    ("retries", "time", "expected"), [(0, None, (1, ["1"])), (1, THEN, (0, ["1"])), (1, None, (0, []))]
)
def test_what_goes_kombus_way_counts_alike(
    broker_url: str, broker: redis.Redis, retries: int, time: str | None, expected: tuple[int, list[str]]
) -> None:
    transport.install()
    told = {"id": "1", "task": "t", "retries": retries, **({ENQUEUED_AT: time} if time else {})}
    with kombu.Connection(broker_url) as connection:
        connection.Producer().publish([[], {}, {}], routing_key="celery", headers=told)
    assert (accepted(broker), indexed(broker)) == expected
    assert (ENQUEUED_AT in headers(broker)) == (time is not None or not retries)


def test_a_follow_up_that_is_no_new_job_has_a_key_of_its_own() -> None:
    with collecting("1") as collection:
        assert collection.key_for("2", 0) == "2"
        assert collection.key_for("2", 3) == "2~3"
        first, second = (collection.key_for("2", 0, is_new=False) for _ in range(2))
    assert first.startswith("2~")
    assert first != second


@pytest.mark.parametrize("time", [THEN, None])
def test_whatever_replaces_a_job_its_last_task_says_that_it_goes_on(app: Celery, time: str | None) -> None:
    task = app.tasks["tests.counting.one"]
    request = Context({"id": "1", **({ENQUEUED_AT: time} if time else {})})
    replacements: list[tuple[Any, Any]] = [
        (task.s(1), lambda sig: sig),
        (chain(task.s(1), task.s()), lambda sig: sig.tasks[-1]),
        (chord([task.s(1)], task.s()), lambda sig: sig.body),
        (chain(task.s(1), group(task.s(), task.s()), task.s()), lambda sig: sig.tasks[-1].body),
    ]
    for sig, last in replacements:
        following._mark_last(sig, request)
        assert last(sig).options["headers"] == {GOES_ON: "1", ENQUEUED_AT: time}
    mine = task.s(1).set(headers={"mine": 1})
    following._mark_last(mine, request)
    assert mine.options["headers"]["mine"] == 1
