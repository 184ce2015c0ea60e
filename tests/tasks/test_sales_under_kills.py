"""The nightly report ends as it should though each of its steps loses its process, before its body and after it."""

from pathlib import Path

import pytest
from sqlalchemy import select

from penstock import Job
from penstock.job import State
from penstock.ledger.session import reading
from penstock.ledger.tables import jobs
from tasks import sales
from tests.conftest import NewLedger
from tests.tasks.conftest import deployed

pytestmark = pytest.mark.slow
DAY = "2026-06-30"
STEPS = ("region", "merge", "archive", "announce")


def test_the_nightly_report_survives_a_kill_in_each_of_its_steps(
    live_broker_url: str, new_ledger: NewLedger, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    options = {"app": "tests.tasks.killing", "KILLING_MARKS": str(marks), "PENSTOCK_CRASH_LIMIT": "9"}
    with deployed(live_broker_url, new_ledger, tmp_path, **options) as deployment:
        started = sales.nightly.enqueue(DAY).result(timeout=40)
        final = Job[dict[str, object]](started["final_job"], "tasks.sales.announce").result(timeout=60)
        with reading(deployment.database_url) as connection:
            ended = connection.execute(select(jobs.c.task, jobs.c.state).where(jobs.c.task.like("tasks.sales.%"))).all()
        told = [request.headers["webhook-id"] for request in deployment.site.requests]

    killed = {mark.name.removeprefix("tasks.sales.") for mark in marks.iterdir() if "sales" in mark.name}
    assert killed == {"nightly-before", *(f"{step}-{when}" for step in STEPS for when in ("before", "after"))}
    assert {state for _, state in ended} == {State.SUCCEEDED.value}
    assert sorted(task for task, _ in ended) == sorted(
        ["tasks.sales.nightly", *["tasks.sales.region"] * 5, *(f"tasks.sales.{step}" for step in STEPS[1:])]
    )
    assert set(told) == {started["final_job"]}, "one report, however often it was announced"
    assert (deployment.reports / str(final["archive"])).is_file()
