"""Jobs for later wait in Redis, whoever submitted them, and cost their worker nothing until they are due.

What is due at once wakes an idle worker, whoever submitted it.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.engine.station import QUEUE, Station
from tests.live import Worker, wait_for


@pytest.fixture(scope="module", autouse=True)
def worker(station: Station) -> Iterator[Worker]:
    with station.worker() as worker:
        wait_for(lambda: station.redis.exists(station.keys.promoter), "somebody promotes")
        yield worker


@pytest.mark.parametrize("producer", ["ours", "stock"])
def test_a_job_for_later_starts_when_it_is_due(station: Station, producer: str) -> None:
    app = station.app if producer == "ours" else station.stock
    due = time.time() + 1.0
    id = station.send("touch", app=app, countdown=1.0)
    wait_for(station.parked, "it is parked", 0.9)
    station.ended(id)
    late = station.starts(id)[0]["at"] - due
    assert 0 <= late < 1.0


@pytest.mark.parametrize("producer", ["ours", "stock"])
def test_jobs_for_later_take_no_room_in_the_worker(station: Station, worker: Worker, producer: str) -> None:
    app = station.app if producer == "ours" else station.stock
    for _ in range(60):
        station.send("touch", app=app, countdown=600)
    wait_for(lambda: station.parked() == 60 and station.quiet(), "all are parked and none is held")
    # More than the prefetch limit are put aside, and the worker has room for others.
    station.ended(station.send("touch"))
    (scheduled,) = (station.app.control.inspect(timeout=2).scheduled() or {}).values()
    assert scheduled == []
    station.redis.delete(station.keys.parked(QUEUE), station.keys.waiting(QUEUE))


def test_jobs_start_in_the_order_in_which_they_are_due(station: Station) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    ids = [station.send("touch", eta=due + timedelta(milliseconds=150 * i)) for i in (3, 1, 2, 0)]
    for id in ids:
        station.ended(id)
    by_time = sorted(ids, key=lambda id: station.starts(id)[0]["at"])
    assert by_time == [ids[3], ids[1], ids[2], ids[0]]


def test_a_job_that_expires_before_it_is_due_never_starts(station: Station, worker: Worker) -> None:
    id = station.send("touch", countdown=1.0, expires=0.5)
    wait_for(lambda: f"Discarding revoked task: engine.touch[{id}]" in worker.log, "it is discarded")
    wait_for(station.quiet, "it is settled")
    assert not station.starts(id)


def test_a_time_that_is_none_is_kept_with_its_reason(station: Station) -> None:
    id = station.send("touch", countdown=600)
    (member,) = wait_for(lambda: station.redis.zrange(station.keys.parked(QUEUE), 0, -1), "it is parked")
    message = json.loads(member.rsplit(b"\x1f", 1)[1])
    message["headers"]["eta"] = "next week"
    station.redis.delete(station.keys.parked(QUEUE))
    station.push(json.dumps(message).encode())
    (letter,) = wait_for(station.dead, "it is buried")
    assert letter[b"job"].decode() == id
    assert b"next week" in letter[b"reason"]


@pytest.mark.parametrize("producer", ["ours", "stock"])
def test_an_idle_worker_starts_at_once_whoever_submits(station: Station, producer: str) -> None:
    app = station.app if producer == "ours" else station.stock
    delays = []
    for _ in range(7):
        wait_for(station.quiet, "nothing is to be done")
        sent = time.time()
        id = station.send("touch", app=app)
        station.ended(id)
        delays.append(station.starts(id)[0]["at"] - sent)
    # The best of them, because a busy machine makes any of them late.
    assert sorted(delays)[1] < 0.1
