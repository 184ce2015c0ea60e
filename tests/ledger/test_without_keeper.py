"""Where no keeper writes for it, a process that runs jobs writes by itself."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from celery.app.trace import build_tracer

from penstock.app import PenstockApp
from penstock.job import Reason, State
from penstock.ledger.rows import Outcome
from tests import jobs
from tests.ledger.making import end, write
from tests.ledger.recording.job import Job


@pytest.fixture
def job(database_url: str) -> Job:
    return Job(database_url, uuid.uuid4().hex)


def run(app: PenstockApp, job: Job, task: str, *args: Any) -> None:
    """As a worker of a broker that is not ours would."""
    trace = build_tracer(task, app.tasks[task], app=app)
    trace(job.id, list(args), {}, {"id": job.id, "task": task, "is_eager": False, "hostname": "w@host"})


def test_a_job_is_told_by_its_start_and_its_end(app: PenstockApp, job: Job) -> None:
    run(app, job, jobs.add.name, 1, 2)
    assert (job.state, job.row.result, job.outcomes) == (State.SUCCEEDED, 3, ["succeeded"])


def test_a_job_that_has_ended_does_not_run(app: PenstockApp, job: Job, tmp_path: Path) -> None:
    cancelled = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)
    write(job.url, end(job.claim(None), cancelled, started_at=None))
    run(app, job, jobs.sleep.name, 0, str(tmp_path / "started"))
    assert not (tmp_path / "started").exists()
    assert job.state is State.CANCELLED
