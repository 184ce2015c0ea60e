"""Revoking a job lasts: whether it waits, is parked or runs, and whoever is there to hear of it."""

from collections.abc import Iterator

import pytest

from tests.engine.station import POOLS, QUEUE, Station
from tests.live import Worker, wait_for


@pytest.fixture(scope="module", params=POOLS)
def worker(station: Station, request: pytest.FixtureRequest) -> Iterator[Worker]:
    with station.worker("-P", request.param) as worker:
        yield worker


def passed_over(station: Station, *ids: str) -> None:
    """Something that was sent later has ended, and these have not begun."""
    station.ended(station.send("touch"))
    wait_for(station.quiet, "everything is settled")
    assert [station.starts(id) for id in ids] == [[]] * len(ids)


def test_with_all_workers_down_a_revoked_job_never_starts(station: Station) -> None:
    waiting, stamped, parked = (
        station.send("touch"),
        station.send("touch", stamped_headers=["tenant"], tenant="south"),
        station.send("touch", countdown=1.0),
    )
    station.app.control.revoke([waiting, parked])
    station.app.control.revoke_by_stamped_headers({"tenant": "south"})
    with station.worker():
        passed_over(station, waiting, stamped, parked)


def test_a_worker_that_starts_later_knows_what_was_revoked(station: Station, worker: Worker) -> None:
    end = station.gate("end")
    running = station.send("hold", str(end))
    station.started(running)
    parked = station.send("touch", countdown=2.5, queue="later")
    station.app.control.revoke(parked)
    with station.worker("-Q", "later"):
        other = station.send("touch", queue="later", countdown=2.6)
        station.ended(other)
    assert not station.starts(parked)
    end.touch()
    station.ended(running)


@pytest.mark.usefixtures("worker")
def test_a_job_that_its_worker_holds_already_does_not_start(station: Station) -> None:
    end = station.gate("end")
    running = station.send("hold", str(end))
    station.started(running)
    reserved = station.send("touch")
    # Celery's pools claim it, ours leaves it in the queue.
    wait_for(lambda: station.held() + len(station.ready()) == 2, "both are there")
    station.app.control.revoke(reserved)
    wait_for(lambda: station.redis.zscore(station.keys.revoked, reserved), "it is noted")
    end.touch()
    station.ended(running)
    passed_over(station, reserved)


def test_a_running_job_is_ended_on_demand_and_does_not_come_back(station: Station, worker: Worker) -> None:
    id = station.send("hold", str(station.gate("never")))
    station.started(id)
    station.app.control.revoke(id, terminate=True)
    wait_for(station.quiet, "it is settled")
    station.ended(station.send("touch"))
    assert len(station.starts(id)) == 1
    assert not station.effects(id, "end")


def test_a_running_job_is_ended_though_nobody_told_its_worker(station: Station, worker: Worker) -> None:
    id = station.send("hold", str(station.gate("never")))
    station.started(id)
    # As when the message to the workers was lost: only Redis knows.
    station.redis.hset(station.keys.revoked_signals, id, "SIGTERM")
    station.scripts.revoke([id])
    wait_for(station.quiet, "it is settled", 5)
    assert not station.effects(id, "end")


@pytest.mark.usefixtures("worker")
def test_what_a_stock_client_revokes_is_noted_as_well(station: Station) -> None:
    id = station.send_stock("touch", countdown=600)
    wait_for(station.parked, "it is parked")
    station.stock.control.revoke(id)
    wait_for(lambda: station.redis.zscore(station.keys.revoked, id), "a worker has noted it")
    station.redis.delete(station.keys.parked(QUEUE))
