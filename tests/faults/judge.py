"""Says what a run did to its jobs, from what the tasks left outside the system and from what the store says.

| invariant | is broken by |
|---|---|
| I1 | a job that was accepted and neither ended nor waits: lost; one that still waits after the bound: stuck |
| I2 | a start that nothing excuses: no retry asked for, and the former attempt's process was not killed: doubled |
| I3 | a start while a former attempt's process lives: doubled |
| I4 | a start after the result was stored: repeated if the process that stored it was killed, doubled if not |
| - | a start of a job that was not to start again, because its outcome was handed over or its process lives: doubled |
| I4 | an outcome that changes, or that is not of an attempt that ended: wrong |
| - | a process that keeps more and more while its store is away: wrong |
| I5 | a next start later than the bound: slow |
| I6 | a planned time with two jobs: doubled; with none, and nothing on the books that says why: lost |
| I6 | a planned time whose job starts when the bound and five seconds are over: stuck; a fire nobody planned: wrong |
| I8 | on our side, a message of a job that has ended: stuck |
| I7 | a start before that of a job that was accepted earlier: reordered |
| I9 | a job that was accepted once and starts twice: doubled, as in I2 |
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.faults.effects import COMMITTED, END, RETRIED, START, Effect

BLUR = 0.1
"""Seconds by which the time of a death that nobody caused directly may be noticed too late."""


class Fate(StrEnum):
    """How a job has to end."""

    DONE = "done"
    BURIED = "buried"
    FAILED = "failed"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Outcome:
    """What the store says of a job that is final there."""

    succeeded: bool
    result: str | None = None
    error: str | None = None
    """The name of the exception's class."""


@dataclass
class Evidence:
    """All that a run left behind. Times are seconds of the monotonic clock."""

    accepted: dict[str, float]
    effects: Sequence[Effect] = ()
    deaths: dict[int, float] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)
    """Those of the dead that a fault killed; the others ended by themselves."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    """Jobs whose outcome in the store was another one before."""
    traces: set[str] = field(default_factory=set)
    """Jobs of which Redis still holds the message."""
    fates: dict[str, Fate] = field(default_factory=dict)
    """Jobs that do not have to be done."""
    errors: dict[str, str] = field(default_factory=dict)
    """The names of the errors that jobs have to fail with."""
    interrupted: dict[str, float] = field(default_factory=dict)
    """Jobs that waited or were claimed when a fault struck, and when."""
    once: set[str] = field(default_factory=set)
    """Jobs that must not start a second time, whoever died."""
    in_line: Sequence[str] = ()
    """Jobs in the order in which they must start."""
    messages_kept: dict[str, bool] = field(default_factory=dict)
    """Messages that are no jobs: whether their bytes are still somewhere."""
    stored: dict[str, float] = field(default_factory=dict)
    """When somebody outside saw first that the store has a job's outcome."""
    left_over: set[str] = field(default_factory=set)
    """Jobs with an outcome of which the system still has a message to be delivered."""
    overgrown: dict[str, int] = field(default_factory=dict)
    """Processes whose memory has grown by more than they may, and by how many bytes."""
    planned: dict[str, float] = field(default_factory=dict)
    """Planned times of schedules, by names of their own: when each has to come."""
    fired: dict[str, set[str]] = field(default_factory=dict)
    """The jobs of planned times."""
    told: dict[str, str] = field(default_factory=dict)
    """Planned times without a job of which the books say why."""
    unplanned: set[str] = field(default_factory=set)
    """Fires on the books that nobody has planned."""
    patience: float = math.inf
    """Seconds within which a planned time has to have its job, from a fault's end if one has struck it."""


@dataclass
class Verdict:
    """What is wrong, job by job, with a sentence for each; empty sets when all is well."""

    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    reordered: set[str] = field(default_factory=set)
    recovery: float | None = None
    """The longest time in seconds from a fault to the next start of a job that it interrupted."""
    reasons: list[str] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """Whether any job came to harm."""
        return any((self.lost, self.doubled, self.stuck, self.repeated, self.wrong, self.reordered))

    def blame(self, kind: set[str], job: str, reason: str) -> None:
        """Notes one harm and why it is one."""
        kind.add(job)
        self.reasons.append(f"{job}: {reason}")


