"""Says what became of the jobs, from what they left outside of both systems and from the rows in the store.

| word | meaning |
|---|---|
| lost | accepted, not done, and neither running nor waiting where a worker of the side will take it, nor just taken |
| doubled | started while an earlier start of it was alive, or after an earlier start had come to its end in a process \
that lives or with a row in the store |
| never recorded | done, and the store has no final row of it |
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from demo.duel.effects import END, START, Effect

BLUR = 0.1
"""Seconds by which the death of a process that nobody of us killed may be noticed too late."""
IN_HAND = 5.0
"""Seconds for which a job that has left its queue may lie in a worker before it starts."""


@dataclass(frozen=True)
class Evidence:
    """What one side left behind. Times are seconds of the monotonic clock."""

    accepted: Mapping[str, float]
    effects: Sequence[Effect] = ()
    deaths: Mapping[int, float] = field(default_factory=dict)
    recorded: Mapping[str, float] = field(default_factory=dict)
    """Jobs with a final row, and when we saw it first."""
    waiting: Set[str] = frozenset()
    """Jobs in a ready queue."""
    left: Mapping[str, float] = field(default_factory=dict)
    """Jobs that were seen in a ready queue, and when last."""
    now: float = math.inf
    """When all this was seen."""


@dataclass
class Attempt:
    """One start of a body."""

    job: str
    pid: int
    begun: float
    seconds: float = 0.0
    ended: float | None = None
    died: float | None = None
    left: float | None = None
    """When its process, which does one thing at a time, began another."""

    @property
    def closed(self) -> float | None:
        """When it stopped running, in whatever way; None while it runs."""
        return min((time for time in (self.ended, self.died, self.left) if time is not None), default=None)


@dataclass(frozen=True)
class Harm:
    """What was done to a job, and when."""

    at: float
    started: bool = True
    """Whether a body of it had started; a job that was lost before is dated by when it was in its queue last."""


@dataclass(frozen=True)
class Verdict:
    """The harm by job; ``open`` are those that still wait or run; the rest is what it rests on."""

    lost: Mapping[str, Harm]
    doubled: Mapping[str, Harm]
    unrecorded: Mapping[str, Harm]
    open: Set[str]
    attempts: Mapping[str, Sequence[Attempt]]
    recorded: Mapping[str, float]

    @property
    def figures(self) -> tuple[int, int, int]:
        """Lost, doubled, never recorded."""
        return len(self.lost), len(self.doubled), len(self.unrecorded)

    @property
    def is_clean(self) -> bool:
        """Whether no job came to harm, and none is open."""
        return self.figures == (0, 0, 0) and not self.open


def judge(evidence: Evidence) -> Verdict:
    """The verdict on everything that was accepted."""
    attempts = attempts_of(evidence)
    lost, doubled, unrecorded, unfinished = {}, {}, {}, set()
    for job, accepted in evidence.accepted.items():
        mine = attempts.get(job, [])
        ends = [attempt.ended for attempt in mine if attempt.ended is not None]
        if ends and job not in evidence.recorded:
            unrecorded[job] = Harm(min(ends))
        elif not ends and _is_open(job, mine, evidence):
            unfinished.add(job)
        elif not ends:
            lost[job] = Harm(mine[-1].closed or accepted) if mine else Harm(_waited(job, evidence), started=False)
        if (again := _doubled_at(mine, evidence.recorded.get(job))) is not None:
            doubled[job] = Harm(again)
    return Verdict(lost, doubled, unrecorded, unfinished, attempts, evidence.recorded)


def attempts_of(evidence: Evidence) -> dict[str, list[Attempt]]:
    """Each job's attempts in the order in which they began."""
    by_name: dict[str, Attempt] = {}
    latest: dict[int, Attempt] = {}
    for effect in evidence.effects:
        if effect.kind == START:
            attempt = Attempt(effect.job, effect.pid, effect.at, effect.seconds, died=evidence.deaths.get(effect.pid))
            if effect.pid in latest:
                latest[effect.pid].left = effect.at
            by_name[effect.attempt] = latest[effect.pid] = attempt
        elif effect.kind == END:
            by_name[effect.attempt].ended = effect.at
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in sorted(by_name.values(), key=lambda each: each.begun):
        found[attempt.job].append(attempt)
    return dict(found)


def _is_open(job: str, attempts: Sequence[Attempt], evidence: Evidence) -> bool:
    """Whether it waits, runs, or has only just left its queue."""
    if not attempts and evidence.now - _waited(job, evidence) < IN_HAND:
        return True
    return job in evidence.waiting or any(attempt.closed is None for attempt in attempts)


def _waited(job: str, evidence: Evidence) -> float:
    """Until when it was in its queue, as far as anybody saw."""
    return max(evidence.accepted[job], evidence.left.get(job, 0.0))


def _doubled_at(attempts: Sequence[Attempt], recorded: float | None) -> float | None:
    """When the job started though an earlier start of it forbade it; None if it never did."""
    for number, later in enumerate(attempts):
        if any(_forbids(former, later.begun, recorded) for former in attempts[:number]):
            return later.begun
    return None


def _forbids(former: Attempt, begun: float, recorded: float | None) -> bool:
    """Whether the job must not start at that time because of a former start."""
    if former.closed is None or former.closed > begun + BLUR:
        return True
    if former.ended is None:
        return False
    lives = former.died is None or former.died > begun + BLUR
    return lives or (recorded is not None and recorded < begun)
