"""Cancelling jobs that run: each kind of child, asked first and ended after the grace, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import Job
from penstock.cancelling import Meaning
from penstock.client import publishing
from penstock.config import Settings
from penstock.errors import NotCancellable
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading
from tests.conftest import NewLedger
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end
from tests.live import Worker, wait_for

KINDS: dict[str, dict[str, Any]] = {
    "single": {"children": 2},
    "threads": {"penstock_kind": "threads", "penstock_size": 20},
    "asyncio": {"penstock_kind": "asyncio", "penstock_size": 20},
}
BESIDE = {"single": "hold", "threads": "hold", "asyncio": "await"}


@pytest.fixture(scope="module")
def booked(folder: Path, new_ledger: NewLedger) -> Iterator[Station]:
    with (
        new_ledger("sqlite") as ledger,
        Station(folder, ledger=ledger, appendonly="yes") as made,
        pytest.MonkeyPatch.context() as patch,
    ):
        settings = {"REDIS_URL": made.server.url, "DATABASE_URL": ledger, "PENSTOCK_VAR": str(folder / "var")}
        patch.setattr(publishing, "_publisher", publishing.Publisher(Settings.load(settings)))
        yield made


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def worker(booked: Station, kind: str) -> Iterator[Worker]:
    with killed_at_the_end(booked.worker(**KINDS[kind])) as worker:
        yield worker


def running(station: Station, task: str, *args: Any) -> Job[Any]:
    """A job whose body has begun."""
    id = station.send(task, *args)
    station.started(id)
    return Job(id, f"engine.{task}")


def cancelled(station: Station, job: Job[Any]) -> JobRow:
    """Its row, once it has ended as cancelled, at its only attempt."""
    row: JobRow = ended(station, job.id)
    assert (row.state, row.reason, len(station.starts(job.id))) == (State.CANCELLED, Reason.REVOKED, 1)
    return row


def requests(station: Station, job: Job[Any]) -> list[tuple[str, Any]]:
    with reading(station.ledger) as connection:
        return [(row.action, row.details) for row in queries.audit_of(connection, job.id)]


def never(station: Station) -> str:
    return str(station.gate("never"))


@pytest.mark.usefixtures("worker")
def test_a_body_is_asked_to_stop_and_cleans_up_and_its_job_is_cancelled(booked: Station, kind: str) -> None:
    task = "await" if kind == "asyncio" else "careful"
    job = running(booked, task, never(booked))
    began = time.monotonic()
    assert job.cancel(reason="wrong month", grace=30) in (Meaning.IS_ASKED, Meaning.NEVER_STARTS)
    row = cancelled(booked, job)
    assert time.monotonic() - began < 5
    assert row.attempts == 1
    heard = "cancelled" if kind == "asyncio" else "cleaned"
    assert [each["event"] for each in booked.effects(job.id)] == ["start", heard]
    assert requests(booked, job) == [("cancel", {"grace": 30, "reason": "wrong month"})]
    wait_for(booked.quiet, "its claim has ended")
    assert job.cancel() is Meaning.CANCELLED  # Whoever did not hear the answer may ask again.


@pytest.mark.usefixtures("worker")
def test_a_body_that_looks_by_itself_and_returns_has_succeeded(booked: Station) -> None:
    job = running(booked, "attentive")
    began = time.monotonic()
    job.cancel(grace=None)
    assert ended(booked, job.id).state is State.SUCCEEDED
    assert time.monotonic() - began < 5
    with pytest.raises(NotCancellable, match="succeeded"):
        job.cancel()


@pytest.mark.usefixtures("worker")
def test_a_body_that_goes_on_is_ended_after_its_grace_and_others_are_not(booked: Station, kind: str) -> None:
    task = BESIDE[kind]
    end = booked.gate("end")
    beside = running(booked, task, str(end))
    job = running(booked, "unmoved" if kind != "asyncio" else "unheeding", never(booked))
    began = time.monotonic()
    job.cancel(grace=1.5)
    wait_for(lambda: booked.effects(job.id, "heard"), "it is asked")
    cancelled(booked, job)
    assert time.monotonic() - began >= 1.5
    end.touch()
    assert ended(booked, beside.id).state is State.SUCCEEDED
    assert len(booked.starts(beside.id)) == 1
    wait_for(booked.quiet, "everything is settled")


@pytest.mark.usefixtures("worker")
def test_without_a_grace_a_body_is_ended_at_once(booked: Station, kind: str) -> None:
    job = running(booked, BESIDE[kind], never(booked))
    began = time.monotonic()
    job.cancel(grace=0)
    cancelled(booked, job)
    assert time.monotonic() - began < 4


@pytest.mark.usefixtures("worker")
def test_asking_again_may_shorten_the_grace_and_not_lengthen_it(booked: Station, kind: str) -> None:
    job = running(booked, "unmoved" if kind != "asyncio" else "unheeding", never(booked))
    for grace in (600, 2, 600):
        job.cancel(grace=grace)
    cancelled(booked, job)


def test_a_job_whose_worker_dies_within_the_grace_is_cancelled_and_does_not_run_again(booked: Station) -> None:
    with booked.worker("-Q", "dying") as doomed:
        id = booked.send("unmoved", never(booked), queue="dying")
        booked.started(id)
        job: Job[Any] = Job(id, "engine.unmoved")
        job.cancel(grace=600)
        wait_for(lambda: booked.effects(id, "heard"), "it is asked")
        doomed.stop(signal.SIGKILL)
    with booked.worker("-Q", "dying"):
        row = cancelled(booked, job)
    assert row.attempts == 1


def test_a_child_that_dies_within_the_grace_leaves_its_job_cancelled(booked: Station) -> None:
    with booked.worker("-Q", "dying") as doomed:
        id = booked.send("unmoved", never(booked), queue="dying")
        pid = booked.started(id)["pid"]
        job: Job[Any] = Job(id, "engine.unmoved")
        job.cancel(grace=600)
        wait_for(lambda: booked.effects(id, "heard"), "it is asked")
        os.kill(pid, signal.SIGKILL)
        cancelled(booked, job)
        assert doomed.process is not None
        assert doomed.process.poll() is None, "the worker lives on"


def test_of_two_workers_the_one_that_runs_it_acts(booked: Station) -> None:
    with booked.worker("-Q", "one"), booked.worker("-Q", "two"):
        end = booked.gate("end")
        here, there = (booked.send("hold", str(end), queue=queue) for queue in ("one", "two"))
        booked.started(here)
        booked.started(there)
        job: Job[Any] = Job(there, "engine.hold")
        job.cancel()
        cancelled(booked, job)
        end.touch()
        assert ended(booked, here).state is State.SUCCEEDED


def test_a_job_that_runs_when_redis_restarts_is_still_asked(booked: Station) -> None:
    with booked.worker("-Q", "restarting"):
        id = booked.send("unmoved", never(booked), queue="restarting")
        booked.started(id)
        job: Job[Any] = Job(id, "engine.unmoved")
        job.cancel(grace=5)
        booked.server.kill()
        booked.server.start()
        cancelled(booked, job)
