"""Records as workers make them, for tests that need rows."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from penstock.job import Reason, State
from penstock.ledger.recording import Written, record
from penstock.ledger.records import Record, Step, Verdict
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.session import writing

CRASHED = Outcome(state=State.QUEUED, reason=Reason.CRASHED)
SUCCEEDED = Outcome(state=State.SUCCEEDED)
UNKNOWN = Outcome(state=State.BLOCKED, reason=Reason.UNKNOWN_TASK)


def delivery(id: str = "1", **values: Any) -> Delivery:
    """Of a job of task ``t``."""
    return Delivery(**{"id": id, "task": "t", "queue": "default", **values})


def step(step: Step, of: Delivery | None = None, **values: Any) -> Record:
    """A record of now."""
    return Record(**{"step": step, "delivery": of or delivery(), "at": datetime.now(UTC), **values})


def start(of: Delivery | None = None, **values: Any) -> Record:
    return step(Step.START, of, **values)


def running(of: Delivery | None = None, **values: Any) -> Record:
    return step(Step.RUNNING, of, **{"started_at": datetime.now(UTC), **values})


def end(of: Delivery | None = None, outcome: Outcome = SUCCEEDED, **values: Any) -> Record:
    """The end of an attempt that has run."""
    return step(Step.END, of, outcome=outcome, **{"started_at": datetime.now(UTC), **values})


def aside(of: Delivery | None = None, outcome: Outcome = UNKNOWN, **values: Any) -> Record:
    return step(Step.ASIDE, of, outcome=outcome, **values)


def write(url: str, *records: Record) -> Written:
    """Writes them in one transaction."""
    with writing(url) as connection:
        return record(connection, records)


def verdict(url: str, one: Record) -> Verdict:
    """What became of one record."""
    return write(url, one).verdicts[0]


def start_attempt(connection: Connection, of: Delivery) -> Verdict:
    """A row whose next attempt runs."""
    return record(connection, [start(of)]).verdicts[0]


def end_attempt(connection: Connection, of: Delivery, outcome: Outcome) -> Verdict:
    """A row whose attempt has ended as ``outcome`` says."""
    return record(connection, [end(of, outcome, started_at=None)]).verdicts[0]
