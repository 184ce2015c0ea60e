"""Messages of fires are on their queues right after the commit; a broker that is away delays nobody."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from penstock.broker.keys import Keys
from penstock.ledger.records import FollowUp
from penstock.outbox import outgoing
from penstock.scheduler import publishing
from penstock.scheduler.publishing import Publishing
from tests.live import wait_for
from tests.outbox.ground import QUEUE, follow_up, texts

NOWHERE = "redis://127.0.0.1:1/0"


def ready(broker: redis.Redis, prefix: str = "", queue: str = QUEUE) -> list[str]:
    """Texts of the messages that are ready, first in line first."""
    found: Any = broker.lrange(Keys(prefix).ready(queue, 0), 0, -1)
    return texts([each.encode() for each in found[::-1]])


@pytest.fixture
def publisher(broker_url: str) -> Iterator[Publishing]:
    """A thread that publishes."""
    made = Publishing(broker_url, {})
    made.start()
    yield made
    made.stop()


def these(*ids: str, queue: str = QUEUE) -> list[FollowUp]:
    return [follow_up(id, queue=queue) for id in ids]


def test_what_is_put_is_published_in_its_order(broker: redis.Redis, publisher: Publishing) -> None:
    publisher.put(these("a", "b"))
    publisher.put(these("c"))
    wait_for(lambda: ready(broker) == ["a", "b", "c"], "all are there")


def test_a_large_batch_goes_in_slices(
    broker: redis.Redis, publisher: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "SLICE", 2)
    publisher.put(these("a", "b", "c", "d", "e"))
    wait_for(lambda: ready(broker) == ["a", "b", "c", "d", "e"], "all are there")


def test_keys_have_the_deployments_prefix(broker_url: str, broker: redis.Redis) -> None:
    made = Publishing(broker_url, {"global_keyprefix": "ours:"})
    made.start()
    made.put(these("a"))
    made.stop()
    assert ready(broker, "ours:") == ["a"]


def test_what_somebody_else_has_published_is_not_published_again(broker: redis.Redis, publisher: Publishing) -> None:
    """The reconciler of a keeper has been faster."""
    publisher._scripts.publish_outbox([outgoing(each, "0123456789a.0") for each in these("a")])
    publisher.put(these("a", "b"))
    wait_for(lambda: ready(broker) == ["a", "b"], "the other one is there")


def test_every_publication_has_a_tag_of_its_own(broker: redis.Redis, publisher: Publishing) -> None:
    publisher.put(these("a", "b"))
    wait_for(lambda: len(ready(broker)) == 2, "both are there")
    found: Any = broker.lrange(Keys().ready(QUEUE, 0), 0, -1)
    assert len({raw[-20:] for raw in found}) == 2


def test_a_queue_that_takes_nothing_is_named_and_holds_up_no_other(
    broker: redis.Redis, publisher: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    broker.set("broken", "no list")
    publisher.put([*these("a", queue="broken"), *these("b")])
    wait_for(lambda: ready(broker) == ["b"], "the other one is there")
    wait_for(lambda: "job a waits in the outbox, for its queue takes none" in caplog.text, "it is named")


def test_a_broker_that_is_away_is_said_once_and_the_next_batch_is_tried(
    broker: redis.Redis, publisher: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    broker.set(Keys().outbox, "no hash")
    publisher.put(these("a"))
    wait_for(lambda: "jobs of schedules wait in the outbox" in caplog.text, "it is said")
    publisher.put(these("b"))
    wait_for(publisher._batches.empty, "that one is tried")
    broker.delete(Keys().outbox)
    publisher.put(these("c"))
    wait_for(lambda: ready(broker)[-1:] == ["c"], "the next one is there")
    assert len(caplog.messages) == 1


def test_a_broker_that_is_away_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    made = Publishing(NOWHERE, {})
    made.start()
    begun = time.monotonic()
    for _ in range(1000):
        made.put(these("a"))
    assert time.monotonic() - begun < 1
    wait_for(lambda: "Redis does not answer" in caplog.text, "it is said")
    made.stop()
    assert len(caplog.messages) == 1


def test_what_waits_has_a_bound() -> None:
    """Not started, so that nothing is taken out."""
    made = Publishing(NOWHERE, {})
    for _ in range(1000):
        made.put(these("a"))
    assert made._batches.qsize() == publishing.BACKLOG


def test_nothing_is_no_batch() -> None:
    made = Publishing(NOWHERE, {})
    made.put([])
    assert made._batches.empty()


def test_what_it_has_is_published_before_it_stops(broker_url: str, broker: redis.Redis) -> None:
    made = Publishing(broker_url, {})
    made.put(these("a"))
    made.put(these("b"))
    made.start()
    made.stop()
    assert not made.is_alive()
    assert ready(broker) == ["a", "b"]


def test_stopping_takes_a_moment_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody takes connections and says nothing."""
    monkeypatch.setattr(publishing, "LAST_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        made = Publishing(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", {})
        made.start()
        for _ in range(publishing.BACKLOG + 2):
            made.put(these("a"))
        begun = time.monotonic()
        made.stop()
        assert time.monotonic() - begun < 1
