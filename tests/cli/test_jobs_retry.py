"""What `jobs retry` refuses, and what it puts on the queue; no worker runs here."""

import json
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import select, update

from penstock.actor import actor
from penstock.broker import envelope
from penstock.cli.jobs import jobs
from penstock.job import Reason, State
from penstock.ledger.rows import AuditRow, Delivery, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import audit
from penstock.ledger.tables import jobs as table
from tests import jobs as tasks
from tests.cli.conftest import Ledger, Run, run_with
from tests.conftest import NewLedger, producer

A_UUID = "3f2a91c0-5b1e-4c59-9a53-0c7d1f0e8a11"
TASK = tasks.add.name


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: what the ledger says of a retry is tested with a worker, on each."""
    with new_ledger("sqlite") as url:
        yield url


def audited(ledger: Ledger) -> list[AuditRow]:
    with reading(ledger.url) as connection:
        return [AuditRow(**row._mapping) for row in connection.execute(select(audit).order_by(audit.c.id))]


def waiting(broker: redis.Redis, queue: str = "default") -> list[dict]:
    """The headers of the messages on a queue, oldest first."""
    return [json.loads(message)["headers"] for message in reversed(broker.lrange(queue, 0, -1))]


def assert_refused(run: Run, ledger: Ledger, broker: redis.Redis, *ids: str, because: str) -> None:
    """Nothing was submitted and nothing was noted."""
    result = run(jobs, "retry", *ids)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("penstock: ")
    assert because in result.stderr
    assert waiting(broker) == []
    assert audited(ledger) == []


def test_a_retry_is_a_new_message_that_names_the_old_job(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=TASK, args=[1], kwargs={"right": 2})
    result = run(jobs, "retry", "old")
    assert result.exit_code == 0, result.stderr
    (headers,) = waiting(broker)
    assert headers["replay_of"] == "old"
    assert headers["task"] == TASK
    assert headers["id"] != "old"
    assert "tags" not in headers
    assert result.stdout == f"old → {headers['id']}\n"


def test_a_retry_has_the_tags_of_the_old_job(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=TASK, args=[1, 2], tags=("nightly", "customer-7"))
    assert run(jobs, "retry", "old").exit_code == 0
    assert [headers["tags"] for headers in waiting(broker)] == [["nightly", "customer-7"]]


def test_in_json_each_old_id_has_its_new_one(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=TASK, args=[1], kwargs={"right": 2})
    submitted = json.loads(run(jobs, "retry", "old", "--json").stdout)
    assert submitted == [{"job": "old", "new": waiting(broker)[0]["id"]}]


def test_a_retry_waits_where_the_old_job_waited(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.succeed("old", task=TASK, queue="slow", priority=3)
    assert run(jobs, "retry", "old").exit_code == 0
    # kombu keeps one list per priority step.
    assert [headers["replay_of"] for headers in waiting(broker, "slow\x06\x163")] == ["old"]


def test_a_retry_has_the_limits_that_its_task_declares(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=tasks.overrun.name, args=[1])
    assert run(jobs, "retry", "old").exit_code == 0
    assert waiting(broker)[0]["timelimit"] == [5.5, 0.5]


def test_the_audit_says_who_retried_what_as_what(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=TASK)
    run(jobs, "retry", "old")
    (entry,) = audited(ledger)
    assert (entry.actor, entry.action, entry.job_id) == (actor(), "retry", "old")
    assert entry.details == {"new": waiting(broker)[0]["id"]}
    assert "@" in entry.actor


def test_several_jobs_are_retried_at_once_and_each_only_once(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail(A_UUID, task=TASK)
    ledger.fail("other", task=TASK)
    assert run(jobs, "retry", A_UUID, "other", A_UUID[:8]).exit_code == 0
    assert [headers["replay_of"] for headers in waiting(broker)] == [A_UUID, "other"]


def test_a_running_job_is_refused_and_no_other_is_submitted(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("ended", task=TASK)
    ledger.start("busy", task=TASK)
    assert_refused(run, ledger, broker, "ended", "busy", because="busy has not ended, it is running")


def test_a_task_that_this_app_lacks_is_refused(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task="elsewhere.send")
    assert_refused(run, ledger, broker, "old", because="no task elsewhere.send")


def test_arguments_that_were_not_json_are_refused(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=tasks.echo.name, args=["[nan]"], kwargs={"unserialisable": "{}"})
    assert_refused(run, ledger, broker, "old", because="were not JSON")


def test_a_job_whose_message_no_worker_has_seen_is_refused(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    unseen = Delivery(id="old", task="(unknown)")
    ledger.end(unseen, Outcome(state=State.CANCELLED, reason=Reason.REVOKED))
    assert_refused(run, ledger, broker, "old", because="before a worker saw its message")


def test_a_row_without_arguments_is_refused(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=TASK)
    with writing(ledger.url) as connection:
        connection.execute(update(table).values(args=None, kwargs=None))
    assert_refused(run, ledger, broker, "old", because="has not its arguments")


@pytest.mark.parametrize("task", [TASK, "tests.plain"])
def test_arguments_that_no_longer_fit_are_refused(run: Run, ledger: Ledger, broker: redis.Redis, task: str) -> None:
    ledger.fail("old", task=task, args=[1, 2, 3])
    assert_refused(run, ledger, broker, "old", because="no longer fit its task")


def arguments(broker: redis.Redis) -> list[object]:
    """Those of the only message on the queue: positional, named."""
    (message,) = broker.lrange("default", 0, -1)
    body: list[object] = envelope.body(envelope.read(message.encode()))
    return body[:2]


def test_a_retry_with_edited_arguments_has_them_in_place_of_its_own(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    ledger.fail("old", task=TASK, args=[1], kwargs={"right": 2})
    result = run(jobs, "retry", "old", "--kwargs", '{"right": 5}')
    assert result.exit_code == 0, result.stderr
    assert arguments(broker) == [[1], {"right": 5}]
    assert result.stdout == f"old → {waiting(broker)[0]['id']}\n"
    assert waiting(broker)[0]["replay_of"] == "old"


def test_the_audit_says_which_arguments_were_edited(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=TASK, args=[1, 2])
    (submitted,) = json.loads(run(jobs, "retry", "old", "--args", "[3, 4]", "--json").stdout)
    (entry,) = audited(ledger)
    assert (entry.action, entry.job_id) == ("retry", "old")
    assert entry.details == {"new": submitted["new"], "edited": ["args"]}


def test_a_job_whose_arguments_were_not_json_can_be_given_others(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=tasks.echo.name, args=["[nan]"], kwargs={"unserialisable": "{}"})
    assert run(jobs, "retry", "old", "--args", '["plain"]', "--kwargs", "{}").exit_code == 0
    assert arguments(broker) == [["plain"], {}]


def test_of_a_job_whose_arguments_were_not_json_all_of_them_are_to_be_given(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    ledger.fail("old", task=tasks.echo.name, args=["[nan]"], kwargs={"unserialisable": "{}"})
    assert_refused(run, ledger, broker, "old", "--kwargs", "{}", because="both the positional and the named ones")


@pytest.mark.parametrize("task", [TASK, "tests.plain"])
def test_edited_arguments_that_do_not_fit_the_task_are_refused(
    run: Run, ledger: Ledger, broker: redis.Redis, task: str
) -> None:
    ledger.fail("old", task=task, args=[1])
    assert_refused(run, ledger, broker, "old", "--kwargs", '{"no_such": 1}', because="do not fit its task")


@pytest.mark.parametrize(
    ("option", "text"), [("--args", "[1"), ("--args", "{}"), ("--kwargs", "[]"), ("--kwargs", "null")]
)
def test_edited_arguments_of_another_form_are_refused(
    run: Run, ledger: Ledger, broker: redis.Redis, option: str, text: str
) -> None:
    ledger.fail("old", task=TASK, args=[1])
    assert_refused(run, ledger, broker, "old", option, text, because=f"{option} {text!r}")


def test_edited_arguments_are_for_one_job(run: Run) -> None:
    assert run(jobs, "retry", "one", "other", "--args", "[]").exit_code == 2


def test_an_unknown_job_is_refused(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("old", task=TASK)
    assert_refused(run, ledger, broker, "old", "nothing", because="no job nothing")


def test_no_id_is_wrong_usage(run: Run) -> None:
    assert run(jobs, "retry").exit_code == 2


def test_without_redis_nothing_is_noted(ledger: Ledger, environment: dict[str, str]) -> None:
    ledger.fail("old", task=TASK)
    with producer({**environment, "REDIS_URL": "redis://127.0.0.1:1/0"}) as app:
        result = run_with(app, jobs, "retry", "old")
    assert result.exit_code == 1
    assert "REDIS_URL" in result.stderr
    assert audited(ledger) == []
