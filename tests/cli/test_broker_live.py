"""Queues, failures and releases with real workers: what the commands say is what happens."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.app import PenstockApp
from penstock.broker.keys import Keys
from penstock.cli.failures import failures
from penstock.cli.jobs import jobs
from penstock.cli.queues import queues
from penstock.cli.release import release
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading
from tests import jobs as tasks
from tests.cli.conftest import run_with
from tests.cli.stock import stock_worker
from tests.conftest import NewLedger
from tests.live import Worker, wait_for

pytestmark = pytest.mark.slow
LATE_APP = """
from celery import shared_task
from tests.worker_app import app


@shared_task(name="late.task")
def late(value):
    return value
"""


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: what it keeps is tested on each."""
    with new_ledger("sqlite") as url:
        yield url


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Worker]:
    """A worker with two children."""
    with Worker(environment, tmp_path / "worker.log") as running:
        yield running


def row(app: PenstockApp, id: str) -> JobRow | None:
    with reading(app.settings.database_url) as connection:
        return queries.find_job(connection, id)


def state(app: PenstockApp, id: str) -> State | None:
    found = row(app, id)
    return found.state if found else None


def ended(app: PenstockApp, id: str) -> JobRow:
    """The job's row once it is final."""

    def final() -> JobRow | None:
        found = row(app, id)
        return found if found and found.state.is_final else None

    found = wait_for(final, f"{id} ends")
    assert found is not None
    return found


