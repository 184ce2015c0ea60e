"""Jobs and attempts by the second, as rows that no database has seen."""

from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.job import State
from penstock.ledger.rows import AttemptRow, JobRow

START = datetime(2026, 11, 22, 8, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


NOW = at(100)


def job(**values: Any) -> JobRow:
    """A job that was enqueued at the start and ended well ten seconds later."""
    known: dict[str, Any] = {
        "id": "one",
        "task": "t",
        "queue": "default",
        "state": State.SUCCEEDED,
        "retries": 0,
        "deliveries": 0,
        "attempts": 1,
        "enqueued_at": START,
        "finished_at": at(10),
        "updated_at": at(10),
    }
    return JobRow(**{**dict.fromkeys(JobRow.__dataclass_fields__), **known, **values})


def attempt(number: int, start: float, end: float | None, outcome: str | None = "succeeded") -> AttemptRow:
    finished = at(end) if end is not None else None
    known = {"job_id": "one", "number": number, "retries": 0, "deliveries": 0, "outcome": outcome}
    empty = dict.fromkeys(AttemptRow.__dataclass_fields__)
    return AttemptRow(**{**empty, **known, "started_at": at(start), "finished_at": finished})  # type: ignore[arg-type]
