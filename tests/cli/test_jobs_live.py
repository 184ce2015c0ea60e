"""`jobs retry` and `jobs cancel` with a real worker: what the ledger says afterwards."""

import base64
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import chain, chord

from penstock.actor import actor
from penstock.cli.audit import audit
from penstock.cli.jobs import jobs
from penstock.client import Job
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading
from tests import jobs as tasks
from tests.cli.conftest import run_with
from tests.conftest import Live
from tests.live import wait_for

pytestmark = pytest.mark.slow


def row(live: Live, id: str) -> JobRow | None:
    with reading(live.database_url) as connection:
        return queries.find_job(connection, id)


def ended(live: Live, id: str) -> JobRow:
    """The job's row once it is final."""

    def final() -> JobRow | None:
        found = row(live, id)
        return found if found and found.state.is_final else None

    found = wait_for(final, f"{id} ends")
    assert found is not None
    return found


def actions(live: Live, id: str) -> list[str]:
    with reading(live.database_url) as connection:
        return [entry.action for entry in queries.audit_of(connection, id)]


@contextmanager
def occupied(live: Live, folder: Path, children: int = 2) -> Iterator[list[Job[int]]]:
    """Every child of the worker is busy, so that what is submitted now waits; ended by force."""
    marks = [folder / uuid.uuid4().hex for _ in range(children)]
    busy = [tasks.sleep.enqueue(60, str(mark)) for mark in marks]
    wait_for(lambda: all(mark.exists() for mark in marks), "all children are busy")
    wait_for(lambda: all(row(live, job.id) for job in busy), "their starts are recorded")
    yield busy
    live.app.control.revoke([job.id for job in busy], terminate=True, signal="SIGTERM")
    for job in busy:
        ended(live, job.id)


def test_a_retried_job_runs_anew_under_an_id_of_its_own(live: Live) -> None:
    old = tasks.add.options(priority=3).enqueue(2, right=3)
    before = ended(live, old.id)
    result = run_with(live.app, jobs, "retry", old.id)
    assert result.exit_code == 0, result.stderr
    new = ended(live, result.stdout.split()[-1])
    assert new.id != old.id
    assert new.replay_of == old.id
    assert (new.task, new.args, new.kwargs, new.queue, new.priority) == (
        before.task,
        before.args,
        before.kwargs,
        before.queue,
        before.priority,
    )
    assert new.result == 5
    assert row(live, old.id) == before
    assert actions(live, old.id) == ["retry"]


def test_a_retry_of_a_retry_names_the_one_before_it(live: Live) -> None:
    first = ended(live, tasks.fail.enqueue("no").id)
    second = run_with(live.app, jobs, "retry", first.id).stdout.split()[-1]
    ended(live, second)
    third = run_with(live.app, jobs, "retry", second).stdout.split()[-1]
    assert ended(live, third).replay_of == second


def test_a_plain_celery_task_can_be_retried(live: Live) -> None:
    old = ended(live, live.app.send_task("tests.plain", (1, 2)).id)
    result = run_with(live.app, jobs, "retry", old.id)
    assert result.exit_code == 0, result.stderr
    assert ended(live, result.stdout.split()[-1]).replay_of == old.id


def test_a_waiting_job_is_cancelled_before_it_starts_and_can_be_retried_later(live: Live, tmp_path: Path) -> None:
    with occupied(live, tmp_path):
        waiting = tasks.add.enqueue(1, right=2)
        assert row(live, waiting.id) is None
        result = run_with(live.app, jobs, "cancel", waiting.id)
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"{waiting.id}: it will not start\n"
        wait_for(lambda: row(live, waiting.id), "it has ended while it waited")
    found = ended(live, waiting.id)
    assert (found.state, found.reason, found.attempts) == (State.CANCELLED, Reason.REVOKED, 0)
    retried = run_with(live.app, jobs, "retry", waiting.id)
    assert retried.exit_code == 0, retried.stderr
    assert ended(live, retried.stdout.split()[-1]).result == 3
    assert actions(live, waiting.id) == ["cancel", "retry"]


