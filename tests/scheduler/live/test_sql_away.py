"""PostgreSQL ends connections, or is away for seconds: beats live on, and nothing is lost or comes twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from penstock.ledger.fires import FireState
from tests.scheduler.live.beats import Beat, together
from tests.scheduler.live.books import ON_TIME, Books
from tests.scheduler.live.clocks import OwnPostgres
from tests.scheduler.live.conftest import emptied
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CUTS = 12
BETWEEN_CUTS, AWAY = 0.25, 2.0
"""Seconds."""


@dataclass(frozen=True)
class Trouble:
    """What was there after a server had ended all connections again and again, and then was away itself."""

    ground: Ground
    beats: list[Beat]
    are_alive: list[bool]
    cut: int
    """Connections."""
    after_cuts: Books
    found: Books


@pytest.fixture(scope="module")
def trouble(live_broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trouble]:
    """Three beats, one schedule that they have to ask for its times, and no worker."""
    with emptied(live_broker_url) as broker_url, OwnPostgres() as server:
        ground = Ground(tmp_path_factory.mktemp("ground"), broker_url, server.ledger, "asked")
        beats = [ground.beat() for _ in range(3)]
        with together(*beats):
            ground.await_fires_of("asked", 1)
            cut = 0
            for _ in range(CUTS):
                cut += server.terminate_backends()
                time.sleep(BETWEEN_CUTS)  # As long as a connection lives then.
            ground.await_fires(20)
            after_cuts = ground.books
            server.stop()
            time.sleep(AWAY)
            assert server.start()
            ground.await_fires(60)
            ground.await_fires_of("asked", len(after_cuts.of("asked")) + 3)
            are_alive = [not beat.has_ended for beat in beats]
        yield Trouble(ground, beats, are_alive, cut, after_cuts, ground.books)


def test_beats_live_on(trouble: Trouble) -> None:
    assert trouble.are_alive == [True] * 3
    assert trouble.cut > CUTS


def test_every_planned_time_has_one_fire(trouble: Trouble) -> None:
    trouble.ground.judged()


def test_every_one_starts_its_job(trouble: Trouble) -> None:
    assert {fire.state for fire in trouble.found.fires} == {FireState.FIRED}


def test_connections_that_are_cut_make_no_fire_late(trouble: Trouble) -> None:
    assert trouble.after_cuts.latest < ON_TIME


def test_a_server_that_is_away_makes_fires_late_by_no_more_than_that(trouble: Trouble) -> None:
    assert trouble.found.latest < timedelta(seconds=AWAY) + 2 * ON_TIME


def test_each_outage_is_told_once(trouble: Trouble) -> None:
    for beat in trouble.beats:
        assert 0 < beat.log.count("schedules wait") <= beat.log.count("the ledger answers again") + 1
        assert "Traceback" not in beat.log


def test_each_job_runs_once(trouble: Trouble) -> None:
    with trouble.ground.worker():
        trouble.ground.assert_done_once()
