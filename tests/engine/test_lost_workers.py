"""A worker or its keeper that dies, or is silent for a lease: nothing is lost, nothing runs twice at a time."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from penstock.broker.leases import leases
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.session import reading
from tests.engine.station import LEASE_SECONDS, POOLS, Station
from tests.live import Worker, wait_for


@pytest.fixture(autouse=True)
def _empty(station: Station) -> None:
    station.redis.flushdb()


@contextmanager
def killed_at_the_end(worker: Worker) -> Iterator[Worker]:
    """For a worker whose jobs never end."""
    with worker:
        try:
            yield worker
        finally:
            if worker.process is not None and worker.process.poll() is None:
                os.kill(worker.pid, signal.SIGCONT)
            worker.stop(signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether the process is there and more than its entry in the table."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_another_keeper_takes_over_when_one_is_killed(station: Station) -> None:
    end = station.gate("end")
    with station.worker() as worker:
        id = station.send("hold", str(end))
        station.started(id)
        (lease,) = station.leases()
        first = worker.keeper
        os.kill(first, signal.SIGKILL)
        end.touch()
        station.ended(id)
        wait_for(lambda: worker.keeper not in (0, first), "there is another keeper")
        wait_for(station.quiet, "the job is settled")
        assert station.leases() == [lease]
        station.ended(station.send("touch"))
    assert len(station.starts(id)) == 1


def test_what_a_keeper_took_to_its_grave_is_settled_by_the_next(station: Station) -> None:
    # So long a lease that nobody ends a keeper which stands still for a moment.
    with station.worker(options={"lease_seconds": 60.0}) as worker:
        station.ended(station.send("touch"))
        wait_for(station.quiet, "it is settled")
        first = worker.keeper
        os.kill(first, signal.SIGSTOP)
        ids = [station.send("touch") for _ in range(5)]
        for id in ids:
            station.ended(id)
        assert station.held() > 0
        os.kill(first, signal.SIGKILL)
        wait_for(station.quiet, "everything is settled")
    assert [len(station.starts(id)) for id in ids] == [1] * 5


@pytest.mark.parametrize("pool", POOLS)
def test_the_jobs_of_a_killed_worker_go_back_within_a_second_as_crashes(station: Station, pool: str) -> None:
    end = station.gate("end")
    with killed_at_the_end(station.worker("-P", pool, children=2)) as worker:
        station.ended(station.send("touch"))
        wait_for(station.quiet, "the first one is settled, so the keeper is up")
        ids = [station.send("hold", str(end)) for _ in range(2)]
        for id in ids:
            station.started(id)
        children = worker.children
        waiting = [station.send("touch") for _ in range(3)]
        if pool == "processes":  # Ours leaves in the queue what it cannot start.
            wait_for(lambda: station.held() == 5, "the worker holds all of them")
        worker.stop(signal.SIGKILL)
        # A second for us; the rest is the busy machine's.
        wait_for(lambda: station.held() == 0, "the claims are back", 2.0)
        assert station.ready() == ids + waiting
        wait_for(lambda: not any(map(runs, children)), "the children have ended", 1.0)
        wait_for(lambda: not station.leases(), "the lease has ended", 1.0)
    end.touch()
    with station.worker("-P", pool, children=2):
        for id in ids + waiting:
            station.ended(id)
    assert {start["deliveries"] for id in ids for start in station.starts(id)[-1:]} == {1}
    # What had not started has not crashed; only Celery's pools cannot tell.
    assert {station.starts(id)[-1]["deliveries"] for id in waiting} == {int(pool == "processes")}


def test_a_worker_that_was_stopped_for_too_long_gives_up_its_jobs(station: Station) -> None:
    end = station.gate("end")
    first = station.worker()
    with killed_at_the_end(first):
        id = station.send("hold", str(end))
        start = station.started(id)
        everybody = [first.pid, first.zygote, first.keeper, *first.children]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        with station.worker():
            again = station.started(id, 2, timeout=LEASE_SECONDS + 15)
            for pid in everybody:
                os.kill(pid, signal.SIGCONT)
            wait_for(lambda: not runs(start["pid"]), "the first attempt is ended")
            end.touch()
            finished = station.ended(id)
            wait_for(station.quiet, "the second attempt is settled")
            assert len(station.effects(id, "end")) == 1
            assert finished["pid"] == again["pid"]
            # It claims again, under another name.
            wait_for(lambda: len(station.leases()) == 2, "both have a lease")
            assert "taken away" in first.log


def test_a_daemon_of_a_job_keeps_a_dead_workers_claims_for_a_lease_at_most(station: Station) -> None:
    with killed_at_the_end(station.worker()) as worker:
        id = station.send("daemon", str(station.gate("never")))
        (effect,) = wait_for(lambda: station.effects(id, "daemon"), "the daemon runs")
        try:
            worker.stop(signal.SIGKILL)
            wait_for(lambda: station.ready() == [id], "the job is back", LEASE_SECONDS + 10)
            assert runs(effect["daemon"])
        finally:
            os.kill(effect["daemon"], signal.SIGKILL)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_is_told_to_end_gives_back_what_it_did_not_start(
    station: Station, kind: signal.Signals, pool: str
) -> None:
    end = station.gate("end")
    with killed_at_the_end(station.worker("-P", pool, worker_prefetch_multiplier=4)) as worker:
        if pool == "prefork":
            running, waiting = station.hoard(worker, end, waiting=3)
        else:
            running = station.send("hold", str(end))
            station.started(running)
            waiting = [station.send("touch") for _ in range(3)]
            wait_for(lambda: station.held() == 4, "the worker holds all of them")
        last = station.send("touch")
        os.kill(worker.pid, kind)
        if kind is signal.SIGTERM:
            wait_for(lambda: "Warm shutdown" in worker.log, "it is about to end")
            wait_for(lambda: not station.app.control.ping(timeout=0.3), "it listens to nobody, and claims no more")
            end.touch()
        assert worker.stop(kind) == 0 or kind is signal.SIGQUIT
        given_back = waiting if kind is signal.SIGTERM else [running, *waiting]
        assert station.ready() == [*given_back, last]
        assert len(station.effects(running, "end")) == (kind is signal.SIGTERM)
        assert not station.leases()
        left = {key.decode() for key in station.redis.keys("penstock:*")}
        shared = ("promoter", "watcher:", "producer:", "queues", "reaper", "server", "tally", "waiting:", "wake:")
        # What was started comes again as a second delivery, which asks the ledger before it starts.
        assert station.redis.hlen(station.keys.deliveries) == (kind is signal.SIGQUIT)
        shared += ("deliveries",)
        assert not [key for key in left if not key.startswith(tuple(f"penstock:{name}" for name in shared))]


@pytest.mark.parametrize("pool", POOLS)
def test_the_lease_of_a_worker_that_waits_for_its_jobs_says_so(booked: Station, pool: str) -> None:
    end = booked.gate("awaited")
    with killed_at_the_end(booked.worker("-P", pool)) as worker:
        booked.started(booked.send("hold", str(end)))
        assert [lease.draining_seconds for lease in leases(booked.scripts)] == [None]
        os.kill(worker.pid, signal.SIGTERM)
        wait_for(lambda: all(lease.draining_seconds is not None for lease in leases(booked.scripts)), "it says so")
        end.touch()
        assert worker.stop(signal.SIGTERM) == 0


def test_a_lease_that_begins_while_its_worker_waits_for_its_jobs_says_so_as_well(booked: Station) -> None:
    end = booked.gate("awaited-longer")
    with killed_at_the_end(booked.worker()) as worker:
        booked.started(booked.send("hold", str(end)))
        os.kill(worker.pid, signal.SIGTERM)
        wait_for(lambda: all(lease.draining_seconds is not None for lease in leases(booked.scripts)), "it says so")
        booked.redis.hset(booked.keys.server, mapping={"run_id": "another", "changed": 0})
        wait_for(lambda: len(leases(booked.scripts)) == 2, "there is another lease", LEASE_SECONDS + 10)
        wait_for(lambda: all(lease.draining_seconds is not None for lease in leases(booked.scripts)), "it says so")
        end.touch()
        assert worker.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("pool", POOLS)
def test_a_job_that_ended_with_its_worker_and_was_shown_as_running_ends_at_the_next(booked: Station, pool: str) -> None:
    def state() -> State | None:
        with reading(booked.ledger) as connection:
            row = queries.find_job(connection, id)
        return row.state if row else None

    end = booked.gate("ended-with-its-worker")
    with booked.worker("-P", pool) as first:
        id = booked.send("hold", str(end))
        wait_for(lambda: state() is State.RUNNING, "the ledger shows that it runs")
        first.stop(signal.SIGQUIT)
    end.touch()
    with booked.worker("-P", pool):
        wait_for(lambda: state() is State.SUCCEEDED, "the second attempt's outcome is written")
    assert len(booked.starts(id)) == 2
