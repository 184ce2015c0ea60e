"""Whatever anybody pushes: the worker stays up, and every message is kept with a reason."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from penstock.job import State
from penstock.ledger.session import reading
from penstock.ledger.tables import dead_letters, jobs
from tests.engine.station import Station
from tests.live import Worker, wait_for


@pytest.fixture(scope="module", autouse=True)
def worker(booked: Station) -> Iterator[Worker]:
    with booked.worker() as worker:
        yield worker


def message(id: str, *, body: Any = ((), {}, {}), task: str = "engine.touch", **changes: Any) -> dict[str, Any]:
    """A message as kombu writes it."""
    return {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": id, "task": task, "lang": "py"},
        "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "celery"}},
        **changes,
    }


def raw(id: str, **changes: Any) -> bytes:
    return json.dumps(message(id, **changes)).encode()


def letter_with(station: Station, payload: bytes) -> Any:
    """The dead letter with this payload."""

    def found() -> Any:
        with reading(station.ledger) as connection:
            return connection.execute(select(dead_letters).where(dead_letters.c.payload == payload)).one_or_none()

    return wait_for(found, "the ledger has the dead letter")


def still_works(station: Station, worker: Worker) -> None:
    station.ended(station.send("touch"))
    assert worker.process is not None
    assert worker.process.poll() is None
    wait_for(station.quiet, "nothing is held")
    assert "connection to Redis lost" not in worker.log


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"not json", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "a JSON list"),
        (b"{}", "without properties"),
        (b'{"properties": {}}', "without a body"),
        (b'{"properties": {}, "body": "", "headers": 7}', "its headers are not an object"),
        (b'{"properties": {"body_encoding": "base64"}, "body": "a", "headers": {}}', "not base64"),
        (b'{"properties": {"body_encoding": "rot13"}, "body": "a", "headers": {}}', "rot13"),
        (b'{"properties": {"body_encoding": ["x"]}, "body": "a", "headers": {}}', "nobody knows"),
        (b'{"properties": {}, "body": "[]", "headers": {}, "content-type": "application/json"}', "not a task message"),
        (b'{"properties": {}, "body": "[]", "headers": {"id": [1], "task": "engine.touch"}}', "unhashable"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_what_cannot_be_read_is_kept_in_the_ledger(
    booked: Station, worker: Worker, payload: bytes, reason: str
) -> None:
    booked.push(payload)
    letter = letter_with(booked, payload)
    assert letter.kind == "quarantined"
    assert reason in letter.reason
    still_works(booked, worker)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content-type": "application/x-python-serialize"}, "pickle"),
        ({"body": [1, 2, 3, 4]}, "ValueError"),
        ({"body": 7}, "TypeError"),
        ({"body": [1, 2, 3]}, "its arguments are 1"),
        ({"body": [[1], [2], {}]}, "its keyword arguments are [2]"),
        ({"body": [[1], {}, 3]}, "its callbacks are 3"),
        ({"headers": {"id": "j-eta", "task": "engine.touch", "eta": [1], "lang": "py"}}, "ETA"),
        ({"headers": {"id": "j-stamps", "task": "engine.touch", "stamped_headers": 1, "lang": "py"}}, "TypeError"),
        ({"headers": {"id": "j-limits", "task": "engine.touch", "timelimit": ["a", 1], "lang": "py"}}, "time limits"),
        ({"headers": {"id": "j-name", "task": [1], "lang": "py"}}, "TypeError"),
    ],
    ids=[
        "forbidden content type",
        "too many arguments",
        "no arguments",
        "a number",
        "a list",
        "callbacks",
        "time",
        "stamps",
        "limits",
        "name",
    ],
)
def test_a_message_with_an_id_that_is_no_job_ends_as_a_failed_job(
    booked: Station, worker: Worker, changes: dict[str, Any], reason: str
) -> None:
    id = changes.get("headers", {}).get("id") or f"j-{reason}"
    payload = raw(id, **changes)
    booked.push(payload)
    letter = letter_with(booked, payload)
    assert (letter.kind, letter.job_id) == ("buried", id)
    assert reason in letter.reason
    with reading(booked.ledger) as connection:
        assert connection.execute(select(jobs.c.state).where(jobs.c.id == id)).scalar_one() == State.FAILED
    still_works(booked, worker)


def test_wrong_arguments_fail_the_job(booked: Station, worker: Worker) -> None:
    booked.push(raw("j-arguments", body=((1, 2, 3), {"four": 5}, {})))

    def state() -> Any:
        with reading(booked.ledger) as connection:
            return connection.execute(select(jobs.c.state).where(jobs.c.id == "j-arguments")).scalar_one_or_none()

    wait_for(lambda: state() == State.FAILED, "the job has failed")
    still_works(booked, worker)


def test_a_body_of_ten_megabytes_passes(booked: Station, worker: Worker) -> None:
    id = booked.send("touch", "x" * 10_000_000)
    booked.ended(id)
    still_works(booked, worker)


def test_a_job_of_an_unknown_task_waits_for_a_worker_that_knows_it(booked: Station, worker: Worker) -> None:
    first, second = (raw(id, task="engine.newest") for id in ("j-newest-1", "j-newest-2"))
    booked.push(first)
    booked.push(second)
    wait_for(lambda: booked.redis.hlen(booked.keys.unknown) == 1, "it is put aside")

    def states() -> list[str]:
        with reading(booked.ledger) as connection:
            query = select(jobs.c.state).where(jobs.c.id.in_(("j-newest-1", "j-newest-2")))
            return list(connection.execute(query).scalars())

    wait_for(lambda: states() == [State.BLOCKED] * 2, "the ledger says so")
    still_works(booked, worker)
    with booked.worker(environment={"ENGINE_NEWEST": "1"}):
        booked.ended("j-newest-1")
        booked.ended("j-newest-2")
    assert booked.starts("j-newest-1")[0]["at"] < booked.starts("j-newest-2")[0]["at"]
    wait_for(lambda: not booked.redis.hlen(booked.keys.unknown), "nothing is put aside")
    assert states() == [State.SUCCEEDED] * 2
