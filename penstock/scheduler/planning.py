"""What becomes of each planned time. Pure: rows in, decisions out; no clock, no database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from penstock.ledger.fires import FireState
from penstock.scheduler.schedule import Schedule

GRACE = timedelta(seconds=60)
"""A fire that is later than this has been missed, and its schedule's ``catch_up`` has to say whether it starts."""
MOST = 500
"""Planned times of one schedule that are decided in one transaction."""
BEYOND = 1500
"""Planned times after one that are looked at to know whether it is the last that is due; a day has 1,440 minutes."""
OVERLAP = "overlap: a job of this schedule has not ended"
ONE_WAITS = "overlap: another fire waits already"
NEWER = "overlap: a newer fire has taken its place"


@dataclass(frozen=True)
class Standing:
    """How far a schedule is."""

    planned_at: datetime | None
    """The next planned time that nothing is decided of; None: there is none."""
    fires: int = 0
    """Fires that have started a job, or wait to."""
    pause: str | None = None
    """Why it is paused, perhaps empty; None: it is not."""
    is_busy: bool = False
    """A job of it has not ended."""
    waiting: int = 0
    """Fires that wait for that job's end."""
    due_at: datetime | None = None
    """When the next planned time is to be decided on; None: as its schedule says."""


@dataclass(frozen=True)
class Decision:
    """What becomes of one planned time."""

    planned_at: datetime
    state: FireState
    reason: str | None = None


@dataclass(frozen=True)
class Plan:
    """Decisions in the order of their times, and how far the schedule is then."""

    standing: Standing
    decisions: list[Decision] = field(default_factory=list)
    drops_waiting: bool = False
    """Fires that waited before these are skipped: a newer one takes their place."""


def plan(
    schedule: Schedule,
    standing: Standing,
    now: datetime,
    after: Callable[[datetime], datetime | None] | None = None,
    most: int = MOST,
    begin: Callable[[datetime], str | None] | None = None,
) -> Plan:
    """Decides on each planned time that is due, ``most`` of them at most.

    Whether a time counts as late is judged from when it was due, jitter included. Times are decided on in their order,
    so one that jitter has put behind a later one takes that along.

    Args:
        after: instead of the schedule's own, for a timetable that was asked before.
        begin: makes the job of a time that fires, or says why there can be none; that time is missed.
    """
    decisions: list[Decision] = []
    after, drops = after or schedule.after, False
    while standing.planned_at and (due := _due(schedule, standing)) <= now and len(decisions) < most:
        planned = standing.planned_at
        following = after(planned)
        state, reason = decide(
            schedule, standing, planned, now, partial(_is_last, schedule, following, due, now, after)
        )
        if state is FireState.FIRED and begin is not None and (problem := begin(planned)):
            state, reason = FireState.MISSED, problem
        if state is FireState.WAITING and schedule.overlap == "cancel other":
            drops, decisions = True, [_dropped(each) for each in decisions]
            standing = replace(standing, fires=standing.fires - standing.waiting, waiting=0)
        decisions.append(Decision(planned, state, reason))
        standing = _after(schedule, standing, state, following, due)
    return Plan(standing, decisions, drops)


def decide(
    schedule: Schedule, standing: Standing, planned: datetime, now: datetime, is_last: Callable[[], bool]
) -> tuple[FireState, str | None]:
    """What becomes of a time that is due.

    Args:
        is_last: whether no later one is due that could start a job.
    """
    if schedule.is_excluded(planned):
        return FireState.SKIPPED, f"excluded: {planned.astimezone(schedule.zone):%Y-%m-%d}"
    if standing.pause is not None:
        return FireState.SKIPPED, f"paused: {standing.pause}" if standing.pause else "paused"
    if missed := _missed(schedule, now - _due(schedule, standing), is_last):
        return FireState.MISSED, missed
    # One that waits comes first, also when the job that it waits for has just ended.
    if schedule.overlap == "allow" or not (standing.is_busy or standing.waiting):
        return FireState.FIRED, None
    if schedule.overlap == "skip":
        return FireState.SKIPPED, OVERLAP
    if schedule.overlap == "buffer one" and standing.waiting:
        return FireState.SKIPPED, ONE_WAITS
    return FireState.WAITING, OVERLAP


def _due(schedule: Schedule, standing: Standing) -> datetime:
    assert standing.planned_at is not None
    return standing.due_at or schedule.due(standing.planned_at)


def _is_last(
    schedule: Schedule,
    following: datetime | None,
    due: datetime,
    now: datetime,
    after: Callable[[datetime], datetime | None],
) -> bool:
    """Whether no later time is due, but for some on days that are excluded."""
    for _ in range(BEYOND):
        if following is None or max(schedule.due(following), due) > now:
            return True
        if not schedule.is_excluded(following):
            return False
        try:
            following = after(following)
        except KeyError:  # Somebody else's timetable was not asked that far.
            return False
    return False


def _missed(schedule: Schedule, late: timedelta, is_last: Callable[[], bool]) -> str | None:
    """Why a time that is so late starts nothing; None: it does."""
    by = f"no scheduler was up until {_length(late)} later"
    if isinstance(schedule.catch_up, timedelta):
        return f"{by}, its window is {_length(schedule.catch_up)}" if late > schedule.catch_up else None
    if late <= GRACE or schedule.catch_up == "all":
        return None
    if schedule.catch_up == "none":
        return by
    return None if is_last() else f"{by}, and a newer one was due"


def _length(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.3g} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))


def _dropped(decision: Decision) -> Decision:
    if decision.state is not FireState.WAITING:
        return decision
    return replace(decision, state=FireState.SKIPPED, reason=NEWER)


def _after(
    schedule: Schedule, standing: Standing, state: FireState, following: datetime | None, due: datetime
) -> Standing:
    starts = state in (FireState.FIRED, FireState.WAITING)
    fires = standing.fires + starts
    is_over = schedule.max_fires is not None and fires >= schedule.max_fires
    if is_over:
        following = None
    # Not by `replace`, which costs more than all else that is decided of a time.
    return Standing(
        planned_at=following,
        fires=fires,
        pause=standing.pause,
        is_busy=standing.is_busy or starts,
        waiting=standing.waiting + (state is FireState.WAITING),
        due_at=max(schedule.due(following), due) if following else None,
    )