def test_terminate_stops_a_running_job(live: Live, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    job = tasks.sleep.enqueue(60, str(mark))
    wait_for(mark.exists, "the job runs")
    wait_for(lambda: row(live, job.id), "it is known to run, so that the beginning of its id is enough")
    result = run_with(live.app, jobs, "cancel", "--terminate", job.id[:8])
    assert result.exit_code == 0, result.stderr
    assert "is being stopped" in result.stdout
    found = ended(live, job.id)
    assert (found.state, found.reason) == (State.CANCELLED, Reason.REVOKED)
    assert actions(live, job.id) == ["cancel"]


def test_a_chosen_id_is_never_completed_to_that_of_another_job(live: Live, tmp_path: Path) -> None:
    until = tmp_path / "until"
    live.app.send_task("tests.progressing", (str(until),), task_id="nightly-10")
    wait_for(lambda: row(live, "nightly-10"), "the job runs")
    result = run_with(live.app, jobs, "cancel", "--terminate", "nightly-1")
    assert result.stdout.startswith("nightly-1: ")
    until.touch()
    assert ended(live, "nightly-10").state is State.SUCCEEDED


def test_a_running_job_is_asked_to_stop_and_its_row_says_who_wanted_that_and_why(live: Live, tmp_path: Path) -> None:
    job = live.app.send_task("tests.progressing", (str(tmp_path / "until"),))
    wait_for(lambda: row(live, job.id), "the job runs")
    result = run_with(live.app, jobs, "cancel", "--reason", "wrong month", job.id)
    assert result.stdout == f"{job.id}: it runs, and is asked to stop; after 10 s it is stopped\n"
    assert ended(live, job.id).state is State.CANCELLED
    shown = run_with(live.app, jobs, "show", job.id).stdout
    assert f"cancel by {actor()}" in " ".join(shown.split())
    assert "wrong month" in shown


def test_one_that_is_asked_gently_is_told_that_nobody_ends_it(live: Live, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    job = tasks.sleep.enqueue(60, str(mark))
    wait_for(lambda: row(live, job.id), "the job runs")
    result = run_with(live.app, jobs, "cancel", "--gently", job.id)
    assert result.stdout.endswith("it runs, and is asked to stop; nobody ends it\n")
    assert ended(live, job.id).state is State.CANCELLED


def test_gently_and_terminate_exclude_each_other(live: Live) -> None:
    result = run_with(live.app, jobs, "cancel", "--gently", "--terminate", "one")
    assert (result.exit_code, "give one of them" in result.stderr) == (2, True)


def test_of_several_the_ended_one_is_refused_and_the_others_are_cancelled(live: Live, tmp_path: Path) -> None:
    over = ended(live, tasks.add.enqueue(1, 2).id)
    mark = tmp_path / "started"
    running = tasks.sleep.enqueue(60, str(mark))
    wait_for(mark.exists, "the job runs")
    result = run_with(live.app, jobs, "cancel", "--terminate", over.id, running.id)
    assert result.exit_code == 1
    assert f"{over.id} has already ended: succeeded" in result.stderr
    assert ended(live, running.id).state is State.CANCELLED
    assert actions(live, over.id) == []


def push_as_a_stock_producer(live: Live, id: str) -> None:
    """An app in this process would go our way."""
    body = base64.b64encode(json.dumps([[1, 2], {}, {}]).encode()).decode()
    headers = {"id": id, "task": "tests.jobs.add", "lang": "py", "root_id": id, "parent_id": None, "group": None}
    properties = {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "default"}}
    message = {"body": body, "content-type": "application/json", "content-encoding": "utf-8", "headers": headers}
    with redis.Redis.from_url(live.app.settings.redis_url) as client:
        client.lpush("default", json.dumps({**message, "properties": {**properties, "delivery_tag": id}}))


def test_the_books_of_a_worker_are_balanced_when_all_is_quiet(live: Live) -> None:
    """With retries, a workflow, a job that is cancelled while it waits, and one of a stock producer."""
    add = live.app.tasks["tests.jobs.add"]
    made = [tasks.add.enqueue(1, 2).id, tasks.fail.enqueue("no").id, tasks.succeed_at.enqueue(2).id]
    made.append(chain(add.s(1, 2), add.s(3)).apply_async().id)
    made.append(chord([add.s(1, 2), add.s(3, 4)], live.app.tasks["tests.total"].s()).apply_async().id)
    later = tasks.add.options(delay=1).enqueue(1, 2).id
    run_with(live.app, jobs, "cancel", later)
    made.append(uuid.uuid4().hex)
    push_as_a_stock_producer(live, made[-1])
    for id in (*made, later):
        ended(live, id)

    def balanced() -> dict[str, Any] | None:
        result = run_with(live.app, audit, "--json")
        report: dict[str, Any] = json.loads(result.stdout)
        is_quiet = not sum(each["ready"] + each["parked"] + each["in_flight"] for each in report["queues"])
        return report if result.exit_code == 0 and is_quiet else None

    report = wait_for(balanced, "the books are balanced and nothing waits")
    assert report is not None
    (default,) = report["queues"]
    assert (default["difference"], default["elsewhere"], report["problems"]) == (0, 0, [])
    assert default["accepted"] == default["succeeded"] + default["failed"] + default["cancelled"]
    assert default["stock"]["succeeded"] >= 1
