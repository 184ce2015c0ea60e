"""Failed jobs of one error: how many are open, and giving some of them up."""

from datetime import UTC, datetime, timedelta

import pytest

from penstock.app import PenstockApp
from penstock.job import Reason, State
from penstock.ledger import letters, queries
from penstock.ledger.failed import FailedFilter
from penstock.ledger.records import Encoded
from penstock.ledger.rows import DeadLetter, Failure, Outcome
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import Kind
from penstock.operations.failures import failed
from penstock.operations.failures.failed import Plan, discard_jobs, plan, why_not_open
from tests.ledger.making import SUCCEEDED, delivery, end, write

PRINT = "0123456789ab"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def fail(app: PenstockApp, *ids: str) -> None:
    """Jobs that failed for good, one a second."""
    failure = Failure(type="ValueError", message="no", exception=Encoded("{}"), fingerprint=PRINT)
    outcome = Outcome(state=State.FAILED, reason=Reason.ERROR, failure=failure)
    for second, id in enumerate(ids):
        at = NOON + timedelta(seconds=second)
        write(app.settings.database_url, end(delivery(id, token=id), outcome, at=at, started_at=at))


def test_some_are_given_up_and_each_says_by_whom(app: PenstockApp) -> None:
    fail(app, "a", "b", "c")
    assert discard_jobs(app, ["a", "c"], actor="me") == ["a", "c"]
    with reading(app.settings.database_url) as connection:
        reasons = {row.id: row.reason for row in queries.find_jobs(connection, ["a", "b", "c"])}
        noted = [(entry.actor, entry.action) for entry in queries.audit_of(connection, "a")]
    assert reasons == {"a": Reason.DISCARDED, "b": Reason.ERROR, "c": Reason.DISCARDED}
    assert noted == [("me", "discard")]


def test_what_is_given_up_already_or_did_not_fail_is_left_alone(app: PenstockApp) -> None:
    fail(app, "a")
    write(app.settings.database_url, end(delivery("good"), SUCCEEDED))
    discard_jobs(app, ["a"], actor="me")
    assert discard_jobs(app, ["a", "good", "never"], actor="you") == []
    with reading(app.settings.database_url) as connection:
        assert [entry.actor for entry in queries.audit_of(connection, "a")] == ["me"]


def test_what_cannot_be_given_up_says_why(app: PenstockApp) -> None:
    fail(app, "gone", "again", "buried")
    write(app.settings.database_url, end(delivery("good"), SUCCEEDED))
    discard_jobs(app, ["gone"], actor="me")
    with writing(app.settings.database_url) as connection:
        queries.add_audit(connection, actor="me", action="retry", job_id="again")
        job = delivery("buried", token="buried")
        letter = DeadLetter(
            id="1",
            kind=Kind.BURIED,
            queue="default",
            step=0,
            reason="lost",
            payload=b"{}",
            deliveries=3,
            at=NOON,
            job=job,
        )
        letters.bury(connection, [letter])
    assert why_not_open(app, ["gone", "again", "buried", "good", "never"]) == {
        "gone": "was discarded already",
        "again": "was retried already",
        "buried": "has a message that is kept among the failures; discard that one",
        "good": "has not failed, it is succeeded",
        "never": "is not in the ledger",
    }


def test_open_jobs_are_counted_without_those_that_are_given_up(app: PenstockApp) -> None:
    fail(app, "a", "b")
    discard_jobs(app, ["a"], actor="me")
    assert plan(app, PRINT) == Plan(FailedFilter(error=PRINT), 1, is_more=False)


def test_whoever_looks_at_a_part_is_told_that_there_may_be_more(
    app: PenstockApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed, "COUNTED_TOGETHER", 2)
    fail(app, "a", "b", "c")
    discard_jobs(app, ["a", "b"], actor="me")
    assert plan(app, PRINT, looked_at=2) == Plan(FailedFilter(error=PRINT), 0, is_more=True)
    assert plan(app, PRINT) == Plan(FailedFilter(error=PRINT), 1, is_more=False)
