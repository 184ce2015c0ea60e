"""What becomes of jobs, as the ledger and Celery's own API tell it; with a real worker on each database."""

import json
import os
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psutil
import pytest
from celery import chord, group
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from sqlalchemy import make_url, text

from penstock import State
from penstock.job import Reason
from penstock.ledger import queries
from penstock.ledger.rows import AttemptRow, Delivery, JobRow, Outcome
from penstock.ledger.session import reading, writing
from tests import jobs
from tests.conftest import Live
from tests.ledger.making import end_attempt
from tests.live import wait_for

pytestmark = pytest.mark.slow


def ended(live: Live, id: str) -> JobRow:
    """The job's row, once it is final."""
    with reading(live.database_url) as connection:

        def final() -> JobRow | None:
            row = queries.find_job(connection, id)
            return row if row and row.state.is_final else None

        return wait_for(final, f"job {id} has ended")


def starts(live: Live, id: str) -> list[AttemptRow]:
    with reading(live.database_url) as connection:
        return queries.attempts_of(connection, id)


def submitted(live: Live, name: str, *args: object, **options: object) -> AsyncResult:
    return live.app.send_task(name, args=args, **options)


def test_a_success_is_recorded_with_its_result_and_its_whole_story(live: Live) -> None:
    job = jobs.add.enqueue(2, right=3)
    assert job.result(timeout=20) == 5
    row = ended(live, job.id)
    assert (row.state, row.reason, row.result) == (State.SUCCEEDED, None, 5)
    assert (row.task, row.queue, row.args, row.kwargs) == ("tests.jobs.add", "default", [2], {"right": 3})
    assert row.worker is not None
    assert row.worker.startswith("celery@")
    assert row.enqueued_at is not None
    assert row.started_at is not None
    assert row.finished_at is not None
    assert row.enqueued_at <= row.started_at <= row.finished_at
    assert row.root_id == job.id


def test_an_attempt_is_recorded_with_its_start_and_its_end(live: Live) -> None:
    job = jobs.add.enqueue(2, 3)
    ended(live, job.id)
    (attempt,) = starts(live, job.id)
    assert (attempt.number, attempt.outcome) == (1, "succeeded")
    assert attempt.finished_at is not None
    assert attempt.finished_at >= attempt.started_at


def test_a_failure_keeps_type_message_traceback_and_fingerprint(live: Live) -> None:
    first, second = jobs.fail.enqueue("order 1"), jobs.fail.enqueue("order 2")
    row, other = ended(live, first.id), ended(live, second.id)
    assert (row.state, row.reason, row.error_type, row.error_message) == (
        State.FAILED,
        Reason.ERROR,
        "ValueError",
        "order 1",
    )
    assert "raise ValueError(message)" in (row.error_traceback or "")
    assert row.error_fingerprint == other.error_fingerprint


def test_different_errors_have_different_fingerprints(live: Live) -> None:
    failed, recursed = jobs.fail.enqueue("x"), jobs.recurse.enqueue()
    assert ended(live, failed.id).error_fingerprint != ended(live, recursed.id).error_fingerprint


def test_async_result_raises_the_exception_anew(live: Live) -> None:
    result = AsyncResult(jobs.fail.enqueue("as it was").id, app=live.app)
    with pytest.raises(ValueError, match="as it was"):
        result.get(timeout=20)


def test_an_exception_that_no_database_stores_as_it_is_keeps_its_row(live: Live) -> None:
    row = ended(live, jobs.fail_strangely.enqueue().id)
    assert (row.state, row.error_type) == (State.FAILED, "tests.jobs.StrangeError")


@pytest.mark.parametrize("value", ["\x00", "\ud800", "ünïcödé 🚰", 2**70, {"nested": [None, True, 1.5]}, []])
def test_any_json_value_comes_back_as_it_was(live: Live, value: object) -> None:
    assert jobs.echo.enqueue(value).result(timeout=20) == value


@pytest.mark.parametrize("task", [jobs.return_an_object, jobs.return_nan], ids=["object", "nan"])
def test_a_result_that_is_not_json_fails_the_job_and_says_so(live: Live, task: object) -> None:
    row = ended(live, task.enqueue().id)  # type: ignore[attr-defined]
    assert row.state is State.FAILED
    assert "return plain JSON values" in (row.error_message or "")


