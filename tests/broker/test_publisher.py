"""Publishing from a process: one call makes its jobs once, whatever happens to its reply, and ends in bounded time."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from penstock.broker.keys import Keys
from penstock.broker.publisher import KEPT, Patience, Producers
from penstock.broker.scripts import Scripts, script
from penstock.errors import BrokerUnavailable
from penstock.message import Template, check
from tests import servers
from tests.broker.test_connection import by_sentinel, by_socket, by_tls, watched
from tests.faults.proxy import Proxy
from tests.live import wait_for
from tests.servers import Server

QUEUE = "mail"
LIMIT = 1_000_000
SILENT_PORT = 1
HASTY = Patience(seconds=0.2)


@pytest.fixture(scope="module", params=servers.KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with servers.running(request.param, tcp=True) as running:
        yield running


@pytest.fixture
def inside(server: Server) -> Iterator[redis.Redis]:
    """A connection to the empty server, past any proxy."""
    with redis.Redis(port=server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def producers(server: Server, inside: redis.Redis) -> Producers:
    return Producers(f"redis://127.0.0.1:{server.port}/0")


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as running:
        yield running


def message(id: str = "1") -> tuple[str, bytes]:
    template = Template(task="tests.t", queue=QUEUE, priority=0, now=datetime.now(UTC))
    return id, template.unsealed(id, check("tests.t", (), {}, LIMIT))


def waiting(client: redis.Redis, key: str = QUEUE) -> list[dict[str, Any]]:
    """The messages of a list, first in line first."""
    raws: Any = client.lrange(key, 0, -1)
    return [json.loads(raw) for raw in reversed(raws)]


def ids(client: redis.Redis, key: str = QUEUE) -> list[str]:
    return [each["headers"]["id"] for each in waiting(client, key)]


def test_messages_keep_their_order_and_have_tags_of_their_own(producers: Producers, inside: redis.Redis) -> None:
    producers.publish(QUEUE, 0, [message("1"), message("2")])
    producers.publish(QUEUE, 0, [message("3"), message("4")])
    assert ids(inside) == ["1", "2", "3", "4"]
    assert len({each["properties"]["delivery_tag"] for each in waiting(inside)}) == 4


@pytest.mark.parametrize("form", [by_socket, by_tls, by_sentinel])
def test_every_form_of_address_is_served(form: Callable[[], Any]) -> None:
    with form() as place:
        producers = Producers(place.url, place.options)
        producers.publish(QUEUE, 0, [message("1")])
        producers.publish(QUEUE, 0, [message("2")])
        assert ids(producers.client) == ["1", "2"]


@pytest.mark.slow
def test_a_failover_that_sentinels_make_costs_no_call_that_waits_for_it() -> None:
    with servers.running("valkey", tcp=True) as master, ExitStack() as stack:
        replica = stack.enter_context(servers.running("valkey", "--replicaof", f"127.0.0.1 {master.port}", tcp=True))
        sentinel = stack.enter_context(watched(master))
        asked = stack.enter_context(redis.Redis(port=sentinel.port, decode_responses=True))
        wait_for(lambda: asked.sentinel_master("main")["num-slaves"] == 1, "the Sentinel has found the replica")
        producers = Producers(f"sentinel://127.0.0.1:{sentinel.port}", {"master_name": "main"})
        producers.publish(QUEUE, 0, [message("before")])
        with redis.Redis(port=replica.port) as client:
            wait_for(lambda: ids(client) == ["before"], "the replica has the job")
            master.process.kill()
            producers.publish(QUEUE, 0, [message("after")], patience=Patience(seconds=60))
            assert ids(client) == ["before", "after"]


def test_each_priority_has_kombus_list(producers: Producers, inside: redis.Redis) -> None:
    producers.publish(QUEUE, 6, [message()])
    assert ids(inside, f"{QUEUE}\x06\x166") == ["1"]


def test_every_key_has_kombus_prefix(server: Server, inside: redis.Redis) -> None:
    prefixed = Producers(f"redis://127.0.0.1:{server.port}/0", {"global_keyprefix": "app."})
    prefixed.publish(QUEUE, 0, [message()])
    assert all(key.startswith(b"app.") for key in inside.scan_iter())


def test_a_message_for_later_is_parked_while_a_worker_of_ours_lives(producers: Producers, inside: redis.Redis) -> None:
    Scripts(inside, Keys()).join("w/1")
    producers.publish(QUEUE, 0, [message()], due_ms=int(time.time() * 1000) + 60_000)
    assert (inside.llen(QUEUE), inside.zcard(Keys().parked(QUEUE))) == (0, 1)


def test_a_server_that_forgot_the_script_is_given_it_again(producers: Producers, inside: redis.Redis) -> None:
    producers.publish(QUEUE, 0, [message("1")])
    inside.script_flush()
    producers.publish(QUEUE, 0, [message("2")])
    assert ids(inside) == ["1", "2"]


def test_a_call_whose_reply_was_lost_makes_its_jobs_once(proxy: Proxy, inside: redis.Redis) -> None:
    producers = Producers(proxy.url)
    for number in range(20):
        proxy.dropped.clear()
        proxy.drop_reply_to("EVAL", f"job-{number}")
        producers.publish(QUEUE, 0, [message(f"job-{number}"), message(f"other-{number}")])
        assert proxy.dropped.wait(1), "the fault did not happen"
    assert ids(inside) == [id for number in range(20) for id in (f"job-{number}", f"other-{number}")]


def test_a_call_whose_every_reply_is_lost_makes_its_job_once_and_says_that_it_may_have(
    proxy: Proxy, inside: redis.Redis
) -> None:
    inside.script_load(script("publish").text)  # Or the lost replies might all be that it is missing.
    producers = Producers(proxy.url)
    losses = []

    def lose_each(stop: threading.Event) -> None:
        while not stop.is_set():
            proxy.dropped.clear()
            proxy.drop_reply_to("EVAL", "lost")
            if proxy.dropped.wait(0.1):
                losses.append(time.monotonic())

    stop = threading.Event()
    thread = threading.Thread(target=lose_each, args=(stop,))
    thread.start()
    wait_for(lambda: proxy._dropped, "the proxy is set")
    try:
        # The pauses are for the thread, which has to set the proxy again before each repeat.
        patience = Patience(seconds=5, repeats=2, first=0.3)
        with pytest.raises(BrokerUnavailable, match="may have taken the call all the same"):
            producers.publish(QUEUE, 0, [message("lost")], patience=patience)
    finally:
        stop.set()
        thread.join()
    assert len(losses) == 3
    assert ids(inside) == ["lost"]


def test_a_connection_that_was_cut_while_idle_costs_nothing(proxy: Proxy, inside: redis.Redis) -> None:
    producers = Producers(proxy.url)
    producers.publish(QUEUE, 0, [message("1")])
    proxy.cut()
    producers.publish(QUEUE, 0, [message("2")], patience=Patience(repeats=1))
    assert ids(inside) == ["1", "2"]


def test_a_connection_that_went_dead_costs_seconds_and_no_job(proxy: Proxy, inside: redis.Redis) -> None:
    producers = Producers(proxy.url)
    producers.publish(QUEUE, 0, [message("1")])
    proxy.freeze()
    started = time.monotonic()
    producers.publish(QUEUE, 0, [message("2")])
    assert time.monotonic() - started < 5
    assert ids(inside) == ["1", "2"]


def test_a_server_that_is_down_is_one_sentence_in_bounded_time() -> None:
    producers = Producers(f"redis://:geheim@127.0.0.1:{SILENT_PORT}/0")
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="start it or correct REDIS_URL") as raised:
        producers.publish(QUEUE, 0, [message()])
    assert time.monotonic() - started < 6
    assert "geheim" not in str(raised.value)
    assert "may have taken" not in str(raised.value)


def test_a_server_that_comes_back_in_time_takes_the_call(
    server: Server, inside: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()
    monkeypatch.setattr("penstock.broker.publisher.time.sleep", lambda _: refused.set())
    with Proxy(SILENT_PORT) as proxy:
        thread = threading.Thread(target=Producers(proxy.url).publish, args=(QUEUE, 0, [message()]))
        thread.start()
        assert refused.wait(5)
        proxy.retarget(server.port)
        thread.join()
    assert ids(inside) == ["1"]


def test_a_server_that_is_silent_is_one_sentence_in_bounded_time(server: Server, inside: redis.Redis) -> None:
    producers = Producers(f"redis://127.0.0.1:{server.port}/0")
    producers.publish(QUEUE, 0, [message("1")])
    os.kill(server.process.pid, 19)
    started = time.monotonic()
    try:
        with pytest.raises(BrokerUnavailable, match=r"start it or correct REDIS_URL.*may have taken"):
            producers.publish(QUEUE, 0, [message("2")])
        assert time.monotonic() - started < 8
    finally:
        os.kill(server.process.pid, 18)
    producers.publish(QUEUE, 0, [message("3")])
    assert sorted(ids(inside)) in (["1", "3"], ["1", "2", "3"])


def test_a_server_that_is_full_refuses_at_once_and_keeps_the_connection_in_step(
    producers: Producers, inside: redis.Redis
) -> None:
    producers.publish(QUEUE, 0, [message("1")])
    inside.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnavailable, match="is full and takes no new jobs"):
            producers.publish(QUEUE, 0, [message("2")])
    finally:
        inside.config_set("maxmemory", 0)
    producers.publish(QUEUE, 0, [message("3")])
    assert ids(inside) == ["1", "3"]


def test_a_replica_is_asked_until_it_is_a_master(producers: Producers, inside: redis.Redis) -> None:
    inside.replicaof("127.0.0.1", str(SILENT_PORT))
    try:
        with pytest.raises(BrokerUnavailable, match="is a replica"):
            producers.publish(QUEUE, 0, [message("1")], patience=HASTY)
        thread = threading.Thread(target=producers.publish, args=(QUEUE, 0, [message("2")]))
        thread.start()
    finally:
        inside.replicaof("NO", "ONE")
    thread.join()
    assert ids(inside) == ["2"]


class Stop(Exception):
    """What a time limit raises in the middle of a call."""


def test_a_call_that_was_broken_off_leaves_no_reply_for_the_next(
    producers: Producers, inside: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise Stop

    for place in ("read_answer", "_read", "connection.read_response"):
        producers.publish(QUEUE, 0, [message("1")])
        (producer,) = producers._idle
        *owner, name = place.split(".")
        with monkeypatch.context() as patch:
            patch.setattr(producer.connection if owner else producer, name, stop)
            with pytest.raises(Stop):
                producers.publish(QUEUE, 0, [message("2")])
        inside.config_set("maxmemory", 1)
        try:
            # A reply to the call before would say that this one was accepted.
            with pytest.raises(BrokerUnavailable, match="is full"):
                producers.publish(QUEUE, 0, [message("3")])
        finally:
            inside.config_set("maxmemory", 0)


def test_threads_publish_side_by_side(producers: Producers, inside: redis.Redis) -> None:
    def publish(name: int) -> None:
        for number in range(50):
            producers.publish(QUEUE, 0, [message(f"{name}-{number}")])

    threads = [threading.Thread(target=publish, args=(name,)) for name in range(2 * KEPT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids(inside))) == len(ids(inside)) == 50 * 2 * KEPT
    assert len({each["properties"]["delivery_tag"] for each in waiting(inside)}) == 50 * 2 * KEPT
    assert len(producers._idle) <= KEPT
    for name in range(2 * KEPT):
        assert [id for id in ids(inside) if id.startswith(f"{name}-")] == [f"{name}-{number}" for number in range(50)]


def test_a_forked_child_has_connections_and_numbers_of_its_own(producers: Producers, inside: redis.Redis) -> None:
    producers.publish(QUEUE, 0, [message("before")])
    children = []
    for child in range(4):
        if (pid := os.fork()) == 0:
            for number in range(25):
                producers.publish(QUEUE, 0, [message(f"{child}-{number}")])
            os._exit(0)
        children.append(pid)
    for number in range(25):
        producers.publish(QUEUE, 0, [message(f"parent-{number}")])
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    assert len(set(ids(inside))) == 1 + 5 * 25


def test_patience_ends_with_its_repeats_or_its_time() -> None:
    assert list(Patience(repeats=3, first=0.0, step=0.2, most=0.3).pauses(time.monotonic())) == [0.0, 0.2, 0.3]
    assert list(Patience(seconds=0.1, first=0.2).pauses(time.monotonic())) == []
    started = time.monotonic()
    for pause in Patience(seconds=0.3, step=0.05).pauses(started):
        time.sleep(pause)
    assert time.monotonic() - started < 0.4
