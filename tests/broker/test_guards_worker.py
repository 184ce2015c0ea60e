"""A whole worker: what it keeps when its connection is cut, what it does not run, and what it puts aside."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.job import Reason, State
from penstock.ledger import letters, queries
from penstock.ledger.rows import JobRow, LetterRow
from penstock.ledger.session import reading
from tests import jobs
from tests.conftest import Live, NewLedger, deployment, producer
from tests.live import Worker, wait_for

pytestmark = pytest.mark.slow


POOLS = ("prefork", "processes")
"""Ours, and Celery's own, which claims by the transport and its consumer."""


@pytest.fixture(scope="module", params=POOLS)
def live(
    live_broker_url: str,
    new_ledger: NewLedger,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Live]:
    """One worker of each kind for all tests."""
    folder = tmp_path_factory.mktemp("worker")
    with new_ledger("sqlite") as url, redis.Redis.from_url(live_broker_url) as connection:
        connection.flushdb()
        variables = deployment(live_broker_url, url, folder)
        with producer(variables) as app, Worker(variables, folder / "worker.log", "-P", request.param) as worker:
            yield Live(app, worker, variables)
        connection.flushdb()


@pytest.fixture
def scripts(live: Live, live_broker_url: str) -> Iterator[Scripts]:
    with redis.Redis.from_url(live_broker_url) as connection:
        yield Scripts(connection, Keys())


def ended(live: Live, id: str) -> JobRow:
    """The job's row, once it is final."""
    with reading(live.database_url) as connection:

        def final() -> JobRow | None:
            row = queries.find_job(connection, id)
            return row if row and row.state.is_final else None

        return wait_for(final, f"job {id} has ended")


def dead(live: Live, id: str) -> LetterRow:
    """The dead letter of a job, once it is in the ledger."""
    with reading(live.database_url) as connection:
        chosen = letters.LetterFilter(job_id=id)
        return wait_for(lambda: letters.list_letters(connection, chosen, 1), f"job {id} is buried")[0]


def test_a_running_job_is_kept_when_the_connections_are_cut(live: Live, scripts: Scripts, tmp_path: Path) -> None:
    started = tmp_path / "started"
    job = jobs.sleep.enqueue(1.5, str(started))
    wait_for(started.exists, "the job runs")
    scripts.client.client_kill_filter(_type="normal", skipme=True)
    row = ended(live, job.id)
    assert (row.state, row.attempts) == (State.SUCCEEDED, 1)
    assert jobs.add.enqueue(1, 1).result(timeout=20) == 2
    wait_for(lambda: not list(scripts.client.scan_iter("penstock:inflight:*")), "both are settled")


def test_a_job_that_only_redis_knows_to_be_revoked_does_not_run(live: Live, scripts: Scripts, tmp_path: Path) -> None:
    """The worker was down when it was revoked, or the broadcast did not reach it."""
    id, touched = str(uuid.uuid4()), tmp_path / "started"
    scripts.revoke([id])
    live.app.send_task("tests.jobs.sleep", args=[0, str(touched)], task_id=id)
    row = ended(live, id)
    assert (row.state, row.reason) == (State.CANCELLED, Reason.REVOKED)
    assert not touched.exists()


def test_a_job_that_kills_its_process_is_tried_again_up_to_the_limit(live: Live) -> None:
    row = ended(live, jobs.kill_own_process.enqueue().id)
    assert (row.state, row.reason, row.attempts) == (State.FAILED, Reason.CRASHED, 3)


def test_a_job_of_an_unknown_task_waits_for_a_worker_that_knows_it(live: Live, scripts: Scripts) -> None:
    id = str(uuid.uuid4())
    live.app.send_task("tests.nobody.knows", task_id=id)
    aside = scripts.keys.unknown_list("default", 0, "tests.nobody.knows")
    wait_for(lambda: scripts.client.llen(aside) == 1, "the message is aside")


def test_a_job_of_an_unknown_task_is_known_to_be_blocked(live: Live, scripts: Scripts) -> None:
    id = str(uuid.uuid4())
    live.app.send_task("tests.nobody.knows.this", task_id=id)
    aside = scripts.keys.unknown_list("default", 0, "tests.nobody.knows.this")
    wait_for(lambda: scripts.client.llen(aside) == 1, "the message is aside")
    jobs.add.enqueue(1, 1).result(timeout=20)
    assert scripts.client.hget(scripts.keys.blocked, id) == b"unknown task tests.nobody.knows.this"


def test_a_body_of_a_forbidden_kind_is_buried_with_its_payload(live: Live) -> None:
    id = str(uuid.uuid4())
    with live.app.connection_for_write() as connection:
        connection.Producer().publish(
            b"cos\nsystem\n",
            routing_key="default",
            headers={"task": "tests.plain", "id": id},
            correlation_id=id,
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )
    assert id.encode() in payload(live, dead(live, id))


def test_a_message_that_no_job_can_be_made_of_is_buried_with_its_payload(live: Live) -> None:
    id = str(uuid.uuid4())
    with live.app.connection_for_write() as connection:
        connection.Producer().publish(
            {"neither": "args nor kwargs"},
            routing_key="default",
            headers={"task": "tests.plain", "id": id},
            correlation_id=id,
            serializer="json",
        )
    assert id.encode() in payload(live, dead(live, id))


def payload(live: Live, letter: LetterRow) -> bytes:
    with reading(live.database_url) as connection:
        return letters.payload_of(connection, letter.id) or b""


@pytest.mark.parametrize("pool", POOLS)
def test_children_end_with_their_worker(broker_url: str, new_ledger: NewLedger, tmp_path: Path, pool: str) -> None:
    """A child that lives on would hold the worker's claims, and go on with a job that starts elsewhere."""
    started = tmp_path / "started"
    with new_ledger("sqlite") as url:
        variables = deployment(broker_url, url, tmp_path)
        with producer(variables), Worker(variables, tmp_path / "worker.log", "-P", pool, children=1) as worker:
            jobs.sleep.enqueue(30, str(started))
            child = wait_for(lambda: started.exists() and int(started.read_text() or 0), "the job runs")
            os.kill(worker.pid, signal.SIGKILL)
            try:
                wait_for(lambda: not Path(f"/proc/{child}").exists(), "its child has ended", 4)
            except AssertionError:
                os.kill(child, signal.SIGKILL)
                raise
