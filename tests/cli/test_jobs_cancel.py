"""What `jobs cancel` refuses; no worker runs here."""

import json
import time
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import func, select

from penstock.broker.keys import Keys
from penstock.cli.jobs import jobs
from penstock.ledger.session import reading
from penstock.ledger.tables import audit
from tests.cli.conftest import Ledger, Run, run_with
from tests.conftest import NewLedger, producer


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: what the ledger says of a cancellation is tested with a worker, on each."""
    with new_ledger("sqlite") as url:
        yield url


def entries(ledger: Ledger) -> int:
    """Rows of the audit."""
    with reading(ledger.url) as connection:
        return connection.execute(select(func.count()).select_from(audit)).scalar_one()


def test_a_job_that_has_ended_is_refused(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one")
    result = run(jobs, "cancel", "one")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "one has already ended: succeeded" in result.stderr
    assert entries(ledger) == 0


@pytest.mark.parametrize(
    "options", [["--gently", "--grace", "5"], ["--gently", "--terminate"], ["--terminate", "--grace", "5"]]
)
def test_two_ways_of_stopping_are_wrong_usage(run: Run, ledger: Ledger, options: list[str]) -> None:
    result = run(jobs, "cancel", "never-seen", *options)
    assert result.exit_code == 2
    assert "give one of them" in result.stderr
    assert entries(ledger) == 0


def test_without_a_worker_the_request_is_noted_for_whoever_claims_the_job(
    run: Run, ledger: Ledger, broker: redis.Redis
) -> None:
    result = run(jobs, "cancel", "never-seen")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "never-seen: no worker runs; it is cancelled when one does\n"
    assert broker.zrange(Keys().revoked, 0, -1) == ["never-seen"]
    assert entries(ledger) == 1


def test_in_json_each_job_says_what_that_means(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one")
    result = run(jobs, "cancel", "never-seen", "one", "--json")
    means = "no worker runs; it is cancelled when one does"
    assert json.loads(result.stdout) == [{"job": "never-seen", "means": means}]
    assert (result.exit_code, "one has already ended" in result.stderr) == (1, True)


def test_without_redis_the_refusal_is_quick(ledger: Ledger, environment: dict[str, str]) -> None:
    begun = time.monotonic()
    with producer({**environment, "REDIS_URL": "redis://127.0.0.1:1/0"}) as app:
        result = run_with(app, jobs, "cancel", "one")
    assert result.exit_code == 1
    assert "REDIS_URL" in result.stderr
    assert time.monotonic() - begun < 6