def test_a_retried_job_is_one_row_with_an_attempt_for_each_start(live: Live) -> None:
    job = jobs.succeed_at.enqueue(3)
    row = ended(live, job.id)
    assert (row.state, row.result, row.attempts, row.retries) == (State.SUCCEEDED, 3, 3, 2)
    assert [(attempt.number, attempt.outcome, attempt.error_message) for attempt in starts(live, job.id)] == [
        (1, "retried", "attempt 1"),
        (2, "retried", "attempt 2"),
        (3, "succeeded", None),
    ]


def test_a_job_keeps_its_tags_when_it_is_retried(live: Live) -> None:
    job = jobs.succeed_at.options(tags=["nightly", "customer-7"]).enqueue(2)
    row = ended(live, job.id)
    assert (row.retries, row.tags) == (1, ("nightly", "customer-7"))


def test_a_job_of_celerys_own_has_the_tags_of_its_headers(live: Live) -> None:
    row = ended(live, submitted(live, "tests.plain", 1, 2, headers={"tags": ["nightly", "a b"]}).id)
    assert row.tags == ("nightly", "a_b")


def test_a_success_after_retries_no_longer_shows_their_error(live: Live) -> None:
    row = ended(live, jobs.succeed_at.enqueue(2).id)
    assert (row.error_type, row.error_message, row.error_fingerprint) == (None, None, None)


def test_a_job_that_waits_for_its_retry_says_when_it_is_due(live: Live) -> None:
    job = jobs.come_back_when_told.enqueue()

    def waits() -> bool:
        row = job.refresh().row
        return bool(row and row.state is State.SCHEDULED and row.eta)

    wait_for(waits, "the retry is scheduled", 10)


def test_a_job_that_the_ledger_knows_to_have_ended_does_not_run(live: Live, tmp_path: Path) -> None:
    """Its message says that it is not the first one; what is revoked before its first delivery is known to Redis."""
    id, touched = str(uuid.uuid4()), tmp_path / "started"
    cancelled = Outcome(state=State.CANCELLED, reason=Reason.REVOKED)
    with writing(live.database_url) as connection:
        end_attempt(connection, Delivery(id=id, task="tests.jobs.sleep"), cancelled)
    live.app.send_task("tests.jobs.sleep", args=[0, str(touched)], task_id=id, retries=1)
    jobs.add.enqueue(1, 1).result(timeout=20)
    wait_for(lambda: f"job {id} has ended" in live.worker.log or touched.exists(), "the worker has seen it")
    assert not touched.exists()
    assert ended(live, id).state is State.CANCELLED


def test_retries_end_with_the_error_of_the_last_attempt(live: Live) -> None:
    row = ended(live, jobs.succeed_at.enqueue(9).id)
    assert (row.state, row.attempts, row.error_message) == (State.FAILED, 3, "attempt 3")


def test_an_exception_can_say_when_to_come_back(live: Live) -> None:
    row = ended(live, jobs.come_back_when_told.enqueue().id)
    assert (row.state, row.attempts) == (State.SUCCEEDED, 2)


def test_a_job_that_overruns_its_timeout_fails_as_timed_out(live: Live) -> None:
    row = ended(live, jobs.overrun.enqueue(30).id)
    assert (row.state, row.reason) == (State.FAILED, Reason.TIMEOUT)


def test_a_job_that_kills_its_process_is_recorded_as_crashed_and_the_worker_lives(live: Live) -> None:
    row = ended(live, jobs.kill_own_process.enqueue().id)
    assert (row.state, row.reason) == (State.FAILED, Reason.CRASHED)
    assert jobs.add.enqueue(1, 1).result(timeout=20) == 2


@pytest.mark.parametrize("task", [jobs.leave, jobs.recurse], ids=["sys.exit", "recursion"])
def test_a_job_that_ends_badly_is_recorded_and_the_worker_lives(live: Live, task: object) -> None:
    assert ended(live, task.enqueue().id).state is State.FAILED  # type: ignore[attr-defined]
    assert jobs.add.enqueue(1, 1).result(timeout=20) == 2


