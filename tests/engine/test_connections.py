"""What happens to connections: they are cut, go silent, or their Redis restarts. Jobs are kept, and run once."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.station import POOLS, Station
from tests.faults.proxy import Proxy
from tests.live import Worker, wait_for

LEASE_SECONDS = 3.0


@pytest.fixture(scope="module")
def durable(folder: Path) -> Iterator[Station]:
    """A Redis that keeps everything in its AOF."""
    with Station(folder / "durable", appendonly="yes", appendfsync="always") as station:
        yield station


@pytest.fixture(scope="module")
def way(durable: Station) -> Iterator[Proxy]:
    """The worker's way to Redis; the producers have another."""
    with durable.proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module", autouse=True, params=POOLS)
def worker(durable: Station, way: Proxy, request: pytest.FixtureRequest) -> Iterator[Worker]:
    options = {"lease_seconds": LEASE_SECONDS}
    with durable.worker("-P", request.param, children=2, mingles=True, broker_url=way.url, options=options) as worker:
        yield worker


def run_once(station: Station, *ids: str) -> None:
    for id in ids:
        station.ended(id)
    wait_for(station.quiet, "everything is settled")
    assert [len(station.starts(id)) for id in ids] == [1] * len(ids)


def test_a_claim_whose_reply_is_lost_is_asked_for_again(durable: Station, way: Proxy) -> None:
    way.drop_reply_with("engine.touch")
    id = durable.send("touch")
    assert way.dropped.wait(10)
    run_once(durable, id)


def test_running_jobs_go_on_when_all_connections_are_cut(durable: Station, way: Proxy, worker: Worker) -> None:
    end = durable.gate("end")
    ids = [durable.send("hold", str(end)) for _ in range(2)]
    for id in ids:
        durable.started(id)
    before = worker.log.count("Connected to")
    assert way.cut() > 0
    wait_for(lambda: worker.log.count("Connected to") > before, "it has connected again")
    end.touch()
    run_once(durable, *ids, durable.send("touch"))


def test_it_consumes_again_within_seconds_when_connections_go_silent(durable: Station, way: Proxy) -> None:
    end = durable.gate("end")
    running = durable.send("hold", str(end))
    durable.started(running)
    assert way.freeze() > 0
    id = durable.send("touch")
    # Five seconds until the silence is noticed, and as many while Celery greets its neighbours over a silent one.
    durable.ended(id, timeout=15)
    end.touch()
    run_once(durable, running, id)


def test_scripts_that_redis_forgets_are_loaded_again(durable: Station) -> None:
    ids = []
    for _ in range(20):
        ids.append(durable.send("touch"))
        durable.redis.script_flush()
    run_once(durable, *ids)


def complaints(worker: Worker) -> int:
    """How often it has said that Redis does not do what it is asked."""
    return sum(worker.log.count(text) for text in ("connection to Redis lost", "Redis does not answer"))


def test_a_redis_that_refuses_to_write_for_a_while_ends_no_worker(durable: Station, worker: Worker) -> None:
    end = durable.gate("end")
    held = durable.send("hold", str(end))
    durable.started(held)
    before = complaints(worker)
    durable.redis.config_set("min-replicas-to-write", 1)
    try:
        wait_for(lambda: complaints(worker) > before, "a claim is refused")
    finally:
        durable.redis.config_set("min-replicas-to-write", 0)
    end.touch()
    run_once(durable, held, durable.send("touch"))
    assert worker.process is not None
    assert worker.process.poll() is None


def test_a_restart_of_redis_changes_nothing(durable: Station) -> None:
    end = durable.gate("end")
    running = [durable.send("hold", str(end)) for _ in range(2)]
    for id in running:
        durable.started(id)
    waiting = [durable.send("touch") for _ in range(5)]
    leases = durable.leases()
    durable.server.kill()
    assert durable.server.start()
    end.touch()
    run_once(durable, *running, *waiting)
    assert durable.leases() == leases


def test_a_redis_that_is_silent_for_three_leases_lets_nothing_start_twice(durable: Station) -> None:
    end = durable.gate("end")
    running = durable.send("hold", str(end))
    durable.started(running)
    durable.server.pause()
    time.sleep(3 * LEASE_SECONDS)  # The silence is what is tested; there is nothing to wait for.
    durable.server.resume()
    after = durable.send("touch")
    durable.ended(after, timeout=30)
    # Until a reaper has ticked for a whole lease it takes nobody's claims; then the worker has renewed.
    deadline = time.monotonic() + LEASE_SECONDS + 2
    wait_for(lambda: time.monotonic() > deadline or len(durable.starts(running)) > 1, "a lease is over")
    end.touch()
    run_once(durable, running, after)


def test_a_worker_that_starts_before_its_redis_waits_for_it(durable: Station, worker: Worker) -> None:
    durable.server.kill()
    late = durable.worker()
    late.begin()
    try:
        wait_for(lambda: "Cannot connect" in late.log, "it has tried")
        assert durable.server.start()
        late.await_ready()
    finally:
        late.stop()
    os.kill(worker.pid, 0)
