"""Which record may change which row.

An attempt is a pair, how often its job had been retried and how often its message had been delivered before, and the
token of the claim that runs it. A row keeps the pair and the token of the attempt that has it; while it waits, the
oldest pair that may come next, and no token. What is older than the row changes nothing, and what is as old needs the
row's own token. A token whose attempt has ended is spent. A row that has ended never changes.

Whoever judges holds the row's lock, so nothing can come between the judgement and the statement that follows it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from penstock.job import TRANSITIONS, State
from penstock.ledger.records import Record, Step, Verdict

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """What a job's row says, as far as the fence asks."""

    id: str
    task: str
    queue: str | None
    state: State
    retries: int
    deliveries: int
    token: str | None
    attempts: int
    worker: str | None
    enqueued_at: datetime | None
    started_at: datetime | None

    @property
    def pair(self) -> Pair:
        """The attempt that has the job or, while it waits, the oldest that may come next."""
        return self.retries, self.deliveries


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a record may do to a row."""

    verdict: Verdict
    is_repeated: bool = False
    """Whether the row shows that this very record was written before: its COMMIT went through, its answer was lost."""


def judge(found: Found, record: Record, outcomes: Collection[str] = ()) -> Judgement:
    """What ``record`` may do to the row.

    Args:
        outcomes: of the attempt that its token had, if that has ended.
    """
    if found.state.is_final:
        return Judgement(Verdict.WON, True) if _is_own_end(found, record) else Judgement(Verdict.ENDED)
    if record.only_if_waiting and found.state is State.RUNNING:
        return Judgement(Verdict.STALE)
    if record.step is Step.BACK:
        return Judgement(Verdict.WON if is_own_attempt(found, record) else Verdict.STALE)
    if is_waiting_again(record) and outcome_of_attempt(record) in outcomes:
        return Judgement(Verdict.WON, True)
    # One token, one attempt: what has ended cannot go on, not even where the pair says nothing because the job has been
    # replaced meanwhile and counts from zero again.
    return Judgement(Verdict.WON if not outcomes and _applies(found, record) else Verdict.STALE)


def _is_own_end(found: Found, record: Record) -> bool:
    token = record.delivery.token
    if record.step is not Step.END or token is None:
        return False
    return found.token == token and found.state is target(record)


def _applies(found: Found, record: Record) -> bool:
    pair = pair_of(record)
    if record.step is Step.START:
        return pair >= found.pair
    if record.step is Step.ASIDE:
        # A message that is aside comes again as it was: another claim may run that attempt by the time this is written.
        return pair > found.pair or (pair == found.pair and found.token in (None, record.delivery.token))
    state = target(record)
    # The same state again is no transition: an attempt was not heard of between its end and the one before.
    if state is not found.state and state not in TRANSITIONS[found.state]:
        return False
    token = record.delivery.token
    if token is None:
        # Whoever has no claim may end a job, but not put back one that has gone on.
        return state.is_final or pair >= found.pair
    return pair > found.pair or (pair == found.pair and found.token in (None, token))


def pair_of(record: Record) -> Pair:
    """The attempt that the record is of."""
    return record.delivery.retries, record.delivery.deliveries


def pair_after(record: Record) -> Pair:
    """The oldest attempt that may come next, when the record puts its job back; else its own."""
    retries, deliveries = pair_of(record)
    if not is_waiting_again(record):
        return retries, deliveries
    if record.replaced:
        return 0, 0
    # Not deliveries + 1: a message that is given back without having been started comes again as it was.
    return (retries + 1, 0) if target(record) is State.SCHEDULED else (retries, deliveries)


def target(record: Record) -> State:
    """The state that the record brings its job to."""
    if record.step is Step.ASIDE:
        return State.BLOCKED
    if record.step is Step.BACK:
        return State.QUEUED
    if record.step is not Step.END:
        return State.RUNNING
    assert record.outcome is not None, "an END has an outcome"
    return record.outcome.state


def is_waiting_again(record: Record) -> bool:
    """Whether the record ends an attempt and not its job, or takes a start back."""
    return record.step is Step.BACK or (record.step is Step.END and not target(record).is_final)


def is_likely_to_have_a_row(record: Record) -> bool:
    """Whether the job was probably heard of before: of its first attempt, or of the start that came before its body."""
    if record.step is Step.BACK or pair_of(record) != (0, 0):
        return True
    return record.step is not Step.START and record.outbox_key is not None


def is_new_attempt(found: Found | None, record: Record) -> bool:
    """Whether the ledger hears of this attempt for the first time."""
    if record.step in (Step.ASIDE, Step.BACK) or (record.step is Step.END and record.started_at is None):
        return False
    if found is None:
        return True
    if record.delivery.token is not None:
        return found.token != record.delivery.token
    return record.step is Step.START or found.state is not State.RUNNING


def is_own_attempt(found: Found, record: Record) -> bool:
    """Whether the row shows the record's own attempt as running. Without a claim, the running one is meant."""
    if found.state is not State.RUNNING:
        return False
    token = record.delivery.token
    return found.token == token if token is not None else record.step in (Step.END, Step.RUNNING)


def outcome_of_attempt(record: Record) -> str:
    """What the history says of the attempt that the record ends."""
    if record.outcome is None or record.step is Step.ASIDE:
        return target(record).value
    return "replaced" if record.replaced else record.outcome.of_attempt
