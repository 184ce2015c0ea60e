"""Puts the reasons together."""

from __future__ import annotations

from collections.abc import Callable

from penstock.why import claimed, ended, held, unclaimed, unheard
from penstock.why.reason import Reason, Why
from penstock.why.subject import Subject

Explainer = Callable[[Subject], Reason | None]
"""Tells whether one reason holds."""
EXPLAINERS: tuple[Explainer, ...] = (
    ended.ended,
    ended.buried,
    ended.quarantined,
    ended.outcome_in_spool,
    claimed.runs,
    held.in_outbox,
    held.redis_silent,
    held.redis_full,
    held.not_due,
    held.cancelled,
    held.breaker_open,
    held.put_aside,
    held.queue_paused,
    claimed.worker_died,
    claimed.at_the_gate,
    claimed.behind_another,
    claimed.just_claimed,
    unheard.step_of_chain,
    unheard.body_of_chord,
    unheard.fire_waits,
    unheard.unknown,
)
"""In the order in which they are told."""
OTHERWISE: tuple[Explainer, ...] = (
    unclaimed.lost,
    unclaimed.nobody_serves,
    unclaimed.all_rest,
    unclaimed.none_can_write,
    unclaimed.all_silent,
    unclaimed.behind_others,
    unclaimed.next_in_line,
    unclaimed.no_reason,
)
"""Of which the first that holds is told, if nothing else was."""


def explain(subject: Subject) -> Why:
    """Why a job does not run: every reason that holds, and at least one."""
    told: list[Reason] = []
    for explainer in EXPLAINERS:
        if (reason := explainer(subject)) is not None:
            told.append(reason)
            if reason.is_whole:
                break
    if not told:
        told = [next(reason for explainer in OTHERWISE if (reason := explainer(subject)) is not None)]
    return Why(subject.id, tuple(told))
