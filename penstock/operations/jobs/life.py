"""One job's whole life, as the ledger knows it: its attempts, its relatives, and what people did to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from sqlalchemy import Connection

from penstock.ledger import chords, fires, letters, outbox, queries
from penstock.ledger.chords import ChordRow
from penstock.ledger.fires import FireRow
from penstock.ledger.letters import LetterFilter
from penstock.ledger.outbox import OutboxRow
from penstock.ledger.reports import ReportRow, reports_of
from penstock.ledger.rows import AttemptRow, AuditRow, JobRow, LetterRow
from penstock.operations.jobs import timeline
from penstock.operations.jobs.lookup import find_job
from penstock.operations.jobs.timeline import Event, Phase
from penstock.progress import Progress, rate_of
from penstock.wording import distance

MOST_LETTERS, MOST_REPLAYS = 20, 50


@dataclass(frozen=True)
class Life:
    """A job and all that the ledger knows around it."""

    job: JobRow
    attempts: list[AttemptRow]
    parent: JobRow | None
    children: list[JobRow]
    replays: list[JobRow]
    """Jobs that repeat this one."""
    chord: ChordRow | None
    """The chord that the job is a part of, as far as its parts have ended."""
    outbox: OutboxRow | None
    """The job's message that is to be in Redis until the job has ended."""
    letters: list[LetterRow]
    """Dead letters that the job's messages have become."""
    audit: list[AuditRow]
    reports: Sequence[ReportRow] = ()
    """What its attempts say of themselves, without their logs."""
    fire: FireRow | None = None
    """The planned time of a schedule that has started it."""

    @cached_property
    def now(self) -> datetime:
        """When somebody first asked."""
        return datetime.now(UTC)

    @cached_property
    def beginning(self) -> datetime:
        """The first moment that is known."""
        return timeline.beginning(self.job, self.attempts)

    @cached_property
    def phases(self) -> list[Phase]:
        """When the job waited and ran."""
        return timeline.phases(self.job, self.attempts)

    @property
    def lines(self) -> int:
        """How many lines it has logged, kept or not."""
        return sum(report.lines for report in self.reports)

    @property
    def progress(self) -> Progress | None:
        """How far the last attempt that has said so is."""
        return self.spoken.progress if self.spoken else None

    @property
    def spoken(self) -> ReportRow | None:
        """What that attempt says of itself."""
        return next((report for report in reversed(self.reports) if report.progress), None)

    @property
    def rate(self) -> float | None:
        """How much it does per second; None: it has ended, or there is too little to tell."""
        if self.job.state.is_final or not self.reports:
            return None
        return rate_of(self.reports[-1].points, self.progress)

    @property
    def whereabouts(self) -> str:
        """Where the message is that will start the job, if the ledger has it; empty otherwise."""
        if self.job.state.is_final or self.outbox is None:
            return ""
        if self.outbox.published_at is None:
            created = distance(self.outbox.created_at, self.now)
            return f"its message is in the outbox since {created}, and not in Redis yet"
        return f"its message is kept in the outbox, published {distance(self.outbox.published_at, self.now)}"

    def events(self, hidden: int = 0) -> list[Event]:
        """What happened, without the first ``hidden`` attempts."""
        return timeline.events(self.job, self.attempts, self.letters, self.now, hidden=hidden)


def find_life(connection: Connection, given: str, children: int | None = None) -> Life:
    """Everything about the job with this id, or the only one whose id starts like this.

    Args:
        children: at most so many of the jobs that it submitted; None for all.

    Raises:
        JobNotFound: there is none, or there are several.
    """
    job = find_job(connection, given)
    audit = queries.audit_of(connection, job.id)
    dead = letters.list_letters(connection, LetterFilter(job_id=job.id), MOST_LETTERS)
    replays = list(dict.fromkeys(_replays(audit, dead)))[:MOST_REPLAYS]
    return Life(
        job=job,
        attempts=queries.attempts_of(connection, job.id),
        parent=queries.find_job(connection, job.parent_id) if job.parent_id else None,
        children=queries.children_of(connection, job.id, children),
        replays=queries.find_jobs(connection, replays),
        chord=chords.find_chord(connection, job.group_id) if job.group_id else None,
        outbox=outbox.find_waiting(connection, job.id),
        letters=dead,
        audit=audit,
        reports=reports_of(connection, job.id),
        fire=fires.fire_of_job(connection, job.id) if job.schedule else None,
    )


def _replays(audit: Sequence[AuditRow], dead: Sequence[LetterRow]) -> Iterator[str]:
    """Ids of the jobs that people have made of this one."""
    for entry in audit:
        if isinstance(entry.details, dict) and isinstance(entry.details.get("new"), str):
            yield entry.details["new"]
    for letter in dead:
        if letter.replay_job_id:
            yield letter.replay_job_id
