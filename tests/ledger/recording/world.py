"""What workers may tell of a few jobs of one chord, in any order and more than once, and what must hold then."""

import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.recording import Written
from penstock.ledger.records import Record, Step, Verdict
from penstock.ledger.rows import Delivery, JobRow, Outcome
from penstock.ledger.session import reading
from penstock.ledger.tables import outbox, tallies
from tests.ledger.making import CRASHED, SUCCEEDED, UNKNOWN
from tests.ledger.recording.job import REQUEUED, RETRIED, Job

JOBS = 3
FAILED, CANCELLED = Outcome(state=State.FAILED), Outcome(state=State.CANCELLED)
OUTCOMES = (SUCCEEDED, FAILED, RETRIED, REQUEUED, CRASHED)
PERSON = "a person"


@dataclass(frozen=True)
class Claim:
    """One delivery of a job: one token, one place in the order of attempts."""

    job: Job
    token: str
    retries: int
    deliveries: int
    has_run: bool = True
    """Whether its end tells when its body began."""

    @property
    def delivery(self) -> Delivery:
        return self.job.claim(self.token, self.retries, self.deliveries)


@dataclass
class World:
    """The jobs, and what they would say who told the ledger of them."""

    url: str
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    told: list[tuple[Record, Verdict]] = field(default_factory=list)
    unlocked: int = 0
    ended: dict[str, JobRow] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def jobs(self) -> list[Job]:
        return [Job(self.url, f"{self.name}-{place}") for place in range(JOBS)]

    @property
    def chord(self) -> str:
        return f"{self.name}-chord"

    def step(self, claim: Claim, which: Step) -> Record:
        """A start, a sign of life, or a putting aside."""
        now = datetime.now(UTC)
        outcome = UNKNOWN if which is Step.ASIDE else None
        return Record(step=which, delivery=claim.delivery, outcome=outcome, started_at=now, at=now)

    def end(self, claim: Claim, outcome: Outcome) -> Record:
        """The end of an attempt; its result is its token, and its follow-up is named after both."""
        own = Outcome(state=outcome.state, reason=outcome.reason, result=claim.token)
        return self._end(claim.job, claim.delivery, own, claim.has_run)

    def cancel(self, job: Job) -> Record:
        """A person's word, who has no claim."""
        own = Outcome(state=State.CANCELLED, result=PERSON)
        return self._end(job, job.claim(None, worker=None), own, has_run=False)

    def _end(self, job: Job, delivery: Delivery, outcome: Outcome, has_run: bool) -> Record:
        now = datetime.now(UTC)
        parts = (job.part(self.chord, JOBS),) if outcome.state.is_final else ()
        return Record(
            step=Step.END,
            delivery=delivery,
            outcome=outcome,
            started_at=now if has_run else None,
            at=now,
            parts=parts,
            follow_ups=(job.follow_up(f"{job.id}/{outcome.result}/{outcome.state}"),),
        )

    def note(self, records: Sequence[Record], written: Written) -> None:
        """What the ledger has answered."""
        with self._lock:
            self.told.extend(zip(records, written.verdicts, strict=True))
            self.unlocked += sum(message.task == "celery.chord_unlock" for message in written.messages)

    # -- what must hold ---------------------------------------------------------------------------------------------

    def check_ends(self) -> None:
        """Whatever has ended stays as it is."""
        with reading(self.url) as connection:
            rows = {row.id: row for row in queries.find_jobs(connection, [job.id for job in self.jobs])}
        assert {id: rows[id] for id in self.ended} == self.ended
        self.ended = {id: row for id, row in rows.items() if row.state.is_final}

    def check(self) -> None:
        """Everything."""
        for job in self.jobs:
            if job.exists:
                self._check_job(job)
        self._check_follow_ups()
        self._check_tallies()
        self._check_chord()

    def _check_job(self, job: Job) -> None:
        told = [(record, verdict) for record, verdict in self.told if record.delivery.id == job.id]
        row, history = job.row, job.attempts
        winners = {
            (record.outcome.result, record.outcome.state)
            for record, verdict in told
            if verdict is Verdict.WON and record.outcome and record.outcome.state.is_final
        }
        assert len(winners) == row.state.is_final, "one final transition"
        if row.state.is_final:
            assert winners == {(row.result, row.state)}, "the result is the winning attempt's"
        heard = {
            record.delivery.token
            for record, verdict in told
            if verdict is Verdict.WON
            and record.step is not Step.ASIDE
            and (record.started_at or record.step is not Step.END)
        }
        assert row.attempts == len(heard), "each attempt counts once"
        assert [attempt.number for attempt in history] == list(range(1, row.attempts + 1)), "each is told once"
        assert {attempt.token for attempt in history if attempt.token} <= heard
        assert [attempt.outcome for attempt in history].count(None) == (row.state is State.RUNNING)

    def _check_follow_ups(self) -> None:
        won = {
            record.follow_ups[0].key for record, verdict in self.told if record.follow_ups and verdict is Verdict.WON
        }
        with reading(self.url) as connection:
            rows = connection.execute(select(outbox.c.key).where(outbox.c.key.startswith(f"{self.name}-")))
            keys = {key for key in rows.scalars() if "/" in key}
        assert keys == won, "what follows exists if its record has won, and only then"

    def _check_tallies(self) -> None:
        ended = Counter((job.queue, job.row.state.value) for job in self.jobs if job.exists and job.state.is_final)
        with reading(self.url) as connection:
            statement = select(tallies).where(tallies.c.queue.in_([job.queue for job in self.jobs]))
            counted = {(row.queue, row.state): row.count for row in connection.execute(statement)}
        assert counted == ended, "each end counts once"

    def _check_chord(self) -> None:
        counted = {record.delivery.id for record, verdict in self.told if record.parts and verdict is not Verdict.STALE}
        if counted:
            assert self.jobs[0].remaining(self.chord) == JOBS - len(counted)
        assert self.unlocked == (len(counted) == JOBS), "a chord starts its body once, when its last part has ended"
