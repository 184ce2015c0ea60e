"""After Redis was replaced: what had been settled does not run again, and what runs does not run beside itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.engine.comeback import Comebacks, Verdict
from penstock.job import State
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import writing
from penstock.message import ENQUEUED_AT
from tests.conftest import NewLedger
from tests.ledger.making import end_attempt, start_attempt

JOB = Delivery(id="j1", task="t", queue="mail", worker="ant@host")


@pytest.fixture
def ledger(new_ledger: NewLedger) -> Iterator[str]:
    with new_ledger("sqlite") as url:
        yield url


def comebacks(url: str, *live_workers: str) -> Comebacks:
    return Comebacks(url, lambda: list(live_workers))


def replaced_now(doubting: Comebacks) -> Comebacks:
    doubting.notice(int(datetime.now(UTC).timestamp() * 1000))
    return doubting


def message(minutes: float = -1) -> Any:
    """The job's message, enqueued so many minutes from now."""
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    return SimpleNamespace(headers={"id": "j1", ENQUEUED_AT: moment.isoformat()})


def started(url: str) -> None:
    with writing(url) as connection:
        start_attempt(connection, JOB)


def ended(url: str) -> None:
    with writing(url) as connection:
        end_attempt(connection, JOB, Outcome(state=State.SUCCEEDED))


def test_a_job_that_has_ended_is_done_with(ledger: str) -> None:
    ended(ledger)
    assert replaced_now(comebacks(ledger)).judge(message()) is Verdict.DONE


def test_a_job_that_runs_at_a_worker_that_lives_has_to_wait(ledger: str) -> None:
    started(ledger)
    assert replaced_now(comebacks(ledger, "ant@host/00000001")).judge(message()) is Verdict.LATER


def test_a_job_whose_worker_has_gone_is_delivered(ledger: str) -> None:
    started(ledger)
    assert replaced_now(comebacks(ledger, "bee@host/00000002")).judge(message()) is Verdict.DELIVER


def test_a_job_that_nobody_has_started_is_delivered(ledger: str) -> None:
    assert replaced_now(comebacks(ledger)).judge(message()) is Verdict.DELIVER


def test_what_cannot_be_looked_up_has_to_wait() -> None:
    away = "postgresql+psycopg://user@127.0.0.1:1/none"
    assert replaced_now(comebacks(away)).judge(message()) is Verdict.LATER


def test_nothing_is_looked_up_while_redis_is_the_same_or_for_what_came_after() -> None:
    away = "postgresql+psycopg://user@127.0.0.1:1/none"
    assert comebacks(away).judge(message()) is Verdict.DELIVER
    assert replaced_now(comebacks(away)).judge(message(minutes=1)) is Verdict.DELIVER


def test_a_change_is_news_once(ledger: str) -> None:
    doubting = comebacks(ledger)
    assert [doubting.notice(changed) for changed in (5, 5, 4, 6)] == [True, False, False, True]
