"""A pool's process that dies under a job: the job starts again at once, counted, and no others suffer."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Row, select

from penstock.job import Reason, State
from penstock.ledger.session import reading
from penstock.ledger.tables import attempts, dead_letters, jobs
from tests.engine.station import Station
from tests.live import Worker, wait_for


@pytest.fixture(scope="module", autouse=True)
def worker(booked: Station) -> Iterator[Worker]:
    with booked.worker(children=2) as worker:
        yield worker


def rows(station: Station, table: Any, id: str) -> list[Row[Any]]:
    column = table.c.id if table is jobs else table.c.job_id
    with reading(station.ledger) as connection:
        return list(connection.execute(select(table).where(column == id)))


def test_a_job_whose_process_is_killed_starts_again_within_a_second(booked: Station) -> None:
    end = booked.gate("end")
    id = booked.send("hold", str(end))
    first = booked.started(id)
    os.kill(first["pid"], signal.SIGKILL)
    end.touch()
    second = booked.started(id, 2)
    booked.ended(id)
    # A second for us; the rest is the busy machine's.
    assert second["at"] - first["at"] < 2.0


@pytest.mark.parametrize("task", ["die", "leave"])
def test_a_job_learns_that_its_process_died_before(booked: Station, task: str) -> None:
    id = booked.send(task, 2)
    booked.ended(id)
    assert [start["deliveries"] for start in booked.starts(id)] == [0, 1, 2]
    assert [start["redelivered"] for start in booked.starts(id)] == [False, True, True]


@pytest.mark.parametrize("task", ["die", "leave"])
def test_a_job_whose_process_always_dies_is_buried_with_its_payload(booked: Station, task: str) -> None:
    id = booked.send(task, 9)
    (letter,) = wait_for(lambda: rows(booked, dead_letters, id), "the ledger has the dead letter")
    (job,) = rows(booked, jobs, id)
    assert (letter.kind, letter.deliveries, letter.resolution) == ("buried", 3, None)
    assert json.loads(letter.payload)["headers"]["id"] == id
    assert (job.state, job.reason) == (State.FAILED, Reason.CRASHED)
    assert [attempt.outcome for attempt in rows(booked, attempts, id)] == ["crashed"] * 3
    assert len(booked.starts(id)) == 3
    assert not booked.dead()


def test_a_finished_job_leaves_no_delivery_count_behind(booked: Station) -> None:
    booked.ended(booked.send("die", 1))
    wait_for(lambda: not booked.redis.exists(booked.keys.deliveries), "the count is forgotten")


def test_the_other_jobs_of_the_worker_do_not_suffer(booked: Station) -> None:
    end = booked.gate("end")
    beside = booked.send("hold", str(end))
    booked.started(beside)
    dying, after = booked.send("die", 2), booked.send("touch")
    booked.ended(dying)
    booked.ended(after)
    end.touch()
    booked.ended(beside)
    wait_for(booked.quiet, "everything is settled")
    assert [len(booked.starts(id)) for id in (beside, dying, after)] == [1, 3, 1]