@dataclass
class Attempt:
    """One run of a body: when it began, how it closed and when its process died."""

    pid: int
    begun: float
    name: str
    ended: float | None = None
    retried: float | None = None
    died: float | None = None

    @property
    def closed(self) -> float | None:
        """When it stopped running, in whatever way; None while it runs."""
        known = [time for time in (self.ended, self.retried, self.died) if time is not None]
        return min(known, default=None)


def judge(evidence: Evidence) -> Verdict:
    """Applies the invariants to everything that was accepted."""
    verdict = Verdict()
    attempts = attempts_of(evidence)
    # A worker tells it right then; whoever asks the store may find it out later, never earlier.
    commits = evidence.stored | _first(evidence.effects, COMMITTED)
    for job in evidence.accepted:
        mine = attempts.get(job, [])
        _judge_starts(job, mine, commits.get(job), evidence.killed, verdict)
        if job in evidence.once and len(mine) > 1:
            verdict.blame(verdict.doubled, job, "started again, which nothing that happened to it is a reason for")
        _judge_end(job, mine, evidence, verdict)
    for label, kept in evidence.messages_kept.items():
        if not kept:
            verdict.blame(verdict.lost, label, "its bytes are nowhere any more")
    for name, planned in evidence.planned.items():
        _judge_fire(name, max(planned, evidence.interrupted.get(name, planned)), attempts, evidence, verdict)
    for name in evidence.unplanned:
        verdict.blame(verdict.wrong, name, "is on the books, and nobody has planned it")
    _judge_order(evidence.in_line, attempts, verdict)
    for job in evidence.left_over:
        verdict.blame(verdict.stuck, job, "has its outcome, and a message that is still to be delivered")
    for process, bytes in evidence.overgrown.items():
        verdict.blame(verdict.wrong, process, f"grew by {bytes / 2**20:.0f} MB")
    verdict.recovery = max(_recoveries(attempts, evidence, verdict.stuck), default=None)
    return verdict


def attempts_of(evidence: Evidence) -> dict[str, list[Attempt]]:
    """Each job's attempts in the order in which they began."""
    found: dict[str, dict[str, Attempt]] = defaultdict(dict)
    for effect in evidence.effects:
        if effect.kind == START:
            died = evidence.deaths.get(effect.pid)
            found[effect.job][effect.attempt] = Attempt(effect.pid, effect.at, effect.attempt, died=died)
        elif effect.kind == END:
            found[effect.job][effect.attempt].ended = effect.at
        elif effect.kind == RETRIED:
            last = [attempt for attempt in found[effect.job].values() if attempt.pid == effect.pid][-1]
            last.retried = effect.at
    return {job: sorted(each.values(), key=lambda attempt: attempt.begun) for job, each in found.items()}


def _judge_starts(
    job: str, attempts: list[Attempt], committed: float | None, killed: set[int], verdict: Verdict
) -> None:
    for number, later in enumerate(attempts):
        for former in attempts[:number]:
            if reason := _what_forbids(later, former):
                verdict.blame(verdict.doubled, job, reason)
            elif former.ended is not None and committed is not None and committed < later.begun:
                kind = verdict.repeated if former.pid in killed else verdict.doubled
                verdict.blame(kind, job, f"started again {later.begun - committed:.1f} s after its result was stored")


def _what_forbids(later: Attempt, former: Attempt) -> str | None:
    """Why the later attempt must not have started beside the former one; None if the former one excuses it."""
    if former.closed is None or former.closed > later.begun + BLUR:
        return f"started again in {later.pid} while it ran in {former.pid}"
    if former.ended is not None and (former.died is None or former.died > later.begun + BLUR):
        return f"started again {later.begun - former.ended:.1f} s after its end in {former.pid}, which lives"
    return None


