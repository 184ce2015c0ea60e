"""What becomes of messages that stock workers took: taken here by kombu itself."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from kombu.transport import redis as kombu_redis

from penstock.broker.envelope import read
from penstock.broker.unacked import adopt_unacked, unacked_size
from tests.broker.bench import Bench

PREFIX = {"global_keyprefix": "app."}


@pytest.fixture
def stock(bench: Bench, server_socket: Path) -> Iterator[kombu.Connection]:
    """A connection by kombu's own transport."""
    url = f"redis+socket://{server_socket}"
    with kombu.Connection(url, transport=kombu_redis.Transport, transport_options=PREFIX) as connection:
        yield connection


def take(connection: kombu.Connection, *bodies: str, priority: int = 0) -> list[Any]:
    """Publishes messages, takes them from their queue and does not acknowledge them."""
    queue = connection.SimpleQueue("mail")
    queue.queue.exchange.type = "direct"
    for body in bodies:
        queue.put(body, priority=priority)
    return [queue.get(timeout=5) for _ in bodies]


def back(bench: Bench, step: int = 0) -> list[str]:
    """The bodies in the ready list, first in line first."""
    raws = bench.client.lrange(bench.keys.ready("mail", step), 0, -1)[::-1]
    return [base64.b64decode(json.loads(raw)["body"]).decode() for raw in raws]


def test_what_a_stock_worker_holds_stays_its_own_before_its_time_is_up(bench: Bench, stock: kombu.Connection) -> None:
    take(stock, "a")
    assert adopt_unacked(bench.scripts, PREFIX) == 0
    assert unacked_size(bench.scripts, PREFIX) == 1
    assert back(bench) == []


def test_what_was_abandoned_for_the_visibility_timeout_comes_back(bench: Bench, stock: kombu.Connection) -> None:
    take(stock, "a")
    bench.client.zincrby("app.unacked_index", -3700, bench.client.zrange("app.unacked_index", 0, 0)[0])
    assert adopt_unacked(bench.scripts, PREFIX) == 1
    assert (back(bench), unacked_size(bench.scripts, PREFIX)) == (["a"], 0)


def test_at_once_all_come_back_in_their_order_in_front_of_what_waits(bench: Bench, stock: kombu.Connection) -> None:
    take(stock, "a")
    time.sleep(0.01)  # kombu orders by its clock.
    take(stock, "b")
    stock.SimpleQueue("mail").put("c")
    assert adopt_unacked(bench.scripts, PREFIX, at_once=True) == 2
    assert back(bench) == ["a", "b", "c"]
    assert not bench.client.exists("app.unacked", "app.unacked_index")


def test_at_once_also_brings_what_the_index_has_lost(bench: Bench, stock: kombu.Connection) -> None:
    take(stock, "a")
    bench.client.delete("app.unacked_index")
    assert adopt_unacked(bench.scripts, PREFIX, at_once=True) == 1
    assert back(bench) == ["a"]


def test_a_message_returns_to_its_priority(bench: Bench, stock: kombu.Connection) -> None:
    take(stock, "a", priority=6)
    adopt_unacked(bench.scripts, PREFIX, at_once=True)
    assert back(bench, step=6) == ["a"]


def test_a_message_that_comes_back_says_that_it_was_delivered_before(bench: Bench, stock: kombu.Connection) -> None:
    take(stock, "a")
    adopt_unacked(bench.scripts, PREFIX, at_once=True)
    (raw,) = bench.client.lrange("app.mail", 0, -1)
    payload = read(raw)
    assert payload["headers"]["redelivered"] is True
    assert payload["properties"]["delivery_info"]["redelivered"] is True


def test_without_its_binding_a_message_goes_to_the_queue_of_its_routing_key(
    bench: Bench, stock: kombu.Connection
) -> None:
    take(stock, "a")
    bench.client.delete("app._kombu.binding.mail")
    assert adopt_unacked(bench.scripts, PREFIX, at_once=True) == 1
    assert back(bench) == ["a"]


def test_an_index_entry_without_its_message_is_taken_away(bench: Bench) -> None:
    bench.client.zadd("app.unacked_index", {"gone": 1})
    assert adopt_unacked(bench.scripts, PREFIX) == 0
    assert not bench.client.exists("app.unacked_index")
