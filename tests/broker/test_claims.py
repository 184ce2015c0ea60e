"""A worker's claims over a real server: nothing is lost or doubled by lost replies, times or clocks that are wrong."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from penstock.broker.claims import Claims
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, Source, claim_reply
from tests.broker.settling import AtOnce

QUEUE, WORKER = "mail", "ant@host/00000001"
SOURCES = [Source(QUEUE, step) for step in (0, 3, 6, 9)]


@pytest.fixture
def scripts(server: redis.Redis) -> Scripts:
    made = Scripts(server, Keys())
    made.join(WORKER)
    return made


@pytest.fixture
def claims(scripts: Scripts) -> Claims:
    made = Claims("ant@host", Keys(), AtOnce(scripts))
    made.begin(WORKER)
    return made


def publish(scripts: Scripts, *ids: str, step: int = 0, **headers: Any) -> None:
    """Messages as a producer writes them, each in a call of its own."""
    for id in ids:
        properties = {"body_encoding": "utf-8", "delivery_info": {}}
        raw = json.dumps({"body": "[]", "headers": {"id": id, "task": "t", **headers}, "properties": properties})
        scripts.publish(f"p-{id}", 1, QUEUE, step, [(id, raw)])


def ask(claims: Claims, scripts: Scripts, count: int = 10) -> Any:
    """Sends the claim that is next; its reply is not taken in yet."""
    return scripts.call("claim", *claims.next_claim(SOURCES, count))


def claimed(claims: Claims, scripts: Scripts, count: int = 10) -> list[dict[str, Any]]:
    claims.receive(claim_reply(ask(claims, scripts, count)))
    return [payload for _, payload in claims.arrivals()]


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return [payload["headers"]["id"] for payload in payloads]


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_messages_come_in_order_and_the_urgent_ones_first(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "late", step=9)
    publish(scripts, "a", "b", "c")
    assert ids(claimed(claims, scripts)) == ["a", "b", "c", "late"]


def test_a_reply_that_is_lost_loses_and_doubles_nothing(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "a", "b")
    ask(claims, scripts, 1)
    ask(claims, scripts, 10)
    assert ids(claimed(claims, scripts)) == ["a"]
    assert ids(claimed(claims, scripts)) == ["b"]


def test_a_taker_that_fails_finds_the_rest_at_its_next_call(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "a", "b", "c")
    claims.receive(claim_reply(ask(claims, scripts)))
    arrivals = claims.arrivals()
    next(arrivals)
    arrivals.close()  # type: ignore[attr-defined]
    assert ids([payload for _, payload in claims.arrivals()]) == ["b", "c"]


def test_claimed_jobs_leave_the_waiting_index(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "a", "b")
    claimed(claims, scripts, 1)
    assert scripts.client.zrange(scripts.keys.waiting(QUEUE), 0, -1) == [b"b"]


def test_a_stock_producers_job_for_later_is_parked_by_the_servers_clock(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "later", eta=in_seconds(60))
    publish(scripts, "now", eta=in_seconds(-60))
    assert ids(claimed(claims, scripts)) == ["now"]
    assert scripts.client.zcard(scripts.keys.parked(QUEUE)) == 1
    assert claims.held == 1


@pytest.mark.parametrize("ahead_seconds", [3600, -3600])
def test_a_worker_with_a_wrong_clock_parks_and_delivers_by_the_servers(
    claims: Claims, scripts: Scripts, monkeypatch: pytest.MonkeyPatch, ahead_seconds: int
) -> None:
    publish(scripts, "due", eta=in_seconds(-1), expires=in_seconds(60))
    publish(scripts, "later", eta=in_seconds(60))
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead_seconds)
    (due,) = claimed(claims, scripts)
    assert due["headers"]["id"] == "due"
    # What Celery will compare with this host's clock has been shifted with it.
    eta, expires = (datetime.fromisoformat(due["headers"][name]).timestamp() for name in ("eta", "expires"))
    assert eta < right() + ahead_seconds < expires


def test_a_settled_claim_is_gone_and_cannot_be_settled_again(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "a")
    (payload,) = claimed(claims, scripts)
    token = payload["properties"]["delivery_tag"]
    assert claims.acknowledge(token)
    assert not claims.acknowledge(token)
    assert not scripts.client.keys("penstock:inflight:*")


def test_a_job_that_comes_back_tells_how_often_it_was_delivered(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "a")
    (payload,) = claimed(claims, scripts)
    claims.settle(payload["properties"]["delivery_tag"], "crash", "9")
    (again,) = claimed(claims, scripts)
    info = again["properties"]["delivery_info"]
    assert (info["deliveries"], info["crashes"], info["redelivered"]) == (1, 1, True)
    claims.acknowledge(again["properties"]["delivery_tag"])
    assert not scripts.client.exists(scripts.keys.deliveries)


def test_what_cannot_be_read_is_quarantined_and_the_rest_delivered(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "a")
    scripts.client.lpush(QUEUE, b"\xff not a message")
    publish(scripts, "b")
    assert ids(claimed(claims, scripts)) == ["a", "b"]
    (entry,) = scripts.client.lrange(scripts.keys.dead, 0, -1)
    kept = scripts.client.hgetall(scripts.keys.dead_entry(entry.decode()))
    assert (kept[b"kind"], kept[b"raw"]) == (b"quarantined", b"\xff not a message")


def test_a_worker_that_gives_up_its_claims_settles_none_of_them(claims: Claims, scripts: Scripts) -> None:
    publish(scripts, "a")
    (payload,) = claimed(claims, scripts)
    scripts.retire(WORKER, counted=True, crash_limit=3)
    claims.abandon([WORKER])
    assert not claims.acknowledge(payload["properties"]["delivery_tag"])
    assert scripts.client.llen(QUEUE) == 1


def test_an_acknowledged_message_of_the_outbox_is_forgotten_there(claims: Claims, scripts: Scripts) -> None:
    scripts.client.hset(scripts.keys.outbox, mapping={"a~1": "1", "b": "1", "c": "1"})
    publish(scripts, "a", outbox="a~1")
    publish(scripts, "b", outbox="b")
    first, second = claimed(claims, scripts)
    claims.acknowledge(first["properties"]["delivery_tag"])
    claims.settle(second["properties"]["delivery_tag"], "return")
    assert scripts.client.hkeys(scripts.keys.outbox) == [b"b", b"c"]
