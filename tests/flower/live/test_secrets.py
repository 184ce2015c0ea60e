"""Secrets of jobs are on no page and in no answer of Flower, whether it has them from events, workers or results."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from penstock.job import State
from tests.conftest import producer
from tests.flower.live.asking import ask, by_password
from tests.flower.live.conftest import NewGround
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.secret_tasks import SECRET, be_refused, log_in, log_in_slowly
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
APP = "tests.flower.live.secret_app"
WORKER = "keeper-of-secrets@here"
TABLE = "/tasks/datatable?draw=1&start=0&length=100&order[0][column]=0"


def read(flower: Flower, path: str) -> str:
    """What somebody who looks on is shown."""
    answer = ask(flower.url, path, headers=by_password("vera"))
    assert answer.status == 200, (path, answer.text)
    return answer.text


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made:
        made.app = APP
        with made.worker("-E", "-n", WORKER, children=1):
            yield made
            made.gate.touch()


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        wait_for(lambda: WORKER in read(running, "/api/workers"), "the worker is known")
        yield running


@pytest.fixture(scope="module")
def jobs(ground: Ground, flower: Flower) -> dict[str, str]:
    """Jobs that Flower knows of from events: one that has succeeded, one that has failed, one that runs."""
    with producer(ground.environment):
        done = log_in.enqueue(SECRET, {"api_key": SECRET, "name": "sales"}).id
        failed = be_refused.enqueue(SECRET).id
        ground.await_end(done, State.SUCCEEDED)
        ground.await_end(failed, State.FAILED)
        running = log_in_slowly.enqueue(SECRET).id
    known = {"done": done, "failed": failed, "running": running}
    for id, state in ((done, "SUCCESS"), (failed, "FAILURE"), (running, "STARTED")):
        wait_for(lambda id=id, state=state: state in read_or_nothing(flower, f"/api/task/info/{id}"), f"{id} is known")
    return known


def read_or_nothing(flower: Flower, path: str) -> str:
    """The same, of what may not be there yet."""
    return ask(flower.url, path, headers=by_password("vera")).text


def test_events_are_kept_without_secrets(flower: Flower, jobs: dict[str, str]) -> None:
    told = json.loads(read(flower, f"/api/task/info/{jobs['done']}"))
    assert told["args"] == "('***', {'api_key': '***', 'name': 'sales'})"
    assert told["result"] == "{'user': 'vera', 'session_token': '***'}"
    assert SECRET not in json.loads(read(flower, f"/api/task/info/{jobs['failed']}"))["traceback"]


@pytest.mark.parametrize("path", ["/api/tasks", TABLE, "/tasks", "/history", "/workers", "/metrics"])
def test_a_list_of_jobs_shows_no_secret(flower: Flower, jobs: dict[str, str], path: str) -> None:
    assert SECRET not in read(flower, path)


@pytest.mark.parametrize("kind", ["done", "failed", "running"])
@pytest.mark.parametrize("path", ["/api/task/info", "/api/task/result", "/task", "/job"])
def test_no_page_of_a_job_shows_its_secret(flower: Flower, jobs: dict[str, str], path: str, kind: str) -> None:
    assert SECRET not in read(flower, f"{path}/{jobs[kind]}")


def test_a_result_is_answered_without_its_secrets(flower: Flower, jobs: dict[str, str]) -> None:
    answer = json.loads(read(flower, f"/api/task/result/{jobs['done']}"))
    assert answer["result"] == {"user": "vera", "session_token": "***"}
    failed = json.loads(read(flower, f"/api/task/result/{jobs['failed']}"))
    assert "ValueError" in failed["traceback"]


def test_what_a_worker_tells_of_its_jobs_is_without_secrets(flower: Flower, jobs: dict[str, str]) -> None:
    path = f"/api/workers?refresh=1&workername={WORKER}"
    wait_for(lambda: jobs["running"] in read(flower, path), "the job that runs is told of")
    (told,) = json.loads(read(flower, path))[WORKER]["active"]
    assert told["id"] == jobs["running"]
    assert SECRET not in read(flower, path)
    assert SECRET not in read(flower, f"/worker/{WORKER}")


def test_nothing_of_it_is_in_the_log(flower: Flower, jobs: dict[str, str]) -> None:
    assert jobs
    assert SECRET not in flower.log
