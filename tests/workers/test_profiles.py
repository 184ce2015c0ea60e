"""Which worker serves what, and that `worker --profile NAME` serves as the profile says."""

import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tasks
from penstock import JobFailed
from penstock.app import PenstockApp
from penstock.task import declared_tasks
from tests.conftest import NewLedger, deployment, producer
from tests.live import ROOT, Worker, wait_for
from tests.workers import profile_tasks

PATIENCE = 30
# Importing `workers` would want a deployment.
PROFILES = runpy.run_path(str(ROOT / "workers/profiles.py"))["PROFILES"]


def test_every_queue_of_a_task_is_served() -> None:
    served = {queue for profile in PROFILES if not profile.by_hand for queue in profile.queues}
    modules = tuple(f"tasks.{module}." for module in tasks.__all__)
    for name, task in declared_tasks().items():
        if name.startswith(modules):
            assert task.defaults.queue in served, f"{name} would wait for ever on {task.defaults.queue!r}"


class Place:
    """A deployment and a producer, and its workers."""

    def __init__(self, app: PenstockApp, variables: dict[str, str], folder: Path) -> None:
        self.app = app
        self.variables = variables
        self.folder = folder

    def worker(self, *options: str, app: str = "tests.workers.profile_app") -> Worker:
        """A worker that is still to be entered."""
        log = self.folder / "worker.log"
        return Worker(self.variables, log, "--without-mingle", *options, app=app, children=None)

    def asked(self, question: str) -> tuple[str, Any]:
        """The name of the one worker, and its answer to `celery inspect`."""
        inspect = self.app.control.inspect(timeout=5, limit=1)
        ((name, answer),) = wait_for(lambda: getattr(inspect, question)(), "the worker answers").items()
        return name, answer


@pytest.fixture
def place(broker_url: str, new_ledger: NewLedger, tmp_path: Path) -> Iterator[Place]:
    with new_ledger("sqlite") as url:
        variables = deployment(broker_url, url, tmp_path)
        with producer(variables) as app:
            yield Place(app, variables, tmp_path)


@contextmanager
def held(queue: str, number: int, folder: Path) -> Iterator[list[Path]]:
    """So many jobs that run until the end; the files by which each tells that it does."""
    finish = folder / "finish"
    started = [folder / f"started-{i}" for i in range(number)]
    jobs = [profile_tasks.hold.options(queue=queue).enqueue(str(file), str(finish)) for file in started]
    yield started
    finish.touch()
    for job in jobs:
        job.result(timeout=PATIENCE)


@pytest.mark.slow
def test_a_worker_of_this_deployment_is_as_its_profile_says(place: Place) -> None:
    profile = next(profile for profile in PROFILES if profile.name == "io")
    with place.worker("--profile", "io", app="workers"):
        name, stats = place.asked("stats")
        assert name.startswith("io@")
        assert stats["pool"]["max-concurrency"] == profile.children
        assert [queue["name"] for queue in place.asked("active_queues")[1]] == list(profile.queues)


@pytest.mark.slow
def test_a_worker_serves_all_queues_of_its_profile_with_all_its_children(place: Place) -> None:
    with place.worker("--profile", "io"), held("web", 2, place.folder) as first:
        wait_for(lambda: all(file.exists() for file in first), "two jobs run at a time")
        with_the_third_child = profile_tasks.process.options(queue="mail").enqueue()
        assert with_the_third_child.result(timeout=PATIENCE)


@pytest.mark.slow
def test_the_command_line_wins_over_the_profile(place: Place) -> None:
    with place.worker("--profile", "io", "-Q", "other", "-n", "mine@here", "-c", "1"):
        name, stats = place.asked("stats")
        assert (name, stats["pool"]["max-concurrency"]) == ("mine@here", 1)
        assert [queue["name"] for queue in place.asked("active_queues")[1]] == ["other"]


@pytest.mark.slow
def test_a_worker_that_may_grow_does_while_there_is_more_to_do(place: Place) -> None:
    with place.worker("--profile", "growing"):
        assert place.asked("stats")[1]["pool"]["max-concurrency"] == 1
        with held("growing", 3, place.folder) as started:
            wait_for(lambda: all(file.exists() for file in started), "three jobs run at a time", PATIENCE)


@pytest.mark.slow
def test_a_job_is_told_to_stop_at_the_soft_limit(place: Place) -> None:
    with place.worker("--profile", "soft"):
        assert profile_tasks.overrun.options(queue="soft").enqueue().result(timeout=PATIENCE) == "told to stop"
        own_limit = profile_tasks.take_three_seconds.options(queue="soft").enqueue()
        assert own_limit.result(timeout=PATIENCE) == "done"


@pytest.mark.slow
def test_a_job_is_ended_at_the_hard_limit(place: Place) -> None:
    with place.worker("--profile", "hard"):
        job = profile_tasks.overrun.options(queue="hard").enqueue()
        with pytest.raises(JobFailed) as caught:
            job.result(timeout=PATIENCE)
        assert "TimeLimitExceeded" in str(caught.value.error_type)


@pytest.mark.slow
def test_a_child_makes_room_after_so_many_jobs(place: Place) -> None:
    with place.worker("--profile", "short-lived"):
        ran_in = [
            profile_tasks.process.options(queue="short-lived").enqueue().result(timeout=PATIENCE) for _ in range(5)
        ]
        assert ran_in[0] == ran_in[1] != ran_in[2] == ran_in[3] != ran_in[4]


@pytest.mark.slow
def test_a_child_that_has_grown_makes_room(place: Place) -> None:
    process, grow = (body.options(queue="small") for body in (profile_tasks.process, profile_tasks.grow))
    with place.worker("--profile", "small"):
        first = process.enqueue().result(timeout=PATIENCE)
        assert process.enqueue().result(timeout=PATIENCE) == first
        grow.enqueue(200)
        assert process.enqueue().result(timeout=PATIENCE) != first


def test_an_unknown_profile_is_one_line_and_starts_nothing(place: Place) -> None:
    command = [sys.executable, "-m", "celery", "-A", "workers", "worker", "--profile", "oi"]
    done = subprocess.run(command, env=place.variables, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["Error: there is no profile 'oi'; known: cpu, io, fetch, mixed"]


@pytest.mark.slow
def test_children_of_kind_asyncio_run_as_many_jobs_at_once_as_the_profile_says(place: Place, tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    with place.worker("--profile", "loop"):
        jobs = [profile_tasks.meet.options(queue="loop").enqueue(str(together), 20) for _ in range(20)]
        assert len({job.result(timeout=PATIENCE) for job in jobs}) == 1
