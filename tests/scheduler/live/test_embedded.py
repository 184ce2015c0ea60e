"""`celery worker -B`: a beat inside of a worker is one like the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.live import Worker
from tests.scheduler.live.beats import wait_for
from tests.scheduler.live.books import ON_TIME, Books
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Run:
    """What two workers, each with a beat, left behind."""

    ground: Ground
    during: Books
    after: Books
    codes: list[int]
    left: list[psutil.Process]


@pytest.fixture(scope="module")
def run(database: str, new_ground: NewGround) -> Iterator[Run]:
    with new_ground(database, "orderly") as ground:
        workers = [ground.worker("-B", "-n", f"w{number}@host") for number in range(2)]
        with workers[0], workers[1]:
            wait_for(lambda: len(ground.books.beats) == 2, "both beats are at work")
            ground.await_fires(60)
            during = ground.books
            everyone = [each for worker in workers for each in family(worker)]
            codes = [worker.stop() for worker in workers]
        _, left = psutil.wait_procs(everyone, timeout=5)
        yield Run(ground, during, ground.books, codes, left)


def family(worker: Worker) -> list[psutil.Process]:
    parent = psutil.Process(worker.pid)
    return [parent, *parent.children(recursive=True)]


def test_every_planned_time_has_one_fire(run: Run) -> None:
    run.ground.judged()


def test_no_fire_is_late(run: Run) -> None:
    assert run.during.latest < ON_TIME


def test_jobs_that_may_not_overlap_start_one_after_the_other(run: Run) -> None:
    assert len([fire for fire in run.after.of("one at a time") if fire.job_id]) > 1


def test_when_a_worker_ends_its_beat_does(run: Run) -> None:
    assert run.codes == [0, 0]
    assert run.left == []


def test_each_job_runs_once(run: Run) -> None:
    with run.ground.worker():
        run.ground.assert_done_once()
    run.ground.assert_told_times()