def test_a_running_job_is_on_the_books_while_it_runs(live: Live, tmp_path: Path) -> None:
    started = tmp_path / "started"
    job = jobs.sleep.enqueue(3.0, str(started))
    wait_for(started.exists, "the body runs")
    wait_for(lambda: job.refresh().state is State.RUNNING, "it has a row", 2.5)
    assert AsyncResult(job.id, app=live.app).state == "STARTED"
    job.result(timeout=20)
    assert [(start.number, start.outcome) for start in starts(live, job.id)] == [(1, "succeeded")]


def test_a_task_that_tracks_its_start_says_where_it_runs_at_once(live: Live) -> None:
    """Others have no row yet: they may end before one would be of use."""
    result = submitted(live, "tests.tracked", 0.9)
    wait_for(lambda: result.state == "STARTED", "its start is on the books", 5)
    assert result.info["pid"] in live.worker.children
    assert result.info["hostname"] == ended(live, result.id).worker


def test_a_job_that_a_job_submits_names_its_parent(live: Live) -> None:
    parent = jobs.start_another.enqueue()
    child = ended(live, parent.result(timeout=20))
    assert (child.parent_id, child.root_id) == (parent.id, parent.id)


def test_a_plain_shared_task_is_recorded_as_well(live: Live) -> None:
    result = submitted(live, "tests.plain", 2, 2)
    assert result.get(timeout=20) == 4
    assert ended(live, result.id).result == 4


def test_values_that_celery_gives_a_json_form_come_back_as_they_were(live: Live) -> None:
    assert submitted(live, "tests.money", Decimal("1.10")).get(timeout=20) == Decimal("2.20")


def test_a_task_that_ignores_its_result_is_recorded_without_the_value(live: Live) -> None:
    row = ended(live, submitted(live, "tests.forgetful").id)
    assert (row.state, row.result) == (State.SUCCEEDED, None)


def test_ignore_is_recorded_as_a_success_that_says_so(live: Live) -> None:
    row = ended(live, submitted(live, "tests.ignored").id)
    assert (row.state, row.reason) == (State.SUCCEEDED, Reason.IGNORED)


def test_reject_is_recorded_as_a_failure_that_says_so(live: Live) -> None:
    row = ended(live, submitted(live, "tests.rejected").id)
    assert (row.state, row.reason, row.error_message) == (State.FAILED, Reason.REJECTED, "no")


def test_a_state_of_the_tasks_own_is_shown_while_it_runs(live: Live, tmp_path: Path) -> None:
    result = submitted(live, "tests.progressing", str(tmp_path / "go"))
    wait_for(lambda: result.state == "PROGRESS", "progress shows")
    assert result.info == {"done": 1, "total": 2}
    (tmp_path / "go").touch()
    assert result.get(timeout=20) == "done"


def test_a_cancelled_job_is_recorded_and_never_runs(live: Live, tmp_path: Path) -> None:
    touched = tmp_path / "started"
    job = jobs.sleep.options(delay=2).enqueue(0, str(touched))
    live.app.control.revoke(job.id, reply=True)
    row = ended(live, job.id)
    assert (row.state, row.reason) == (State.CANCELLED, Reason.REVOKED)
    assert not touched.exists()
    with pytest.raises(TaskRevokedError):
        AsyncResult(job.id, app=live.app).get(timeout=5)


def test_an_expired_job_is_recorded_as_cancelled_and_never_runs(live: Live, tmp_path: Path) -> None:
    touched = tmp_path / "started"
    row = ended(live, jobs.sleep.options(delay=1.5, expires=0.5).enqueue(0, str(touched)).id)
    assert (row.state, row.reason) == (State.CANCELLED, Reason.EXPIRED)
    assert not touched.exists()


def test_arguments_that_do_not_fit_are_recorded_though_the_producer_knew_no_better(live: Live) -> None:
    """Also of a task that retries: a wrong call stays wrong."""
    for name in ("tests.jobs.add", "tests.jobs.succeed_at"):
        row = ended(live, submitted(live, name, 1, 2, 3).id)
        assert (row.state, row.error_type, row.attempts) == (State.FAILED, "penstock.errors.ArgumentError", 1)


def test_a_stock_producers_nan_argument_costs_no_row(live: Live) -> None:
    row = ended(live, submitted(live, "tests.isnan", float("nan")).id)
    assert (row.state, row.result, row.args) == (State.SUCCEEDED, True, ["[nan]"])


