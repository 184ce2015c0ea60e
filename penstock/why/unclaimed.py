"""Jobs that may be claimed, and are not: because of those who would claim them, or of those that come before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from penstock.broker.whereabouts import WorkerCard
from penstock.why.reason import Reason
from penstock.why.subject import Subject
from penstock.wording import counted, distance

MARGIN = timedelta(seconds=2)
"""Between the clocks of SQL's writers and of Redis, and between two questions."""


def lost(job: Subject) -> Reason | None:
    """Redis does not have its message, and the outbox has."""
    kept = job.books.outbox
    if kept is None or kept.published_at is None or job.found is None or job.found.is_from_outbox:
        return None
    if kept.published_at > job.now - MARGIN:
        return None  # Perhaps after Redis was asked.
    facts = {"Published": kept.published_at, "Queue": kept.queue}
    sentence = "Redis has lost its message; the outbox has it, and a running worker brings it back within minutes"
    return Reason("lost", sentence, facts)


def nobody_serves(job: Subject) -> Reason | None:
    """No worker claims from its queue."""
    if not job.workers:
        sentence = f"no worker runs, so nobody serves its queue {job.queue}"
        return Reason("nobody-serves", sentence, {**_facts(job), "Workers": 0})
    if _serving(job):
        return None
    sentence = f"none of the workers serves its queue {job.queue}"
    if draining := [card.hostname for card in job.workers if card.is_draining and _has_served(job, card)]:
        sentence += (
            f"; {', '.join(draining)} {'ends' if len(draining) == 1 else 'end'}, and {_claims(draining)} no more"
        )
        return Reason("workers-drain", sentence, {**_facts(job), "Workers that end": ", ".join(draining)})
    if stopped := [card.hostname for card in job.workers if job.queue in card.stopped]:
        sentence += f"; {', '.join(stopped)} did, and was told to claim no more"
        return Reason("workers-stopped", sentence, {**_facts(job), "Workers that were stopped": ", ".join(stopped)})
    return Reason("nobody-serves", sentence, _facts(job))


def _claims(names: Sequence[str]) -> str:
    return "claims" if len(names) == 1 else "claim"


def _has_served(job: Subject, card: WorkerCard) -> bool:
    return job.queue in card.queues or job.queue in card.stopped


def all_silent(job: Subject) -> Reason | None:
    """Those who would claim it are not heard of."""
    serving = _serving(job)
    if not all(job.is_silent(card) for card in serving):
        return None
    return Reason(
        "workers-silent",
        f"of all workers that serve its queue {job.queue} nothing is heard: {_names(serving)}",
        _facts(job),
    )


def all_rest(job: Subject) -> Reason | None:
    """Those who would claim it take nothing more before the ledger has what they have."""
    serving = _serving(job)
    if not all(card.is_full for card in serving):
        return None
    sentence = f"all that serve its queue {job.queue} rest until the ledger has taken what they have{_away(job)}"
    return Reason("workers-rest", f"{sentence}: {_names(serving)}", _facts(job))


def none_can_write(job: Subject) -> Reason | None:
    """They claim no more than they have room for, because nothing that has ended leaves them."""
    serving = _serving(job)
    if not all(card.is_full or card.ledger_away_since for card in serving):
        return None
    sentence = f"all that serve its queue {job.queue} keep what has ended, as long as they have room{_away(job)}"
    return Reason("workers-keep", f"{sentence}: {_names(serving)}", _facts(job))


def _away(job: Subject) -> str:
    """Since when none of those who would claim it can write."""
    times = [card.ledger_away_since for card in _serving(job) if card.ledger_away_since]
    return f"; they cannot write to it since {distance(max(times), job.now)}" if times else ""


def _names(cards: Sequence[WorkerCard]) -> str:
    return ", ".join(card.hostname for card in cards)


def behind_others(job: Subject) -> Reason | None:
    """Others came before it."""
    before = job.found.before if job.found else None
    if not before:
        return None
    return Reason("behind-others", f"{counted(before, 'job')} came before it on {job.queue}{_busy(job)}", _facts(job))


def next_in_line(job: Subject) -> Reason | None:
    """Nothing is before it."""
    before = job.found.before if job.found else None
    if before is None:
        return None
    return Reason("next-in-line", f"it is the next of {job.queue}{_busy(job)}", _facts(job))


def no_reason(job: Subject) -> Reason | None:
    """It waits again after an attempt, when no index has it any more."""
    if busy := _busy(job):
        return Reason("waits-again", f"it waits again in {job.queue}{busy}", _facts(job))
    sentence = "a worker has just claimed it, or Redis has lost it and is told again"
    return Reason("on-the-move", sentence, _facts(job))


def _serving(job: Subject) -> list[WorkerCard]:
    return [card for card in job.workers if job.queue in card.queues and not card.is_draining]


def _busy(job: Subject) -> str:
    serving = _serving(job)
    if not serving or not all(card.is_busy for card in serving):
        return ""
    return f", and all that serve it are busy: {', '.join(card.hostname for card in serving)}"


def _facts(job: Subject) -> dict[str, Any]:
    before = job.found.before if job.found else None
    facts: dict[str, Any] = {"Queue": job.queue}
    if before is not None:
        facts["Jobs before it"] = before
    if job.found is not None and job.found.is_cut:
        facts["Claims"] = "too many to look at all of them; it may have been claimed"
    if job.workers:
        serving = _serving(job)
        facts["Workers that serve it"] = ", ".join(card.hostname for card in serving) or "none"
        if silent := [card.hostname for card in job.workers if job.is_silent(card)]:
            facts["Workers that are not heard of"] = ", ".join(silent)
    return facts
