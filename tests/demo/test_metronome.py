"""The demo's metronome notices a fire that is lost and a job that is doubled."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import delete

from demo import metronome
from demo.metronome import NAME, Metronome
from penstock.app import PenstockApp
from penstock.ledger.session import writing
from penstock.ledger.tables import fires
from tests import jobs
from tests.ledger.making import SUCCEEDED, delivery, end, write
from tests.live import wait_for
from tests.scheduler.ground import Ground

FIRES = 3


@pytest.fixture
def ground(app: PenstockApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.setattr(metronome, "PATIENCE", 0.0)  # Nobody ends a job while it counts.
    with Ground(app) as made:
        yield made


@pytest.fixture
def ticking(ground: Ground) -> Iterator[Metronome]:
    """A metronome some of whose fires have had their jobs, and a process that stands for the second beat."""
    second = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    made = Metronome(ground.app.settings, ground.app, jobs.start_another.name, second)
    made.await_both()

    def has_fired() -> bool:
        ground.fire_due()
        return len(ground.fires(NAME)) >= FIRES

    wait_for(has_fired, f"{FIRES} fires")
    for fire in ground.fires(NAME):
        ended = end(delivery(fire.job_id or "", task=jobs.start_another.name, schedule=NAME), SUCCEEDED)
        write(ground.url, ended)
    yield made
    second.kill()
    second.wait()


def test_fires_and_jobs_that_agree_add_up(ticking: Metronome) -> None:
    score = ticking.score()
    assert score.planned == score.fired >= FIRES
    assert (score.lost, score.doubled) == (0, 0)


def test_a_fire_that_is_lost_is_noticed(ticking: Metronome, ground: Ground) -> None:
    first = ground.fires(NAME)[0]
    with writing(ground.url) as connection:
        connection.execute(delete(fires).where(fires.c.planned_at == first.planned_at))
    score = ticking.score()
    assert score.lost == 1
    assert not score.is_right


def test_a_job_that_has_not_succeeded_is_noticed(ticking: Metronome, ground: Ground) -> None:
    ground.insert(
        ground.fire(0, name=NAME, job_id="of nobody", planned_at=ground.fires(NAME)[-1].planned_at.replace(year=2000))
    )
    assert ticking.score().lost == 1


def test_a_job_that_no_fire_names_is_noticed(ticking: Metronome, ground: Ground) -> None:
    write(ground.url, end(delivery("a second one", task=jobs.start_another.name, schedule=NAME), SUCCEEDED))
    assert ticking.score().doubled == 1


def test_the_second_beat_is_killed_once(ticking: Metronome) -> None:
    ticking.kill_one()
    assert ticking._second.returncode == -9
    ticking.kill_one()