@pytest.mark.parametrize(
    "headers",
    [
        {"schedule": {"a": 1}},
        {"enqueued_at": "0001-01-01T00:00:00+05:00"},
        {"enqueued_at": 5},
        {"eta": None, "retries": 10**12},
        {"group": ["x"]},
        {"parent_id": 7, "root_id": 8.5},
        {"tags": {"a": [1]}},
    ],
    ids=["object", "time out of range", "time that is a number", "huge number", "list", "numbers as ids", "no tags"],
)
def test_a_header_of_the_wrong_kind_costs_no_row(live: Live, headers: dict[str, object]) -> None:
    id = str(uuid.uuid4())
    whole = {"lang": "py", "task": "tests.plain", "id": id, "retries": 0, "root_id": id, "parent_id": None} | headers
    body = [[1, 2], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    with live.app.connection_for_write() as connection:
        connection.Producer().publish(body, routing_key="default", headers=whole, correlation_id=id, serializer="json")
    assert ended(live, id).result == 3


def test_a_chord_ends_once_with_the_results_of_its_parts(live: Live) -> None:
    workflow = chord((jobs.add.s(number, number) for number in range(3)), live.app.tasks["tests.total"].s())
    assert workflow.apply_async().get(timeout=30) == 6


def test_a_chain_passes_its_results_on(live: Live) -> None:
    assert (jobs.add.s(1, 2) | jobs.add.s(3)).apply_async().get(timeout=20) == 6


def test_a_group_answers_in_order(live: Live) -> None:
    assert group(jobs.add.s(number, 0) for number in range(5)).apply_async().get(timeout=20) == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_forgetting_a_result_removes_the_row(live: Live) -> None:
    job = jobs.add.enqueue(1, 1)
    ended(live, job.id)
    AsyncResult(job.id, app=live.app).forget()
    assert job.refresh().row is None


def connections_by_process(live: Live) -> dict[int, list[str]]:
    """The ledger connections of the parent (process 0) and of each child of the pool."""
    (answer,) = live.app.control.broadcast("connections", reply=True, timeout=5)
    found = {0: next(iter(answer.values()))}

    def every_child_has_answered() -> bool:
        for job in [jobs.connections.enqueue(0.2) for _ in range(2)]:
            pid, names = job.result(timeout=20)
            found[pid] = names
        return len(found) > 2

    wait_for(every_child_has_answered, "both children have run a job")
    return found


def test_neither_a_workers_parent_nor_its_children_connect_to_sql(live: Live) -> None:
    """Also after a crash, which the parent tells, in the child that takes the dead one's place, and after a revoke."""
    job = jobs.kill_own_process.enqueue()
    ended(live, job.id)
    live.app.control.revoke(job.id, reply=True)
    assert not any(connections_by_process(live).values())


def test_a_worker_has_one_sql_connection_and_one_more_while_it_publishes_the_outbox(live: Live) -> None:
    jobs.add.enqueue(1, 1).result(timeout=20)
    if live.database_url.startswith("sqlite"):
        assert who_has_open(live, str(make_url(live.database_url).database)) == {live.worker.keeper}
        return
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with reading(live.database_url) as connection:
        assert connection.execute(text(others)).scalar_one() in (1, 2)


def who_has_open(live: Live, path: str) -> set[int]:
    """The worker's processes that have a file open; a connection to a database in it is no more than that."""
    processes = [live.worker.pid, live.worker.keeper, *live.worker.children]
    return {pid for pid in processes if any(path == file.path for file in psutil.Process(pid).open_files())}


def test_a_producer_that_forks_shares_no_ledger_connection_with_its_child(live: Live) -> None:
    """As web servers do; the parent has an idle connection when it forks."""
    with reading(live.database_url) as connection:
        queries.ping(connection)
    assert jobs.ledger_connections()
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        inherited = jobs.ledger_connections()
        os.write(sender, json.dumps(inherited).encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as answer:
        assert json.loads(answer.read()) == []
    os.waitpid(child, 0)


@pytest.fixture(autouse=True)
def _worker_survives(live: Live) -> Iterator[None]:
    """No test of this module may cost the worker its life."""
    yield
    assert live.worker.process is not None
    assert live.worker.process.poll() is None, live.worker.log
