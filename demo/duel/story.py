"""What a fault did to one side, in a few words, from the judge's verdict alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from demo.duel.faults import CHILD, CONNECTIONS, SQL, WORKER
from demo.duel.judge import Harm, Verdict
from demo.duel.side import Strike

GOOD, BAD, WAITING = "good", "bad", "waiting"
UNDECIDED = {CHILD: 3.0, WORKER: 17.0, CONNECTIONS: 4.0, SQL: 10.0}
"""Seconds after a fault for which a harm may still turn out to be none, while the duel lasts."""
FRESH = 2.0
"""Seconds for which a job may be on its way."""


def tell(strike: Strike, strikes: Sequence[Strike], verdict: Verdict, now: float) -> tuple[str, str]:
    """A sentence, and which of the three it is. ``now`` is infinite when all is over."""
    is_over = math.isinf(now)
    words = ("lost", "run twice", "never recorded") if is_over else ("missing", "run twice", "not recorded")
    counts = [
        sum(harm.at < now - FRESH and cause(harm, strikes) is strike for harm in verdict.lost.values()),
        sum(cause(harm, strikes) is strike for harm in verdict.doubled.values()),
        sum(harm.at < now - FRESH and cause(harm, strikes, FRESH) is strike for harm in verdict.unrecorded.values()),
    ]
    if any(counts):
        # A second start stays one; the rest may still turn out well.
        is_decided = counts[1] or (strike.ended is not None and now > strike.ended + UNDECIDED[strike.fault])
        said = ", ".join(f"{count} {word}" for count, word in zip(counts, words, strict=True) if count)
        return said, BAD if is_decided else WAITING
    if strike.ended is None:
        return {WORKER: "frozen …", SQL: "no database …"}.get(strike.fault, "…"), WAITING
    return TOLD[strike.fault](strike, verdict)


def cause(harm: Harm, strikes: Sequence[Strike], delay: float = 0.0) -> Strike | None:
    """The fault that a harm is put down to: the last one that had begun then.

    A job that never started was with whatever was struck next after it had left its queue. What happens within
    ``delay`` seconds after a harm may have caused it: the row of a job that has just ended is still to be written.
    """
    if not harm.started:
        return next(
            (strike for strike in strikes if (strike.ended or harm.at) >= harm.at), strikes[-1] if strikes else None
        )
    return next((strike for strike in reversed(strikes) if strike.begun <= harm.at + delay), None)


def _again(strike: Strike, verdict: Verdict) -> tuple[str, str]:
    """For jobs whose process was killed."""
    waits = []
    for job in strike.jobs:
        starts = [attempt.begun for attempt in verdict.attempts.get(job, ()) if attempt.begun > strike.hit]
        if not starts:
            return f"{_jobs(strike.jobs)} to come back …", WAITING
        waits.append(min(starts) - strike.hit)
    if not waits:
        return "no job was running there", GOOD
    return f"{_jobs(strike.jobs)} ran again after {max(waits):.1f} s", GOOD


def _went_on(strike: Strike, verdict: Verdict) -> tuple[str, str]:
    """For jobs that ran on."""
    if not strike.jobs:
        return "no job was running there", GOOD
    if not all(any(attempt.ended for attempt in verdict.attempts.get(job, ())) for job in strike.jobs):
        return f"{_jobs(strike.jobs)} running …", WAITING
    return f"{_jobs(strike.jobs)} ran on, none twice", GOOD


def _written(strike: Strike, verdict: Verdict) -> tuple[str, str]:
    """For jobs that ended while the database was away."""
    assert strike.ended is not None
    kept = [job for job, end in _ends(verdict).items() if strike.begun < end < strike.ended]
    times = [verdict.recorded[job] for job in kept if job in verdict.recorded]
    if len(times) < len(kept):
        return f"{len(kept) - len(times)} outcomes kept …", WAITING
    return f"{len(kept)} outcomes written after {max(0.0, max(times, default=0) - strike.ended):.1f} s", GOOD


TOLD = {CHILD: _again, WORKER: _again, CONNECTIONS: _went_on, SQL: _written}


def _ends(verdict: Verdict) -> Mapping[str, float]:
    return {
        job: ended
        for job, attempts in verdict.attempts.items()
        for attempt in attempts
        if (ended := attempt.ended) is not None
    }


def _jobs(jobs: set[str]) -> str:
    return "its job" if len(jobs) == 1 else f"{len(jobs)} jobs"
