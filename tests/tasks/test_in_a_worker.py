"""The tasks in a real worker: `celery -A workers worker` with Valkey and SQLite."""

import json
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from standardwebhooks.webhooks import Webhook

from penstock import Job, State, client
from penstock.errors import JobFailed
from penstock.job import Reason
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading
from tasks import sales, shell, webhooks
from tests.live import wait_for
from tests.tasks.conftest import SECRET, Deployment
from tests.tasks.site import Reply

pytestmark = pytest.mark.slow
DAY = "2026-06-30"


def row_of(deployment: Deployment, id: str) -> JobRow | None:
    with reading(deployment.database_url) as connection:
        return queries.find_job(connection, id)


def ended(deployment: Deployment, id: str) -> JobRow | None:
    row = row_of(deployment, id)
    return row if row and row.state.is_final else None


def test_the_nightly_report_runs_from_the_parts_to_the_signed_webhook(deployment: Deployment) -> None:
    """A chord whose body is a chain; the endpoint is in trouble at first."""
    deployment.site.requests.clear()
    deployment.site.replies = [Reply(503, {"Retry-After": "0"})]
    started = sales.nightly.enqueue(DAY).result(timeout=20)
    final = Job[dict[str, object]](started["final_job"], "tasks.sales.announce").result(timeout=30)

    assert started["regions"] == ["East", "North", "Overseas", "South", "West"]
    assert (deployment.reports / str(final["archive"])).is_file()
    assert (deployment.reports / str(final["page"])).is_file()
    by_hand = sqlite3.connect(deployment.sales).execute("SELECT sum(amount_cents) FROM sales WHERE day = ?", [DAY])
    assert final["totals"]["amount_cents"] == by_hand.fetchone()[0]  # type: ignore[index]
    assert final["webhook"]["attempt"] == 2  # type: ignore[index]

    first, second = deployment.site.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == started["final_job"]
    assert first.body == second.body, "the timestamp is that of the submission"
    told = Webhook(SECRET).verify(second.body, dict(second.headers))
    assert (told["type"], told["data"]["sha256"]) == ("sales.report.ready", final["sha256"])


def test_a_report_whose_part_fails_ends_as_failed(deployment: Deployment) -> None:
    """Nothing is merged from the parts that are there, and the final job says why."""
    connection = sqlite3.connect(deployment.sales)
    rows = [(-1, "2020-05-05", "Fine", "Tea", 1, 100), (-2, "2020-05-05 12:00", "Broken", "Tea", 1, 100)]
    connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    started = sales.nightly.enqueue("2020-05-10").result(timeout=20)
    row = wait_for(lambda: ended(deployment, started["final_job"]), "the final job has ended", 20)
    assert row.state is State.FAILED
    assert "must hold days" in str(row.error_message)
    assert not (deployment.reports / "sales/2020-05-10/index.html").exists()


def test_a_webhook_is_sent_again_when_the_endpoint_says(deployment: Deployment) -> None:
    deployment.site.requests.clear()
    deployment.site.replies = [Reply(429, {"Retry-After": "1"})]
    before = time.monotonic()
    job = webhooks.deliver.enqueue(deployment.site.url("/hook"), "invoice.paid", {"id": 7})
    assert job.result(timeout=20)["attempt"] == 2
    assert time.monotonic() - before >= 1
    first, second = deployment.site.requests
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == job.id


def test_a_webhook_that_is_not_worth_another_attempt_fails_at_once(deployment: Deployment) -> None:
    deployment.site.requests.clear()
    deployment.site.replies = [Reply(410)]
    job = webhooks.deliver.enqueue(deployment.site.url("/hook"), "invoice.paid", {"id": 7})
    with pytest.raises(JobFailed, match=r"EndpointGone.*the endpoint is gone"):
        job.result(timeout=20)
    assert len(deployment.site.requests) == 1


def test_no_secret_is_kept_with_a_job(deployment: Deployment) -> None:
    deployment.site.replies = [Reply(400)]
    job = webhooks.deliver.enqueue(deployment.site.url("/hook"), "invoice.paid", {"id": 7})
    row = wait_for(lambda: ended(deployment, job.id), "the job has ended")
    assert SECRET.removeprefix("whsec_") not in json.dumps(vars(row), default=str) + deployment.worker.log


def test_the_time_limit_of_a_job_ends_the_whole_group_of_its_command(deployment: Deployment, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ > {pids}; sleep 600 & echo $! >> {pids}; wait"
    hasty = replace(shell.run.defaults, timeout=1)
    job = client.send(shell.run, hasty, ("sh", ["-c", script], 600), {})
    row = wait_for(lambda: ended(deployment, job.id), "the job has ended", 20)
    assert (row.state, row.reason) == (State.FAILED, Reason.TIMEOUT)
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not psutil.pid_exists(pid), f"process {pid} has ended", 5)


def test_each_child_has_connections_of_its_own(deployment: Deployment) -> None:
    """Both children fetch at the same time; the parent, from which they were forked, has no part in it."""
    deployment.site.requests.clear()
    deployment.site.by_path["/meet"] = Reply(meet=threading.Barrier(2))
    jobs = [webhooks.check_url.enqueue(deployment.site.url("/meet")) for _ in range(2)]
    for job in jobs:
        assert job.result(timeout=20)["status"] == 200
    parent, *children = (
        ports_to(deployment.site.port, pid) for pid in (deployment.worker.pid, *deployment.worker.children)
    )
    assert parent == set()
    assert all(children)
    assert {request.client_port for request in deployment.site.requests} <= children[0] ^ children[1]


def ports_to(port: int, pid: int) -> set[int]:
    """The ports from which a process is connected to a server."""
    connections = psutil.Process(pid).net_connections()
    return {connection.laddr.port for connection in connections if connection.raddr and connection.raddr.port == port}
