"""What a worker holds: asked for under one base until it is answered, settled once and under the right name."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock.broker.claims import Claims
from penstock.broker.envelope import Unreadable, read
from penstock.broker.keys import Keys
from penstock.broker.scripts import Claimed, ClaimReply, Settlement, Source

WORKER, LATER_WORKER, QUEUE = "ant@host/00000001", "ant@host/00000002", "mail"
HOUR_MS = 3_600_000


class Notes:
    """Notes what a keeper would be told."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.unindexed: list[tuple[str, str]] = []

    def settle(self, settlement: Settlement) -> None:
        self.settled.append(settlement)

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        self.unindexed += jobs


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def claims(notes: Notes) -> Claims:
    """The claims of a worker that has a lease."""
    made = Claims("ant@host", Keys(), notes)
    made.begin(WORKER)
    return made


def message(id: str = "j1", **headers: Any) -> bytes:
    """A message as kombu writes it."""
    properties = {"body_encoding": "base64", "delivery_info": {}}
    return json.dumps({"body": "W10=", "headers": {"id": id, **headers}, "properties": properties}).encode()


def receive(claims: Claims, *raws: bytes, base: int = 0, deliveries: int = 0, server_ahead_ms: int = 0) -> None:
    """An answer to the next claim."""
    claims.next_claim([Source(QUEUE, 0)], 10)
    now = int(time.time() * 1000) + server_ahead_ms
    messages = [Claimed(f"{base + i}:0", QUEUE, raw, deliveries, 0) for i, raw in enumerate(raws, 1)]
    claims.receive(ClaimReply(True, now, 0, messages))


def arrived(claims: Claims) -> list[dict[str, Any]]:
    return [payload for _, payload in claims.arrivals()]


def in_minutes(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def test_a_claim_is_asked_for_again_while_its_answer_is_missing(claims: Claims) -> None:
    asked = claims.next_claim([Source(QUEUE, 0)], 10)
    assert claims.next_claim([Source("other", 3)], 1) == asked


def test_the_next_claim_starts_after_the_last_token(claims: Claims) -> None:
    first = claims.next_claim([Source(QUEUE, 0)], 10)
    receive(claims, message("j1"), message("j2"))
    second = claims.next_claim([Source(QUEUE, 0)], 10)
    assert [place for place, (old, new) in enumerate(zip(first, second, strict=True)) if old != new] == [2]
    assert (first[2], second[2]) == (0, 2)


def test_a_claim_is_settled_once(claims: Claims, notes: Notes) -> None:
    receive(claims, message())
    assert claims.settle("1:0", "return")
    assert not claims.settle("1:0", "return")
    assert len(notes.settled) == 1


def test_what_an_older_incarnation_holds_is_settled_under_its_name(claims: Claims, notes: Notes) -> None:
    receive(claims, message())
    claims.begin(LATER_WORKER)
    claims.settle("1:0", "return")
    assert notes.settled == [Settlement(WORKER, QUEUE, "1:0", "return")]


def test_a_new_incarnation_goes_on_counting(claims: Claims) -> None:
    """Otherwise a late settlement of an old claim would end a new one."""
    receive(claims, message())
    claims.begin(LATER_WORKER)
    assert claims.next_claim([Source(QUEUE, 0)], 10)[:3] == [LATER_WORKER, LATER_WORKER, 1]


def test_what_was_taken_away_is_settled_by_nobody(claims: Claims, notes: Notes) -> None:
    receive(claims, message())
    assert claims.abandon([WORKER]) == ["1:0"]
    assert not claims.settle("1:0", "ack")
    assert (claims.held, notes.settled) == (0, [])


def test_what_cannot_be_read_is_quarantined_and_the_rest_is_delivered(claims: Claims, notes: Notes) -> None:
    receive(claims, b"not json", message("j2"))
    assert [payload["headers"]["id"] for payload in arrived(claims)] == ["j2"]
    assert [(settled.token, settled.verb) for settled in notes.settled] == [("1:0", "quarantine")]


def test_what_is_not_due_is_parked(claims: Claims, notes: Notes) -> None:
    receive(claims, message(eta=in_minutes(30)))
    assert arrived(claims) == []
    assert [(settled.token, settled.verb) for settled in notes.settled] == [("1:0", "park")]


def test_the_servers_clock_says_what_is_due(claims: Claims, notes: Notes) -> None:
    receive(claims, message(eta=in_minutes(30)), server_ahead_ms=HOUR_MS)
    assert len(arrived(claims)) == 1
    assert notes.settled == []


def test_times_arrive_by_the_clock_of_this_host(claims: Claims) -> None:
    """Celery compares them with that one, and would take the job for expired, or hold it."""
    receive(claims, message(expires=in_minutes(30)), server_ahead_ms=-HOUR_MS)
    (payload,) = arrived(claims)
    assert datetime.fromisoformat(payload["headers"]["expires"]) > datetime.now(UTC) + timedelta(minutes=80)


def test_the_count_of_a_redelivered_message_goes_with_its_claim(claims: Claims, notes: Notes) -> None:
    receive(claims, message(), deliveries=1)
    arrived(claims)
    claims.acknowledge("1:0")
    assert notes.settled == [Settlement(WORKER, QUEUE, "1:0", "ack_counted")]


def test_a_delivered_job_leaves_the_waiting_index(claims: Claims, notes: Notes) -> None:
    receive(claims, message("j1"))
    arrived(claims)
    assert notes.unindexed == [(QUEUE, "j1")]


def without(change: Callable[[dict[str, Any]], object]) -> bytes:
    payload = json.loads(message())
    change(payload)
    return json.dumps(payload).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"not json",
        b"[" * 100_000,
        b"\xff\xfe",
        b"[1, 2]",
        without(lambda payload: payload.pop("properties")),
        without(lambda payload: payload.pop("body")),
        without(lambda payload: payload.update(headers=[1])),
        without(lambda payload: payload.update(body="x")),
        without(lambda payload: payload["properties"].update(body_encoding="rot13")),
    ],
    ids=["text", "depth", "bytes", "list", "properties", "body", "headers", "base64", "encoding"],
)
def test_what_nobody_can_deliver_is_unreadable_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        read(raw)
