"""Breakers and the one worker that runs their jobs: which attempts count, and what becomes of probes that make none."""

import time

import pytest

from penstock.broker import breakers
from penstock.job import Reason, State
from tests.engine.breaker_bodies import PATIENT
from tests.engine.station import Station
from tests.engine.test_breakers import KINDS, aside, standing
from tests.engine.test_children import ended
from tests.live import wait_for


@pytest.fixture(autouse=True)
def _empty(booked: Station) -> None:
    booked.redis.flushdb()


def open_for_long(station: Station, task: str) -> str:
    """For much longer than this test takes; the first job that is put aside, as soon as the worker has heard of it."""
    station.scripts.trip(f"engine.{task}", PATIENT.rule, (PATIENT.failures, 0), "it was down", ())

    def first() -> str | None:
        id = station.send(task, 0)
        wait_for(lambda: station.effects(id, "end") or aside(station, task), "it has run, or is aside")
        return id if aside(station, task) else None

    return str(wait_for(first, "the worker has heard of it"))


def try_now(station: Station, task: str) -> None:
    """As if the pause were over."""
    station.redis.hset(station.keys.breaker(f"engine.{task}"), "next", 1)


@pytest.mark.parametrize("pool", [(), ("--pool", "processes")], ids=["ours", "celerys"])
def test_probes_that_make_no_attempt_leave_their_turn_to_the_next(booked: Station, pool: tuple[str, ...]) -> None:
    """One is revoked, one has expired, and one puts its work off: nobody waits another pause for their answer."""
    with booked.worker(*pool):
        revoked, dozing = open_for_long(booked, "doze"), booked.send("doze", 1)
        wait_for(lambda: aside(booked, "doze") == 2, "they are aside, in this order")
        until = time.time() + 2
        expiring = booked.send("doze", 0, expires=2)
        wait_for(lambda: aside(booked, "doze") == 3, "it is aside, and has not expired")
        last = booked.send("doze", 0)
        wait_for(lambda: aside(booked, "doze") == 4, "the last one is aside")
        booked.app.control.revoke(revoked)
        wait_for(lambda: time.time() > until, "it has expired")
        try_now(booked, "doze")
        booked.ended(last)
        booked.ended(dozing)
    assert [ended(booked, id).state for id in (revoked, expiring)] == [State.CANCELLED] * 2
    assert [len(booked.starts(id)) for id in (revoked, expiring, dozing, last)] == [0, 0, 2, 1]
    assert standing(booked, "doze") == breakers.CLOSED


@pytest.mark.parametrize("pool", [(), ("--pool", "processes")], ids=["ours", "celerys"])
def test_a_revoked_job_ends_though_its_breaker_is_open(booked: Station, pool: tuple[str, ...]) -> None:
    with booked.worker(*pool):
        open_for_long(booked, "doze")
        booked.close_queue()
        id = booked.send("doze", 0)
        booked.app.control.revoke(id)
        booked.open_queue()
        assert ended(booked, id).state is State.CANCELLED
    assert (aside(booked, "doze"), booked.starts(id)) == (1, [])


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_a_hard_limit_counts_once(booked: Station, kind: str) -> None:
    with booked.worker(**KINDS.get(kind, {})):
        for _ in range(2):
            assert ended(booked, booked.send("linger", time_limit=0.3)).reason is Reason.TIMEOUT
    # A keeper counts what it was told before it ends.
    assert breakers.failures_in_window(booked.scripts, "engine.linger") == 2


@pytest.mark.parametrize("kind", ["", "threads"])
def test_no_limit_strikes_while_an_attempt_is_told_of(booked: Station, kind: str) -> None:
    """A body has failed, and the limit is over before its error has said what it is."""
    path = booked.gate("told")
    with booked.worker(**KINDS.get(kind, {})) as worker:
        id = booked.send("mumble", str(path), soft_time_limit=0.3)
        wait_for(lambda: "Soft time limit (0.3s) exceeded" in worker.log, "the limit is over")
        time.sleep(0.2)  # For the child to hear of it, which it must not show.
        path.touch()
        assert ended(booked, id).error_type == "tests.engine.breaker_bodies.Slow"
