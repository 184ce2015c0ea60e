"""Replaying and discarding many failures as one piece of work: counted first, then done, then noted once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from penstock.app import PenstockApp
from penstock.broker.queues import status
from penstock.operations.broker import broker_of, note
from penstock.operations.failures import failed, mending
from penstock.operations.failures.bench import Advance, Done
from penstock.operations.failures.failed import Plan
from penstock.operations.failures.mending import Fitting, Target, in_kinds, messages_of
from penstock.operations.failures.pace import Pace
from penstock.operations.failures.selection import Selection
from penstock.operations.jobs.edits import NO_EDITS, Edits
from penstock.wording import counted

Steps = Generator[Done, None, None]
"""What became of each failure, as it is dealt with."""


@dataclass(frozen=True)
class Errand:
    """Which failures are dealt with."""

    plans: list[Plan] = field(default_factory=list)
    """Of failed jobs."""
    named: list[Target] = field(default_factory=list)
    """Messages that were named one by one."""
    fitting: Fitting | None = None
    """Messages that a filter has chosen."""
    words: dict[str, Any] = field(default_factory=dict)
    """How they were chosen, for the audit."""
    limit: int | None = None
    """How many are dealt with at most."""

    @property
    def total(self) -> int:
        """How many there are, or those up to which somebody counted."""
        jobs = sum(plan.count for plan in self.plans)
        count = jobs + messages_of(self.named) + (self.fitting.messages if self.fitting else 0)
        return count if self.limit is None else min(count, self.limit)

    @property
    def is_more(self) -> bool:
        """Whether there may be more than :attr:`total`."""
        return any(plan.is_more for plan in self.plans) and (self.limit is None or self.limit > self.total)

    @property
    def is_chosen(self) -> bool:
        """Whether some of them were not named one by one."""
        return bool(self.total) and bool(self.fitting or any(plan.count for plan in self.plans))

    @property
    def text(self) -> str:
        """How many of each kind, in words."""
        parts = [plan.text + _of(plan) for plan in self.plans if plan.count]
        parts += [in_kinds(self.named)] if self.named else []
        parts += [self.fitting.text] if self.fitting and self.fitting.messages else []
        most = f", {self.limit:,} of them at most," if self.limit is not None else ""
        return ", ".join(parts) + most


def _of(plan: Plan) -> str:
    return f" of {plan.chosen.fingerprint}" if plan.chosen.fingerprint else ""


@dataclass(frozen=True)
class Terms:
    """Who has something done, and how."""

    actor: str
    rate: float | None = None
    """Jobs and messages a second, over all of the errand."""
    at_most_waiting: int | None = None
    """Messages that a queue may hold for another job to be sent to it."""
    edits: Edits = NO_EDITS
    stop: threading.Event = field(default_factory=threading.Event)
    """Set to end it after the step that it is at."""

    @property
    def words(self) -> dict[str, Any]:
        """For the audit."""
        rate = {"rate": f"{self.rate:g}/s"} if self.rate is not None else {}
        most = {"at most waiting": self.at_most_waiting} if self.at_most_waiting is not None else {}
        return {**rate, **most, **({"edited": self.edits.words} if self.edits else {})}


def named(app: PenstockApp, given: Sequence[str], limit: int | None = None) -> Errand:
    """Failures by their ids, and failed jobs by the fingerprints of their errors.

    Raises:
        EntryNotFound: one of them is none, or of several.
    """
    plans = {id: failed.plan(app, id) for id in given}
    ids = [id for id, plan in plans.items() if plan is None]
    found = [plan for plan in plans.values() if plan is not None]
    words = {"error": ", ".join(plan.chosen.error or "" for plan in found)} if found else {}
    return Errand(plans=found, named=mending.named(app, ids) if ids else [], words=words, limit=limit)


def chosen(app: PenstockApp, selection: Selection, limit: int | None = None, *, looked_at: int | None = None) -> Errand:
    """All open failures of a selection.

    Args:
        looked_at: how many failed jobs are looked at to count them, about; None: until there are very many.
    """
    of_jobs, of_entries = selection.of_jobs, selection.of_entries
    return Errand(
        plans=[failed.plan_of(app, of_jobs, looked_at)] if of_jobs is not None else [],
        fitting=mending.fitting(app, of_entries) if of_entries is not None else None,
        words=selection.words or {"all": True},
        limit=limit,
    )


def sample(app: PenstockApp, errand: Errand, edits: Edits, size: int) -> list[Done]:
    """What would become of the first ones, as far as can be known; does nothing."""
    size = size if errand.limit is None else min(size, errand.limit)
    found = [done for plan in errand.plans for done in failed.sample(app, plan.chosen, edits, size)]
    targets = [*errand.named, *(errand.fitting.targets() if errand.fitting else ())] if len(found) < size else []
    found += [Done(entry.id, True, f"{entry.kind}: {entry.reason}") for entry, _ in targets[:size]]
    return found[:size]


def replay(app: PenstockApp, errand: Errand, terms: Terms, advance: Advance = lambda _: None) -> Steps:
    """Runs failures again, and yields what became of each; noted at the end, also when somebody stops half way.

    Repeated, it goes on where it ended: what was replayed is not open any more. See :func:`failed.replay` and
    :mod:`penstock.operations.failures.letters` for why nothing is run twice by that.

    Raises:
        BrokerUnavailable: Redis went away; what was yielded is done.
        LedgerUnavailable: SQL went away; the message says whether the last one was sent.
        Stopped: it was told to stop.
    """
    with broker_of(app) as scripts:
        pace = Pace(
            terms.rate,
            at_most_waiting=terms.at_most_waiting,
            waiting=lambda queue: status(scripts, [queue])[0].ready,
            stop=terms.stop,
        )

        def jobs(plan: Plan, left: int | None) -> Steps:
            return failed.replay(
                app, plan.chosen, actor=terms.actor, pace=pace, edits=terms.edits, limit=left, advance=advance
            )

        def messages(targets: Any, left: int | None) -> Steps:
            return mending.replay(
                app, targets, actor=terms.actor, pace=pace, edits=terms.edits, limit=left, advance=advance
            )

        yield from _done(app, "replay", errand, terms, jobs, messages)


def discard(app: PenstockApp, errand: Errand, terms: Terms, advance: Advance = lambda _: None) -> Steps:
    """Gives failures up. The arguments and errors are those of :func:`replay`."""
    pace = Pace(terms.rate, stop=terms.stop)

    def jobs(plan: Plan, left: int | None) -> Steps:
        return failed.discard(app, plan.chosen, pace=pace, limit=left, advance=advance)

    def messages(targets: Any, left: int | None) -> Steps:
        return mending.discard(app, targets, actor=terms.actor, pace=pace, limit=left, advance=advance)

    yield from _done(app, "discard", errand, terms, jobs, messages)


def _done(
    app: PenstockApp,
    action: str,
    errand: Errand,
    terms: Terms,
    jobs: Callable[[Plan, int | None], Steps],
    messages: Callable[[Any, int | None], Steps],
) -> Steps:
    """Does the parts of an errand one after the other, as many steps as it may have."""
    plans = [plan for plan in errand.plans if plan.count or plan.is_more]
    parts: list[Callable[[int | None], Steps]] = [lambda left, plan=plan: jobs(plan, left) for plan in plans]  # type: ignore[misc]
    if errand.named:
        parts.append(lambda left: messages(errand.named, left))
    if errand.fitting is not None:
        targets = errand.fitting.targets()
        parts.append(lambda left: messages(targets, left))
    left, count = errand.limit, 0
    try:
        for part in parts:
            with closing(part(left)) as steps:
                for done in steps:
                    count += done.messages if done.done else 0
                    left = None if left is None else left - max(done.messages, 1)
                    yield done
            if left is not None and left <= 0:
                return
    finally:
        _note(app, action, errand, terms, count)


def _note(app: PenstockApp, action: str, errand: Errand, terms: Terms, count: int) -> None:
    """One row for the whole of what was chosen; what was named has one each."""
    if count and errand.words:
        limit = {"limit": errand.limit} if errand.limit is not None else {}
        details = {**errand.words, "count": count, **limit, **terms.words}
        note(app, terms.actor, action, details, f"{action} of {counted(count, 'failure')} is done")
