"""Jobs that wait no more, and those whose end is on its way to the ledger."""

from __future__ import annotations

from typing import Any

from penstock.job import UNSAID
from penstock.ledger.tables import Kind
from penstock.why.reason import Reason
from penstock.why.subject import Subject
from penstock.wording import distance, one_line


def ended(job: Subject) -> Reason | None:
    """It has a final state."""
    row = job.row
    if row is None or not row.state.is_final:
        return None
    sentence = f"it has ended: {row.state}"
    if row.finished_at:
        sentence += f" {distance(row.finished_at, job.now)}"
    if row.reason and row.reason not in UNSAID:
        sentence += f" ({row.reason})"
    facts: dict[str, Any] = {"Ended": row.finished_at}
    letter = job.books.letter
    if letter is not None:
        facts |= {"Dead letter": letter.id, "Reason": letter.reason}
        after = f", {letter.resolution} since" if letter.resolution else ""
        sentence += f"; it is in the dead letters{after}: {one_line(letter.reason)}"
    return Reason("ended", sentence, {name: value for name, value in facts.items() if value}, is_whole=True)


def buried(job: Subject) -> Reason | None:
    """Its dead letter is in Redis, and not in the ledger yet."""
    if job.found is None or job.found.dead is None or job.found.dead[0] == Kind.QUARANTINED:
        return None
    _, reason, at = job.found.dead
    sentence = (
        f"it was buried {distance(at, job.now)}: {one_line(reason)}; it ends as failed as soon as a keeper has "
        "written that to the ledger"
    )
    return Reason("buried", sentence, {"Buried": at, "Reason": reason}, is_whole=True)


def quarantined(job: Subject) -> Reason | None:
    """What is asked about is a message without a readable id."""
    letter = job.books.letter
    if letter is None or job.row is not None or letter.kind is not Kind.QUARANTINED:
        return None
    facts = {"Dead letter": letter.id, "Queue": letter.queue, "Since": letter.at, "Reason": letter.reason}
    after = f"; it was {letter.resolution}" if letter.resolution else "; nobody runs it before somebody replays it"
    sentence = f"it is quarantined since {distance(letter.at, job.now)}: {one_line(letter.reason)}{after}"
    return Reason("quarantined", sentence, facts, is_whole=True)


def outcome_in_spool(job: Subject) -> Reason | None:
    """It has run, and its worker has left the outcome in Redis, because SQL was away."""
    if job.found is None or job.found.spooled_by is None:
        return None
    worker = job.found.spooled_by
    sentence = (
        "it has run, and its outcome waits in Redis: its worker ended while the ledger was away, and the keeper of "
        "another writes it as soon as the ledger answers"
    )
    return Reason("outcome-in-spool", sentence, {"Claimed by": worker}, is_whole=True)