def done(app: PenstockApp, command: Any, *arguments: str) -> str:
    """What a command printed that went well."""
    result = run_with(app, command, *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def default_queue(app: PenstockApp) -> dict[str, Any]:
    """What `queues list` says of it."""
    (status,) = json.loads(done(app, queues, "list", "default", "--json"))
    return dict(status)


def busy(app: PenstockApp, folder: Path, children: int = 2) -> list[str]:
    """Occupies every child; the ids of the jobs that do."""
    marks = [folder / f"mark {n}" for n in range(children)]
    ids = [tasks.sleep.enqueue(60, str(mark)).id for mark in marks]
    wait_for(lambda: all(mark.exists() for mark in marks), "all children are busy")
    return ids


def test_a_pause_stops_claims_survives_a_restart_of_the_worker_and_ends_with_resume(
    app: PenstockApp, environment: dict[str, str], tmp_path: Path
) -> None:
    with Worker(environment, tmp_path / "first.log"):
        ended(app, tasks.add.enqueue(1, right=2).id)
        done(app, queues, "pause", "default")
        waiting = tasks.add.enqueue(3, right=4)
        other = tasks.add.options(queue="other").enqueue(5, right=6)
        assert default_queue(app)["ready"] == 1
    with Worker(environment, tmp_path / "second.log", "-Q", "default,other"):
        assert ended(app, other.id).result == 11
        assert (default_queue(app)["ready"], row(app, waiting.id)) == (1, None)
        done(app, queues, "resume", "default")
        assert ended(app, waiting.id).result == 7


def test_a_purge_leaves_what_is_in_flight_alone(app: PenstockApp, worker: Worker, tmp_path: Path) -> None:
    running = busy(app, tmp_path)
    waiting = [tasks.add.enqueue(n, right=2).id for n in range(5)]
    in_flight = default_queue(app)["in_flight"]
    assert in_flight >= 2
    gone = json.loads(done(app, queues, "purge", "default", "--yes", "--json"))
    assert gone["ready"] == 7 - in_flight
    assert default_queue(app)["in_flight"] == in_flight
    cancelled = [id for id in waiting if state(app, id) is State.CANCELLED]
    assert len(cancelled) == gone["ready"]
    # A job has its row after its first second.
    wait_for(lambda: all(state(app, id) is State.RUNNING for id in running), "both jobs are seen running")
    done(app, jobs, "cancel", "--terminate", *running)
    assert {ended(app, id).state for id in waiting if id not in cancelled} <= {State.SUCCEEDED}


def test_a_poison_message_is_listed_shown_replayed_and_discarded(
    app: PenstockApp, worker: Worker, broker: redis.Redis
) -> None:
    broker.lpush("default", "not json")

    def open_entries() -> list[dict[str, Any]]:
        return list(json.loads(done(app, failures, "list", "--json"))["entries"])

    (first,) = wait_for(open_entries, "the message is in quarantine")
    assert first["kind"] == "quarantined"
    assert "not json" in done(app, failures, "show", first["id"])
    done(app, failures, "replay", first["id"])
    (second,) = wait_for(open_entries, "it comes back, as its cause is not mended")
    assert second["id"] != first["id"]
    assert "is discarded" in done(app, failures, "discard", second["id"])
    assert open_entries() == []
    resolved = {
        entry["id"]: entry["resolution"]
        for entry in json.loads(done(app, failures, "list", "--all", "--json"))["entries"]
    }
    assert resolved == {first["id"]: "replayed", second["id"]: "discarded"}
    assert ended(app, tasks.add.enqueue(1, right=2).id).result == 3


def test_a_job_that_kills_its_process_is_buried_and_replayed_as_a_new_one(app: PenstockApp, worker: Worker) -> None:
    old = tasks.kill_own_process.enqueue()
    assert ended(app, old.id).reason is Reason.CRASHED
    text = done(app, failures, "replay", "--task", tasks.kill_own_process.name, "--yes")
    new = text.split()[-1]
    assert (ended(app, new).replay_of, ended(app, new).state) == (old.id, State.FAILED)


def test_an_unknown_task_waits_until_a_worker_that_knows_it_runs_it(
    app: PenstockApp, worker: Worker, environment: dict[str, str], tmp_path: Path
) -> None:
    id = app.send_task("late.task", ("hello",)).id
    (entry,) = wait_for(
        lambda: json.loads(done(app, failures, "list", "--json"))["entries"], "the message is put aside"
    )
    assert (entry["kind"], entry["task"], entry["messages"]) == ("unknown", "late.task", 1)
    assert default_queue(app)["blocked"] == 1
    assert "late.task('hello')" in done(app, failures, "show", entry["id"])
    wait_for(lambda: state(app, id) is State.BLOCKED, "the job is blocked")
    assert worker.stop() == 0
    (tmp_path / "late_app.py").write_text(LATE_APP)
    knows = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{tmp_path}"}
    with Worker(knows, tmp_path / "late.log", app="late_app"):
        assert ended(app, id).result == "hello"
    assert json.loads(done(app, failures, "list", "--json"))["entries"] == []


def test_a_job_that_was_cancelled_without_a_worker_does_not_start(
    app: PenstockApp, environment: dict[str, str], tmp_path: Path
) -> None:
    waiting = tasks.add.enqueue(1, right=2)
    assert "it is cancelled when one does" in done(app, jobs, "cancel", waiting.id)
    with Worker(environment, tmp_path / "worker.log"):
        found = ended(app, waiting.id)
    assert (found.state, found.reason, found.attempts) == (State.CANCELLED, Reason.REVOKED, 0)


def test_a_release_is_refused_while_a_worker_runs_and_waits_for_its_end_when_told_to(
    app: PenstockApp, worker: Worker
) -> None:
    refused = run_with(app, release, "--all")
    assert refused.exit_code == 1
    assert "1 worker holds a lease: celery@" in refused.stderr
    assert "--wait" in refused.stderr
    assert worker.process is not None
    worker.process.terminate()
    assert "0 messages went back" in done(app, release, "--all", "--wait", "20")


def test_after_a_release_a_stock_worker_drains_what_waited_was_parked_and_ran(
    app: PenstockApp, environment: dict[str, str], broker: redis.Redis, broker_url: str, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    with Worker(environment, tmp_path / "worker.log") as ours:
        unknown = app.send_task("late.task", (1,)).id
        wait_for(lambda: default_queue(app)["blocked"], "the unknown task is put aside")
        running = busy(app, tmp_path)
        waiting = [tasks.add.enqueue(n, right=0).id for n in range(10)]
        parked = [tasks.add.options(delay=10).enqueue(n, right=0).id for n in range(3)]
        done(app, queues, "pause", "default")
        status = default_queue(app)
        assert (status["parked"], status["blocked"]) == (3, 1)
        result = json.loads(done(app, release, "--all", "--force", "--json"))
        assert len(result["still_running"]) == 1
        ours.stop()
    again = json.loads(done(app, release, "--all", "--json"))
    assert (result["in_flight"], result["parked"], result["blocked"]) == (status["in_flight"], 3, 1)
    assert again["still_running"] == []
    assert not [key for key in broker.keys("penstock:*") if "inflight" in key or "parked" in key or "gates" in key]
    with stock_worker(tmp_path, broker_url, effects):
        expected = {unknown, *running, *waiting, *parked}

        def effective() -> list[str]:
            return [json.loads(line)[0] for line in effects.read_text().splitlines()] if effects.exists() else []

        wait_for(lambda: expected <= set(effective()), "the stock worker has run them all", 60)
        assert sorted(effective()) == sorted(expected)


def test_what_a_killed_stock_worker_held_is_released_at_once_on_request(
    app: PenstockApp, broker: redis.Redis, broker_url: str, tmp_path: Path
) -> None:
    with stock_worker(tmp_path, broker_url, tmp_path / "effects") as stock:
        later = tasks.add.options(delay=600).enqueue(1, right=2)  # Parked by nobody: no worker of ours runs.
        wait_for(lambda: broker.hlen("unacked"), "the stock worker holds it")
        refused = run_with(app, release, "--all", "--unacked")
        assert (refused.exit_code, "stock workers are running" in refused.stderr) == (1, True)
        stock.kill()
        stock.wait()
    assert json.loads(done(app, release, "--all", "--json"))["held_by_stock_workers"] == 1
    assert json.loads(done(app, release, "--all", "--unacked", "--json"))["unacked"] == 1
    assert later.id in broker.lindex("default", 0)
    assert not broker.exists("unacked", Keys().leases)


def test_an_adopted_app_without_a_ledger_can_be_released(broker_url: str, broker: redis.Redis) -> None:
    from celery import Celery

    from penstock import adopt

    adopted = adopt(Celery("adopted", broker=broker_url, set_as_current=False))
    broker.zadd(Keys().parked("celery"), {"0\x1fu\x1flater": 9e12})
    assert "1 message went back to their queues: 1 parked" in done(adopted, release, "--all")
    assert broker.lrange("celery", 0, -1) == ["later"]
