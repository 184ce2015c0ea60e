"""What happened to a job and when, and how long it waited and ran: made of its row and its attempts. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.job import UNSAID, Reason, State
from penstock.ledger.recording.attempts import LOST
from penstock.ledger.rows import AttemptRow, JobRow, LetterRow
from penstock.wording import distance, duration, one_line

SHOWN_ERROR = 200
ENDS = {LOST: "lost: its worker died or fell silent", "crashed": "crashed: its process died"}
"""How the end of an attempt is told where its outcome alone says too little."""


class What(StrEnum):
    """Of an event."""

    ENQUEUED = "enqueued"
    DUE = "due"
    STARTED = "started"
    ENDED = "attempt ended"
    BLOCKED = "blocked"
    BURIED = "buried"
    WAITS = "waits"
    FINISHED = "finished"


@dataclass(frozen=True)
class Event:
    """A moment of a job's life."""

    at: datetime
    what: What
    text: str
    outcome: str = ""
    """How an attempt or the job ended."""
    attempt: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Phase:
    """A time in which a job waited or ran."""

    attempt: int | None
    """The attempt that ran; None while the job waited."""
    start: datetime
    end: datetime | None
    """None: it goes on."""
    outcome: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"attempt {self.attempt}" if self.attempt else "waits"

    def seconds(self, now: datetime) -> float:
        """How long it was, or has been so far."""
        return max(((self.end or now) - self.start).total_seconds(), 0.0)


def beginning(job: JobRow, attempts: Sequence[AttemptRow]) -> datetime:
    """The first moment that is known of a job; other hosts' clocks may have put an attempt before its enqueueing."""
    return min(
        moment for moment in (job.enqueued_at, *(each.started_at for each in attempts), job.updated_at) if moment
    )


def phases(job: JobRow, attempts: Sequence[AttemptRow]) -> list[Phase]:
    """From the beginning to the end, or to now; what a clock puts before the end of the phase before has no length."""
    found: list[Phase] = []
    at = job.enqueued_at
    for attempt in attempts:
        if at is not None:
            found.append(Phase(None, at, max(attempt.started_at, at)))
        is_open = attempt is attempts[-1] and job.state is State.RUNNING
        end = attempt.finished_at or (None if is_open else attempt.started_at)
        found.append(Phase(attempt.number, attempt.started_at, end, attempt.outcome or ""))
        at = end
    if job.state is not State.RUNNING and at is not None and (not attempts or not job.state.is_final):
        found.append(Phase(None, at, job.finished_at))
    return found


def events(
    job: JobRow, attempts: Sequence[AttemptRow], letters: Sequence[LetterRow], now: datetime, *, hidden: int = 0
) -> list[Event]:
    """In the order of their times.

    Args:
        hidden: so many of the first attempts are left out.
    """
    found = [*_waiting(job, now)]
    for attempt in attempts[hidden:]:
        found += _of_attempt(job, attempt, is_last=attempt is attempts[-1])
    found += [Event(letter.at, What.BURIED, _buried(letter)) for letter in letters]
    if job.finished_at and not any(attempt.finished_at == job.finished_at for attempt in attempts):
        found.append(Event(job.finished_at, What.FINISHED, f"{job.state}{_reason(job)}", outcome=job.state))
    # Equal times stay in the order in which they were found, which is that of a life.
    return sorted(found, key=lambda event: event.at)


def _waiting(job: JobRow, now: datetime) -> Iterator[Event]:
    if job.enqueued_at:
        yield Event(job.enqueued_at, What.ENQUEUED, _enqueued(job))
    if job.state is State.SCHEDULED and job.eta:
        word = "its retry" if job.attempts and job.reason is not Reason.SNOOZED else "it"
        yield Event(job.eta, What.DUE, f"{word} is due {distance(job.eta, now)}")
    elif job.eta and not job.retries:
        yield Event(job.eta, What.DUE, "due")
    if job.state is State.BLOCKED:
        yield Event(job.updated_at, What.BLOCKED, f"put aside: {job.reason}")
    elif job.state is State.QUEUED:
        yield Event(job.updated_at, What.WAITS, f"waits {'again ' if job.attempts else ''}in its queue")


def _enqueued(job: JobRow) -> str:
    by = f" by schedule {job.schedule}" if job.schedule else ""
    how = f" as a replay of {job.replay_of}" if job.replay_of else ""
    return one_line(f"enqueued{by}{how}")


def _of_attempt(job: JobRow, attempt: AttemptRow, *, is_last: bool) -> Iterator[Event]:
    where = one_line(attempt.worker or "an unnamed worker")
    start = f"attempt {attempt.number} starts on {where}"
    if attempt.finished_at is None:
        end = "" if is_last and job.state is State.RUNNING else "; its end was never recorded"
        yield Event(attempt.started_at, What.STARTED, start + end, attempt=attempt.number)
        return
    yield Event(attempt.started_at, What.STARTED, start, attempt=attempt.number)
    took = duration((attempt.finished_at - attempt.started_at).total_seconds())
    outcome = attempt.outcome or "ended"
    reason = _reason(job) if is_last and job.state.is_final else ""
    yield Event(
        attempt.finished_at,
        What.ENDED,
        f"{ENDS.get(outcome, outcome)}{reason}, after {took}",
        outcome=outcome,
        attempt=attempt.number,
        error=_error(attempt),
    )


def _reason(job: JobRow) -> str:
    return f" ({job.reason})" if job.reason and job.reason not in UNSAID else ""


def _error(attempt: AttemptRow) -> str:
    if not attempt.error_type:
        return ""
    error = one_line(f"{attempt.error_type.rpartition('.')[2]}: {attempt.error_message or ''}")
    return f"{error[:SHOWN_ERROR]}{'…' if len(error) > SHOWN_ERROR else ''}"


def _buried(letter: LetterRow) -> str:
    after = f", {letter.resolution} since" if letter.resolution else ""
    return one_line(f"{letter.kind}: {letter.reason}; failure {letter.id.rpartition('/')[2]}{after}")
