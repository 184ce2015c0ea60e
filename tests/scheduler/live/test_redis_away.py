"""Redis is down, or silent: fires are decided on time all the same, and their jobs run when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from penstock.job import State
from tests.conftest import NewLedger
from tests.faults.servers import Server
from tests.scheduler.live.beats import together, wait_for
from tests.scheduler.live.books import AT_ONCE, ON_TIME, Books
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FIRES = 150
"""So many, of 25 a second, take longer than the time that a late one is allowed."""


@dataclass(frozen=True)
class Outage:
    """What was there when Redis was back."""

    ground: Ground
    found: Books
    started_last: list[str]
    """Jobs that were started when it was back."""


@pytest.fixture(scope="module")
def outage(database: str, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """Redis dies with all that it had, and is replaced by an empty one while two beats go on."""
    folder = tmp_path_factory.mktemp("ground")
    with new_ledger(database) as url, Server(folder / "redis") as server:
        ground = Ground(folder, server.url, url, "fast")
        with together(ground.beat(), ground.beat()):
            ground.await_fires(20)
            wait_for(ground.in_redis, "there is something to lose")
            server.kill()
            ground.await_fires(FIRES)
            server.start()
            before = set(ground.books.started)
            ground.await_fires(20)
        found = ground.books
        yield Outage(ground, found, [job for job in found.started if job not in before])


def test_every_planned_time_has_its_fire(outage: Outage) -> None:
    outage.ground.judged()


def test_no_fire_is_late(outage: Outage) -> None:
    assert outage.found.latest < ON_TIME
    assert outage.found.typical < AT_ONCE


def test_when_it_is_back_beats_publish_to_it_again(outage: Outage) -> None:
    assert set(outage.started_last) & set(outage.ground.in_redis())


def test_with_a_worker_each_job_runs_once_what_redis_has_lost_included(outage: Outage) -> None:
    assert len(outage.ground.in_redis()) < len(outage.found.started) - FIRES // 2
    with outage.ground.worker():
        outage.ground.assert_done_once()


@dataclass(frozen=True)
class Silence:
    """What was there after Redis had said nothing for a while; one schedule wanted to cancel a job meanwhile."""

    ground: Ground
    found: Books


@pytest.fixture(scope="module")
def silence(new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silence]:
    """Connections stay open and nothing is answered. No worker runs, so the job that is to be cancelled stays."""
    folder = tmp_path_factory.mktemp("ground")
    with new_ledger("sqlite") as url, Server(folder / "redis") as server:
        ground = Ground(folder, server.url, url, "cancelling")
        with together(ground.beat()):
            server.pause()
            ground.await_fires(FIRES)
            server.resume()
        yield Silence(ground, ground.books)


def test_a_silent_one_delays_no_fire_either(silence: Silence) -> None:
    assert silence.found.latest < ON_TIME
    assert silence.found.typical < AT_ONCE


def test_a_job_that_waits_in_a_silent_one_is_cancelled_later_and_the_newest_fire_starts(silence: Silence) -> None:
    first = silence.found.of("cancelling")[0]
    with silence.ground.beat(), silence.ground.worker():
        wait_for(lambda: silence.ground.books.jobs.get(first.job_id) == State.CANCELLED, "the first one is cancelled")
        wait_for(lambda: len(silence.ground.books.of("cancelling", first.state)) > 1, "another one is started")
        silence.ground.gate.touch()
