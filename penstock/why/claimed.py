"""Jobs that a worker has claimed."""

from __future__ import annotations

from typing import Any

from penstock.broker.whereabouts import WorkerCard
from penstock.job import State
from penstock.message import OUTBOX, REPLAY_OF
from penstock.why.reason import Reason
from penstock.why.subject import Subject
from penstock.wording import distance, duration, one_line


def runs(job: Subject) -> Reason | None:
    """Its body runs, as far as the ledger knows."""
    row = job.row
    if row is None or row.state is not State.RUNNING:
        return None
    where = one_line(row.worker or "an unnamed worker")
    since = distance(row.started_at, job.now) if row.started_at else "some time"
    sentence, facts = f"it runs: it started {since} on {where}", {"Started": row.started_at, "Worker": where}
    claim = job.found.claim if job.found else None
    card = job.worker(claim.worker) if claim else None
    request, more = _request(job, card)
    facts |= more
    if card is not None and job.is_silent(card):
        gone, more = _silence(job, card)
        return Reason("runs-on-silent-worker", f"{sentence}, which {gone}{request}", facts | more, is_whole=True)
    if card is not None and card.ledger_away_since is not None:
        sentence += (
            f", which cannot write to the ledger since {distance(card.ledger_away_since, job.now)}: it may have ended"
        )
    return Reason("runs", f"{sentence}{request}", facts, is_whole=True)


def _request(job: Subject, card: WorkerCard | None) -> tuple[str, dict[str, Any]]:
    """What became of the request of somebody who has cancelled a job that runs."""
    if job.found is None or not job.found.is_cancelled:
        return "", {}
    is_heard = not job.is_silent(card) if card is not None else bool(job.live_workers)
    means = "is asked to stop" if is_heard else "does not start again"
    return f"; it was cancelled, and {means}", {"Cancelled": "yes"}


def worker_died(job: Subject) -> Reason | None:
    """Whoever has claimed it is silent, or dead."""
    card = _claimer(job)
    if card is None or not job.is_silent(card):
        return None
    gone, facts = _silence(job, card)
    return Reason("worker-died", f"{card.hostname} has claimed it and {gone}", facts, is_whole=True)


def _silence(job: Subject, card: WorkerCard) -> tuple[str, dict[str, Any]]:
    facts: dict[str, Any] = {"Worker": card.hostname}
    if card.silent_seconds is None:
        return "has died; what it held is on its way back to the front of its queues", facts
    left = max(job.lease_seconds - card.silent_seconds, 0)
    facts |= {"Silent for": duration(card.silent_seconds), "Lease ends in": duration(left)}
    ending = f"in {duration(left)} its lease ends" if left else "its lease has run out"
    return f"was not heard of for {duration(card.silent_seconds)}; {ending}, and the job goes back to its queue", facts


def behind_another(job: Subject) -> Reason | None:
    """It waits in a child that runs another job."""
    card = _claimer(job)
    claim = job.found.claim if job.found else None
    if card is None or claim is None or not card.is_single or claim.first in ("", job.id):
        return None
    if card.ledger_away_since is not None:
        return None  # What has ended is still claimed, until its outcome is written.
    facts = {"Worker": card.hostname, "Runs before it": claim.first}
    sentence = f"{card.hostname} has claimed it, and a child of it runs job {one_line(claim.first)} first"
    return Reason("behind-another", sentence, facts, is_whole=True)


def at_the_gate(job: Subject) -> Reason | None:
    """A delivery that is not the first waits for the ledger's word."""
    card = _claimer(job)
    claim = job.found.claim if job.found else None
    if card is None or claim is None:
        return None
    is_away = bool(card.ledger_away_since or job.books.error)
    if not (is_away and any(map(claim.payload["headers"].get, ("retries", OUTBOX, REPLAY_OF)))):
        return None
    since = f" since {distance(card.ledger_away_since, job.now)}" if card.ledger_away_since else ""
    facts = {"Worker": card.hostname, "Ledger away since": card.ledger_away_since}
    sentence = (
        f"{card.hostname} has claimed it and may not start it before the ledger agrees, which does not answer{since}"
    )
    return Reason("at-the-gate", sentence, facts, is_whole=True)


def just_claimed(job: Subject) -> Reason | None:
    """It starts at this moment, or its outcome is on its way."""
    card = _claimer(job)
    if card is None:
        return None
    if card.ledger_away_since is None:
        return Reason("just-claimed", f"{card.hostname} has just claimed it", {"Worker": card.hostname}, is_whole=True)
    since = distance(card.ledger_away_since, job.now)
    sentence = (
        f"{card.hostname} has claimed it, and cannot write to the ledger since {since}: it starts, runs, or has ended"
    )
    facts = {"Worker": card.hostname, "Ledger away since": card.ledger_away_since}
    return Reason("outcome-kept", sentence, facts, is_whole=True)


def _claimer(job: Subject) -> WorkerCard | None:
    claim = job.found.claim if job.found else None
    return job.worker(claim.worker) if claim else None
