"""How long a task takes as a rule, which the ledger knows of its jobs that have succeeded."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from penstock.app import PenstockApp
from penstock.ledger.session import writing
from penstock.ledger.tables import jobs
from penstock.operations.workers.look import FEWEST_JOBS, usual_seconds
from penstock.operations.workers.view import Child, Told
from tests.cli.conftest import Ledger


def running(task: str, seconds: float) -> list[Told]:
    """A worker that runs a job of the task for so long."""
    return [Told("a@b/1", True, ("default",), children=(Child(1, "running", job="now", task=task, seconds=seconds),))]


@pytest.fixture
def quick_jobs(database_url: str) -> Ledger:
    """So many jobs that they tell how long their task takes: next to no time."""
    ledger = Ledger(database_url)
    for number in range(FEWEST_JOBS):
        ledger.succeed(f"job-{number}", task="tests.quick")
    ledger.succeed("seldom", task="tests.seldom")
    return ledger


@pytest.mark.usefixtures("quick_jobs")
def test_jobs_that_have_succeeded_tell_how_long_their_task_takes(app: PenstockApp) -> None:
    (seconds,) = usual_seconds(app, running("tests.quick", 600.0)).values()
    assert 0 <= seconds < 60


@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize(("task", "seconds"), [("tests.seldom", 600.0), ("tests.quick", 30.0)])
def test_nothing_is_asked_or_said_of_few_jobs_and_of_short_ones(app: PenstockApp, task: str, seconds: float) -> None:
    assert usual_seconds(app, running(task, seconds)) == {}


@pytest.mark.usefixtures("quick_jobs")
def test_a_ledger_without_its_tables_keeps_nobody_from_looking(app: PenstockApp) -> None:
    with writing(app.settings.database_url) as connection:
        connection.execute(text(f"ALTER TABLE {jobs.name} RENAME TO elsewhere"))
    assert usual_seconds(app, running("tests.quick", 600.0)) == {}
