"""A job as its workers tell of it, and as the ledger shows it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.records import Encoded, FollowUp, Part, Record, Verdict
from penstock.ledger.rows import AttemptRow, Delivery, JobRow, Outcome
from penstock.ledger.session import reading
from penstock.ledger.tables import counters, jobs, outbox, tallies
from tests.ledger.making import write

FIRST = "a:1"
RETRIED, REQUEUED = Outcome(state=State.SCHEDULED), Outcome(state=State.QUEUED)


@dataclass(frozen=True)
class Job:
    """One job of a ledger."""

    url: str
    id: str

    @property
    def queue(self) -> str:
        """Its own, so that its tallies are nobody else's."""
        return f"queue-{self.id}"

    def claim(self, token: str | None = FIRST, retries: int = 0, deliveries: int = 0, **values: Any) -> Delivery:
        """A delivery of its message."""
        told = {"worker": "w@host", "enqueued_at": datetime.now(UTC), "args": [1], "kwargs": {"a": "é\n\t\\"}}
        pair = {"retries": retries, "deliveries": deliveries}
        return Delivery(**{"id": self.id, "task": "t", "queue": self.queue, "token": token, **pair, **told, **values})

    def tell(self, *records: Record) -> list[Verdict]:
        """Writes records in one transaction."""
        return write(self.url, *records).verdicts

    def follow_up(self, key: str | None = None, **values: Any) -> FollowUp:
        """A message that follows from an outcome: of another job, or one by its outbox key."""
        key = key or f"{self.id}-next"
        told = {"job_id": key, "task": "next", "queue": self.queue, "step": 0, "payload": b'{"body":"\x00\xff'}
        return FollowUp(**{"key": key, **told, **values})

    @property
    def retry(self) -> FollowUp:
        """Its own first retry."""
        return self.follow_up(f"{self.id}~1", job_id=self.id)

    def part(self, counter: str, total: int, position: int | None = None) -> Part:
        """This job as a part of a chord."""
        body = Encoded('{"task":"body","args":[]}')
        return Part(counter=counter, job_id=self.id, position=position, total=total, body=body, queue=self.queue)

    @property
    def exists(self) -> bool:
        with reading(self.url) as connection:
            return queries.find_job(connection, self.id) is not None

    @property
    def row(self) -> JobRow:
        with reading(self.url) as connection:
            row = queries.find_job(connection, self.id)
        assert row is not None
        return row

    @property
    def state(self) -> State:
        return self.row.state

    @property
    def pair(self) -> tuple[int, int, str | None]:
        """What the fence compares with."""
        row = self.row
        return row.retries, row.deliveries, row.token

    @property
    def attempts(self) -> list[AttemptRow]:
        with reading(self.url) as connection:
            return queries.attempts_of(connection, self.id)

    @property
    def outcomes(self) -> list[str | None]:
        return [attempt.outcome for attempt in self.attempts]

    @property
    def outbox(self) -> dict[str, Any]:
        """The rows of its messages and of those that follow from it, by key."""
        with reading(self.url) as connection:
            rows = connection.execute(select(outbox).where(outbox.c.key.startswith(self.id)).order_by(outbox.c.number))
            return {row.key: row for row in rows}

    @property
    def tallies(self) -> dict[str, int]:
        """Of its queue, by state."""
        with reading(self.url) as connection:
            rows = connection.execute(select(tallies).where(tallies.c.queue == self.queue))
            return {row.state: row.count for row in rows}

    def remaining(self, counter: str) -> int:
        """Parts of a chord that have not ended."""
        with reading(self.url) as connection:
            return connection.execute(select(counters.c.remaining).where(counters.c.id == counter)).scalar_one()

    @property
    def everything(self) -> tuple[Any, ...]:
        """All that the ledger knows of it."""
        with reading(self.url) as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == self.id)).one_or_none()
        return row, self.attempts, self.outbox, self.tallies
