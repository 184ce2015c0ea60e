"""`failures replay` and `failures discard` of all failed jobs of one error; no worker runs here."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from penstock.actor import actor
from penstock.broker.keys import Keys
from penstock.cli.failures import failures
from penstock.cli.jobs import jobs
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.session import reading
from penstock.ledger.tables import audit
from penstock.operations.failures.failed import retried_as
from tests import jobs as tasks
from tests.cli.conftest import Ledger, Run
from tests.conftest import NewLedger

PRINT = "0123456789ab"
TASK = tasks.add.name


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: the statements are tested on each, in tests/ledger/test_failed.py."""
    with new_ledger("sqlite") as url:
        yield url


def entries(ledger: Ledger) -> list[tuple[str, str, str | None, Any]]:
    """(who, action, job, details) of the audit."""
    with reading(ledger.url) as connection:
        rows = connection.execute(audit.select().order_by(audit.c.id))
        return [(row.actor, row.action, row.job_id, row.details) for row in rows]


def waiting(broker: redis.Redis) -> list[dict[str, Any]]:
    """The headers of the messages on the queue, oldest first."""
    return [json.loads(message)["headers"] for message in reversed(broker.lrange("default", 0, -1))]


def reasons(ledger: Ledger, *ids: str) -> dict[str, Reason | None]:
    with reading(ledger.url) as connection:
        rows = queries.find_jobs(connection, ids)
    assert {row.state for row in rows} == {State.FAILED}
    return {row.id: row.reason for row in rows}


def test_all_failed_jobs_of_an_error_are_retried_the_oldest_first(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    for id in "abc":
        ledger.fail(id)
    result = run(failures, "replay", PRINT, "--yes")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "".join(f"{id} → {retried_as(id)}\n" for id in "abc")
    assert [(each["replay_of"], each["id"], each["task"]) for each in waiting(broker)] == [
        (id, retried_as(id), TASK) for id in "abc"
    ]


def test_each_retry_is_noted_and_all_of_them_with_their_count(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    for id in "ab":
        ledger.fail(id)
    run(failures, "replay", PRINT, "--yes")
    assert entries(ledger) == [
        (actor(), "retry", "a", {"new": retried_as("a")}),
        (actor(), "retry", "b", {"new": retried_as("b")}),
        (actor(), "replay", None, {"error": PRINT, "count": 2}),
    ]


def test_what_was_retried_already_is_left(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    for id in "ab":
        ledger.fail(id)
    run(jobs, "retry", "a")
    assert run(failures, "replay", PRINT, "--yes").stdout == f"b → {retried_as('b')}\n"
    again = run(failures, "replay", PRINT, "--yes")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "no open failures match\n")
    assert len(waiting(broker)) == 2


def test_a_job_that_cannot_be_retried_is_told_and_stops_no_other(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("gone", task="elsewhere.send")
    ledger.fail("here")
    result = run(failures, "replay", PRINT, "--yes")
    assert result.exit_code == 1
    assert result.stderr.startswith("gone this app has no task elsewhere.send")
    assert result.stdout == f"here → {retried_as('here')}\n"
    assert entries(ledger)[-1][3] == {"error": PRINT, "count": 1}


def test_all_failed_jobs_of_an_error_are_discarded_and_noted_once(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    for id in "abc":
        ledger.fail(id)
    ledger.fail("kept", task="other.task")
    run(jobs, "retry", "c")
    result = run(failures, "discard", PRINT, "--yes")
    assert result.stdout == f"{PRINT} 3 failed jobs discarded\n"
    discarded = Reason.DISCARDED
    assert reasons(ledger, *"abc", "kept") == {"a": discarded, "b": discarded, "c": Reason.ERROR, "kept": discarded}
    assert entries(ledger)[-1] == (actor(), "discard", None, {"error": PRINT, "count": 3})
    assert "failed (discarded)" in run(jobs, "show", "a").stdout


def test_what_was_discarded_is_not_replayed(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("a")
    run(failures, "discard", PRINT, "--yes")
    assert run(failures, "replay", PRINT, "--yes").stderr == "no open failures match\n"
    assert waiting(broker) == []


@pytest.mark.parametrize(("verb", "participle"), [("replay", "replayed"), ("discard", "discarded")])
def test_an_error_is_asked_about_with_the_number_of_its_jobs(
    run: Run, ledger: Ledger, broker: redis.Redis, verb: str, participle: str
) -> None:
    for id in "ab":
        ledger.fail(id)
    result = run(failures, verb, PRINT)
    assert f"2 failed jobs of {PRINT} will be {participle}. Go on?" in result.stderr
    assert result.exit_code == 1
    assert (waiting(broker), entries(ledger)) == ([], [])


def test_in_json_each_job_has_its_new_id(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("a")
    (found,) = json.loads(run(failures, "replay", PRINT, "--yes", "--json").stdout)
    assert (found["entry"], found["done"], found["job"]) == ("a", True, retried_as("a"))


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_an_error_that_nobody_has_is_refused(run: Run, verb: str, broker: redis.Redis) -> None:
    result = run(failures, verb, "ffffffffffff", "--yes")
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: there is no failure ffffffffffff")


def test_the_rate_bounds_how_fast_jobs_are_retried(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    for id in "abcdef":
        ledger.fail(id)
    begun = time.monotonic()
    run(failures, "replay", PRINT, "--rate", "10/s", "--yes")
    assert time.monotonic() - begun > 0.45
    assert len(waiting(broker)) == 6


def test_without_redis_no_job_is_noted_as_retried(run: Run, ledger: Ledger, broker: redis.Redis) -> None:
    ledger.fail("a")
    broker.hset(Keys().ready("default", 0), "a", "hash where the list should be")
    assert run(failures, "replay", PRINT, "--yes").exit_code == 1
    assert entries(ledger) == []
