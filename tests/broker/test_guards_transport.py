"""The transport between Celery and the scripts: order, revocations before deliveries, and nothing left over."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import kombu
import pytest
import redis

from penstock.broker.claims import Claims
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, Source, claim_reply
from penstock.broker.transport import CLAIMS, Channel, install
from tests.broker.settling import AtOnce
from tests.live import wait_for
from tests.servers import Server, running

WORKER = "ant@host/00000001"


class Consuming:
    """A connection that claims from two queues; ``events`` is what has happened on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = redis.Redis(unix_socket_path=str(server.path))
        self.client.flushall()
        self.scripts = Scripts(self.client, Keys())
        self.claims = Claims("ant@host", Keys(), AtOnce(self.scripts), on_revoked=self._note_revoked)
        self.events: list[str] = []
        install()
        self.connection = kombu.Connection(server.url)
        setattr(self.connection, CLAIMS, self.claims)
        self.scripts.join(WORKER)
        self.claims.begin(WORKER)
        channel = self.connection.default_channel
        assert isinstance(channel, Channel)
        queues = [kombu.Queue(name, channel=channel) for name in ("mail", "post")]
        self.consumer = kombu.Consumer(channel, queues, on_message=self._note_message, accept=["json"])

    def publish(self, id: str, queue: str = "mail", priority: int = 0) -> None:
        """As a stock producer does."""
        with kombu.Connection(self.server.url) as connection:
            headers = {"id": id, "task": "t"}
            connection.Producer().publish([], routing_key=queue, headers=headers, priority=priority, serializer="json")

    def drain(self, count: int) -> list[str]:
        """Consumes until so many events are there."""

        def drained() -> bool:
            with suppress(TimeoutError):
                self.connection.drain_events(timeout=0.1)
            return len(self.events) >= count

        with self.consumer:
            wait_for(drained, f"{count} events")
        return self.events

    def close(self) -> None:
        self.connection.close()
        self.client.close()

    def _note_message(self, message: Any) -> None:
        self.events.append(message.headers["id"])
        message.ack()

    def _note_revoked(self, ids: list[str], stamps: list[tuple[str, str]]) -> None:
        self.events += [f"revoked {id}" for id in ids]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("valkey") as server:
        yield server


@pytest.fixture
def consuming(server: Server) -> Iterator[Consuming]:
    made = Consuming(server)
    yield made
    made.close()


def test_what_is_urgent_comes_first_whatever_its_queue(consuming: Consuming) -> None:
    for queue in ("mail", "post"):
        consuming.publish(f"{queue} later", queue, priority=9)
        consuming.publish(f"{queue} now", queue, priority=0)
    events = consuming.drain(4)
    assert [event.rpartition(" ")[2] for event in events] == ["now", "now", "later", "later"]


def test_a_revocation_is_known_before_its_job_is_delivered(consuming: Consuming) -> None:
    consuming.publish("j1")
    consuming.scripts.revoke(["j1"])
    assert consuming.drain(2) == ["revoked j1", "j1"]


def test_a_message_of_a_queue_that_was_cancelled_meanwhile_goes_back(consuming: Consuming) -> None:
    """Its claim was on its way when the consumer was cancelled, so that nobody takes the message here."""
    consuming.publish("j1")
    asked = consuming.claims.next_claim([Source("mail", 0)], 1)
    consuming.claims.receive(claim_reply(consuming.scripts.call("claim", *asked)))
    ((queue, payload),) = consuming.claims.arrivals()
    consuming.connection.transport._deliver(payload, queue)
    assert consuming.client.llen(consuming.scripts.keys.ready("mail", 0)) == 1
    assert not consuming.client.exists(consuming.scripts.keys.inflight(WORKER, "mail"))


def test_a_worker_without_a_lease_knows_that_it_has_none(consuming: Consuming) -> None:
    consuming.client.delete(consuming.scripts.keys.leases)
    consuming.publish("j1")

    def has_none() -> bool:
        with suppress(TimeoutError):
            consuming.connection.drain_events(timeout=0.1)
        return not consuming.claims.worker

    with consuming.consumer:
        wait_for(has_none, "it has none")
    assert consuming.events == []
