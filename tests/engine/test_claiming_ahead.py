"""Children that run many jobs at once claim quick ones ahead; what waits in them for a place is nobody's secret."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penstock.job import State
from tests.engine.station import QUEUE, Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import Worker, wait_for

PLACES, QUICK, AHEAD = 2, 1000, 20
HOLDERS = {"threads": "plain", "asyncio": "await"}
"""Tasks that run until there is a file, by kinds of children."""
FOR_EVER = {"ENGINE_PATIENCE": "60"}
"""What waits in a child waits there, whatever runs."""

pytestmark = pytest.mark.parametrize("kind", HOLDERS)


class Scene(NamedTuple):
    """A child all of whose places are taken, and that has claimed others ahead."""

    worker: Worker
    first: Path
    """As soon as there is this file, the first of those that run ends."""
    end: Path
    """The same for the others."""
    running: list[str]
    behind: list[str]
    """All jobs that came after those, claimed or not."""

    def let_end(self) -> None:
        """All that runs."""
        self.first.touch()
        self.end.touch()


@pytest.fixture(autouse=True)
def _empty(booked: Station) -> None:
    booked.redis.flushdb()


@contextmanager
def taken(station: Station, kind: str, environment: dict[str, str] | None = None) -> Iterator[Scene]:
    """A queue of quick jobs, then some that fill all places, then others."""
    first, end = station.gate("first"), station.gate("end")
    for _ in range(QUICK):
        station.send("nothing")
    running = [station.send(HOLDERS[kind], str(path)) for path in (first, end)]
    behind = [station.send("touch") for _ in range(AHEAD)]
    settings: dict[str, Any] = {"penstock_kind": kind, "penstock_size": PLACES}
    with killed_at_the_end(station.worker(environment=environment, **settings)) as worker:
        for id in running:
            station.started(id)
        if environment:
            wait_for(lambda: PLACES < station.held() <= PLACES + AHEAD, "only those and some behind them are claimed")
        yield Scene(worker, first, end, running, behind)


def all_ran_once(station: Station, ids: list[str]) -> None:
    for id in ids:
        row = ended(station, id)
        assert (row.state, row.attempts, row.deliveries, len(station.starts(id))) == (State.SUCCEEDED, 1, 0, 1)
    wait_for(station.quiet, "everything is settled")


def come_at_once(station: Station, queue: str) -> None:
    """All jobs of a queue that nobody serves, while a claim waits with Redis for the first."""
    station.redis.pipeline().rename(queue, QUEUE).lpush(station.keys.wake(QUEUE), 1).execute()


def none_started(station: Station, scene: Scene) -> bool:
    return not any(station.starts(id) for id in scene.behind)


def test_what_waits_for_long_goes_back_in_its_order_for_others(booked: Station, kind: str) -> None:
    with taken(booked, kind) as scene:
        wait_for(lambda: booked.ready() == scene.behind, "all that waits is in the queue")
        assert booked.held() == PLACES
        with booked.worker():
            all_in_time = [booked.ended(id) for id in scene.behind]
        assert {end["pid"] for end in all_in_time}.isdisjoint(booked.children(scene.worker))
        scene.let_end()
        all_ran_once(booked, [*scene.running, *scene.behind])


def test_what_waits_goes_back_at_once_when_the_worker_ends(booked: Station, kind: str) -> None:
    with taken(booked, kind, FOR_EVER) as scene:
        os.kill(scene.worker.pid, signal.SIGTERM)
        wait_for(lambda: booked.ready() == scene.behind, "all that waits is in the queue")
        assert booked.held() == PLACES
        scene.let_end()
        assert scene.worker.process is not None
        assert scene.worker.process.wait(20) == 0
        assert none_started(booked, scene)
        for id in scene.running:
            assert (ended(booked, id).state, len(booked.starts(id))) == (State.SUCCEEDED, 1)


def test_what_waits_in_a_child_that_is_killed_has_not_begun(booked: Station, kind: str) -> None:
    with taken(booked, kind, FOR_EVER) as scene:
        (child,) = booked.children(scene.worker)
        os.kill(child, signal.SIGKILL)
        for id in scene.running:
            assert booked.started(id, 2)["deliveries"] == 1
        scene.let_end()
        all_ran_once(booked, scene.behind)


def test_what_is_revoked_while_it_waits_does_not_start(booked: Station, kind: str) -> None:
    with taken(booked, kind, FOR_EVER) as scene:
        first, *others = scene.behind
        booked.app.control.revoke(first)
        wait_for(lambda: booked.redis.zscore(booked.keys.revoked, first), "the revocation is known")
        booked.app.control.ping(timeout=1)
        scene.let_end()
        assert ended(booked, first).state is State.CANCELLED
        assert booked.starts(first) == []
        all_ran_once(booked, others)


def test_what_waits_when_its_breaker_opens_does_not_start(booked: Station, kind: str) -> None:
    with taken(booked, kind, FOR_EVER) as scene:
        booked.scripts.switch("engine.touch", "open", "ann", "")
        wait_for(lambda: booked.held() == PLACES, "it is in the queue, or put aside")
        scene.let_end()
        for id in scene.running:
            booked.ended(id)
        wait_for(lambda: not booked.ready(), "it is put aside")
        assert none_started(booked, scene)
        booked.scripts.switch("engine.touch", "closed", "ann", "")
        all_ran_once(booked, scene.behind)


@pytest.mark.parametrize("which", ["first", "end"])
def test_what_waits_begins_as_soon_as_one_place_is_free(booked: Station, kind: str, which: str) -> None:
    with taken(booked, kind, FOR_EVER) as scene:
        assert none_started(booked, scene)
        getattr(scene, which).touch()
        for id in scene.behind:
            booked.ended(id)
        scene.let_end()
        all_ran_once(booked, [*scene.running, *scene.behind])


def test_an_idle_child_claims_no_more_than_it_can_start(booked: Station, kind: str) -> None:
    """What nobody knows yet may be long, and others may be as idle."""
    end = booked.gate("end")
    for _ in range(QUICK):
        booked.send("nothing", queue="quick")
    ids = [booked.send(HOLDERS[kind], str(end), queue="long") for _ in range(PLACES + 5)]
    settings: dict[str, Any] = {"penstock_kind": kind, "penstock_size": PLACES}
    with killed_at_the_end(booked.worker(environment=FOR_EVER, **settings)):
        come_at_once(booked, "quick")
        wait_for(booked.quiet, "the quick ones are settled")
        come_at_once(booked, "long")
        for id in ids[:PLACES]:
            booked.started(id)
        assert (booked.ready(), booked.held()) == (ids[PLACES:], PLACES)
        end.touch()
        all_ran_once(booked, ids)
