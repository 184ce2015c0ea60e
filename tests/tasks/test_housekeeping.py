"""The ledger's own upkeep, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from penstock.job import Reason, State
from penstock.ledger.rows import Delivery, Failure, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import audit, jobs
from tasks.housekeeping import heartbeat, retain
from tests.ledger.making import end_attempt, start_attempt

FAILURE = Failure(type="ValueError", message="no", exception={"exc_type": "ValueError", "exc_message": ["no"]})
OUTCOMES = {
    State.SUCCEEDED: Outcome(state=State.SUCCEEDED, result=1),
    State.FAILED: Outcome(state=State.FAILED, reason=Reason.ERROR, failure=FAILURE),
    State.CANCELLED: Outcome(state=State.CANCELLED, reason=Reason.REVOKED),
}


@pytest.fixture(autouse=True)
def ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ledger that the settings name; jobs are kept for 30 days, failed ones for 90."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


def add_job(url: str, id: str, state: State, days_old: float, task: str = "t") -> None:
    """A job that came into its state so many days ago."""
    delivery = Delivery(id=id, task=task)
    with writing(url) as connection:
        start_attempt(connection, delivery)
        if state.is_final:
            end_attempt(connection, delivery, OUTCOMES[state])
        past = datetime.now(UTC) - timedelta(days=days_old)
        times = {"updated_at": past, "started_at": past} | ({"finished_at": past} if state.is_final else {})
        connection.execute(update(jobs).where(jobs.c.id == id).values(**times))


def left(url: str) -> set[str]:
    with reading(url) as connection:
        return set(connection.execute(select(jobs.c.id)).scalars())


def test_only_what_the_settings_no_longer_keep_is_deleted(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_RETENTION", "succeeded=7d")
    add_job(ledger, "succeeded, old", State.SUCCEEDED, 8)
    add_job(ledger, "succeeded, recent", State.SUCCEEDED, 6)
    add_job(ledger, "failed, not old enough", State.FAILED, 31)
    add_job(ledger, "running since long ago", State.RUNNING, 400)
    assert retain() == {"succeeded": 1}
    assert left(ledger) == {"succeeded, recent", "failed, not old enough", "running since long ago"}


def test_a_task_can_have_a_shorter_limit(ledger: str) -> None:
    for task in ("busy", "other"):
        for state in OUTCOMES:
            add_job(ledger, f"{task} {state.value}", state, 2, task)
    add_job(ledger, "busy today", State.SUCCEEDED, 0.5, "busy")
    assert retain({"busy": 1}) == {state.value: 1 for state in OUTCOMES}
    assert left(ledger) == {"busy today", *(f"other {state.value}" for state in OUTCOMES)}


def test_the_audit_says_what_was_deleted_and_why(ledger: str) -> None:
    add_job(ledger, "old", State.FAILED, 91)
    retain({"busy": 1})
    with reading(ledger) as connection:
        (row,) = connection.execute(select(audit.c.actor, audit.c.action, audit.c.details))
    assert (row.actor, row.action, row.details["deleted"]) == ("tasks.housekeeping", "retain", {"failed": 1})
    assert row.details["rules"].endswith("audit=365d,task:busy=1d")


def test_nothing_to_delete_leaves_no_audit_row(ledger: str) -> None:
    add_job(ledger, "recent", State.SUCCEEDED, 1)
    assert retain() == {}
    with reading(ledger) as connection:
        assert connection.execute(select(func.count()).select_from(audit)).scalar_one() == 0


def test_a_heartbeat_that_comes_late_is_not_run() -> None:
    """After an outage hundreds of them would say the same."""
    assert heartbeat.defaults.expires == 60
    heartbeat()
