"""Waiting without asking, being woken once, and making room: the transport's consuming half on a real server."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import kombu
import pytest
import redis

from penstock.broker import transport
from penstock.broker.claims import Claims
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, Settlement
from tests.live import wait_for
from tests.servers import Server, running

QUEUE = "mail"
CLAIMERS = 100


class Unsettled:
    """Notes settlements and calls no script, so that every script that the server counts is a claim."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []

    def settle(self, settlement: Settlement) -> None:
        self.settled.append(settlement)

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """The index does not matter here."""


class Claimer:
    """A worker's consuming connection in a thread of its own."""

    def __init__(self, server: Server, scripts: Scripts, name: str, prefetch: int = 0) -> None:
        transport.install()
        self.received: list[Any] = []
        self._ended = threading.Event()
        self._connection = kombu.Connection(server.url)
        self._claims = Claims(name, Keys(), Unsettled())
        self._prefetch = prefetch
        scripts.join(f"{name}/00000001")
        self._claims.begin(f"{name}/00000001")
        setattr(self._connection, transport.CLAIMS, self._claims)
        self._thread = threading.Thread(target=self._consume)

    def __enter__(self) -> "Claimer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._connection.close()

    def end(self) -> None:
        """Has it end soon."""
        self._ended.set()

    def _consume(self) -> None:
        channel = self._connection.default_channel
        consumer = kombu.Consumer(channel, [kombu.Queue(QUEUE, channel=channel)], on_message=self.received.append)
        if self._prefetch:
            consumer.qos(prefetch_count=self._prefetch)
        with consumer:
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    self._connection.drain_events(timeout=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("redis") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=str(server.path)) as client:
        client.flushall()
        yield client


@pytest.fixture
def scripts(client: Any) -> Scripts:
    return Scripts(client, Keys())


def raw(id: str) -> bytes:
    properties = {"body_encoding": "utf-8", "delivery_info": {"exchange": "", "routing_key": QUEUE}}
    return json.dumps({"body": "[]", "headers": {"id": id, "task": "t"}, "properties": properties}).encode()


def push(scripts: Scripts, id: str, tokens: int = 1) -> None:
    """As a publish does, with commands that do not count as scripts."""
    scripts.client.lpush(QUEUE, raw(id))
    for _ in range(tokens):
        scripts.client.lpush(scripts.keys.wake(QUEUE), 1)


def waiting(client: Any) -> int:
    return int(client.info("clients")["blocked_clients"])


def claims_made(client: Any) -> int:
    return int(client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def test_one_message_makes_one_of_a_hundred_idle_workers_claim(server: Server, client: Any, scripts: Scripts) -> None:
    with ExitStack() as stack:
        claimers = [stack.enter_context(Claimer(server, scripts, f"w{i}@host")) for i in range(CLAIMERS)]
        stack.callback(lambda: [claimer.end() for claimer in claimers])
        wait_for(lambda: waiting(client) == CLAIMERS, "all of them wait", 30)
        client.config_resetstat()
        push(scripts, "j1")
        wait_for(lambda: any(claimer.received for claimer in claimers), "one of them has the message")
        wait_for(lambda: waiting(client) == CLAIMERS, "all of them wait again")
        assert sum(len(claimer.received) for claimer in claimers) == 1
        assert claims_made(client) <= 2


def test_idle_workers_ask_for_nothing(server: Server, client: Any, scripts: Scripts) -> None:
    with Claimer(server, scripts, "ant@host"):
        wait_for(lambda: waiting(client) == 1, "it waits")
        client.config_resetstat()

        def has_waited_twice() -> bool:
            return int(client.info("commandstats").get("cmdstat_blpop", {}).get("calls", 0)) >= 2

        wait_for(has_waited_twice, "it has waited for a token twice")
        assert claims_made(client) == 0


def test_a_token_that_is_lost_costs_a_poll(
    server: Server, client: Any, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "POLL_SECONDS", 1.0)
    monkeypatch.setattr(transport, "WAKE_SECONDS", 1)
    with Claimer(server, scripts, "ant@host") as claimer:
        wait_for(lambda: waiting(client) == 1, "it waits")
        push(scripts, "j1", tokens=0)
        wait_for(lambda: claimer.received, "it has the message", 5)


def test_room_that_another_thread_makes_is_used_at_once(server: Server, client: Any, scripts: Scripts) -> None:
    with Claimer(server, scripts, "ant@host", prefetch=1) as claimer:
        for i in range(20):
            push(scripts, f"j{i}")
        begun = time.monotonic()
        for i in range(20):
            wait_for(lambda i=i: len(claimer.received) > i, f"message {i} is received")  # type: ignore[misc]
            claimer.received[i].ack()
        assert time.monotonic() - begun < 5
    assert [message.headers["id"] for message in claimer.received] == [f"j{i}" for i in range(20)]


def test_what_a_stock_worker_holds_is_left_to_the_keepers(server: Server, client: Any, scripts: Scripts) -> None:
    client.hset("unacked", "tag", json.dumps([json.loads(raw("old")), "", QUEUE]))
    client.zadd("unacked_index", {"tag": 1})
    with Claimer(server, scripts, "ant@host", prefetch=1) as claimer:
        push(scripts, "j1")
        wait_for(lambda: claimer.received, "it has the message")
        # While it is full it looks around often, which is when kombu would put back what looks abandoned.
        begun = time.monotonic()
        wait_for(lambda: time.monotonic() - begun > 0.5, "it has looked around")
        assert client.hlen("unacked") == 1