def _judge_end(job: str, attempts: list[Attempt], evidence: Evidence, verdict: Verdict) -> None:
    outcome = evidence.outcomes.get(job)
    done = any(attempt.ended for attempt in attempts)
    if job in evidence.changed:
        verdict.blame(verdict.wrong, job, "its outcome changed")
    if (fate := evidence.fates.get(job, Fate.DONE)) is not Fate.DONE:
        _judge_special_end(job, fate, bool(attempts), outcome, verdict)
        _judge_error(job, evidence.errors.get(job), outcome, verdict)
    elif done and outcome is None:
        verdict.blame(verdict.stuck, job, "ended, but the store has no outcome")
    elif done and outcome and outcome.succeeded:
        if outcome.result not in {attempt.name for attempt in attempts if attempt.ended}:
            verdict.blame(verdict.wrong, job, f"its result {outcome.result!r} is that of no attempt that ended")
    elif outcome is not None:
        verdict.blame(verdict.lost, job, "failed, though nothing is wrong with it")
    elif job in evidence.traces:
        verdict.blame(verdict.stuck, job, "still waits in Redis")
    elif any(attempt.closed is None for attempt in attempts):
        verdict.blame(verdict.stuck, job, "still runs")
    else:
        verdict.blame(verdict.lost, job, "neither ended nor anywhere in Redis")


def _judge_special_end(job: str, fate: Fate, started: bool, outcome: Outcome | None, verdict: Verdict) -> None:
    if fate is Fate.REVOKED and started:
        verdict.blame(verdict.lost, job, "ran, though it was revoked: the revoke is lost")
    elif outcome is None:
        verdict.blame(verdict.stuck, job, f"is never {fate}")
    elif outcome.succeeded:
        verdict.blame(verdict.wrong, job, f"succeeded and should be {fate}")


def _judge_error(job: str, error: str | None, outcome: Outcome | None, verdict: Verdict) -> None:
    if error is not None and outcome is not None and outcome.error != error:
        verdict.blame(verdict.wrong, job, f"failed by {error}, and the store says {outcome.error}")


def _judge_fire(
    name: str, since: float, attempts: dict[str, list[Attempt]], evidence: Evidence, verdict: Verdict
) -> None:
    """A planned time has one job, or the books say why it has none. How its job ends is judged as of every job."""
    jobs = evidence.fired.get(name, set())
    starts = [attempt.begun for job in jobs for attempt in attempts.get(job, [])]
    if len(jobs) > 1:
        verdict.blame(verdict.doubled, name, f"has started {len(jobs)} jobs")
    elif not jobs and name in evidence.traces:
        verdict.blame(verdict.stuck, name, "its job still waits in Redis")
    elif not jobs and name not in evidence.told:
        verdict.blame(verdict.lost, name, "has started no job, and nothing says why")
    elif starts and (late := min(starts) - since) > evidence.patience:
        verdict.blame(verdict.stuck, name, f"its job started {late:.1f} s later")


def _judge_order(in_line: Sequence[str], attempts: dict[str, list[Attempt]], verdict: Verdict) -> None:
    """Blames each job that starts before one that stands earlier in the line."""
    latest = float("-inf")
    for job in in_line:
        if job not in attempts:
            continue
        begun = attempts[job][-1].begun
        if begun < latest:
            verdict.blame(verdict.reordered, job, "started before a job that was accepted earlier")
        latest = max(latest, begun)


def _recoveries(attempts: dict[str, list[Attempt]], evidence: Evidence, stuck: set[str]) -> Iterable[float]:
    for each in attempts.values():
        for former, later in itertools.pairwise(each):
            if former.died is not None and former.closed == former.died:
                yield max(0.0, later.begun - former.died)
    for name, struck in evidence.interrupted.items():
        jobs = evidence.fired.get(name, {name})
        later_starts = [attempt.begun for job in jobs for attempt in attempts.get(job, []) if attempt.begun > struck]
        if later_starts and not (name in evidence.planned and name in stuck):
            yield min(later_starts) - struck


def _first(effects: Iterable[Effect], kind: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for effect in effects:
        if effect.kind == kind:
            found.setdefault(effect.job, effect.at)
    return found
