"""Which worker is stuck, and why: from what each has answered, its lease, and what waits in its queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from penstock.broker.leases import Lease
from penstock.broker.queues import QueueStatus
from penstock.engine.health import STALLED_SECONDS
from penstock.operations.wording import short_id
from penstock.operations.workers.view import Child, Told, Verdict
from penstock.wording import counted, duration, one_line

UNUSUAL_TIMES = 10
"""A job is stuck that runs for so many times the 95th percentile of its task, and …"""
UNUSUAL_SECONDS = 60.0
"""… for longer than this."""
LATE_RENEWAL = 0.6
"""Of a lease: a keeper that renews five times in each has failed to twice by then."""
NAMED = 3
"""Queues and jobs that a reason names; the page has all of them."""


@dataclass(frozen=True)
class Surroundings:
    """What a worker is judged by, beside what it says itself.

    Attributes:
        queues: by their names, as far as anybody knows them.
        usual: seconds that 95 of 100 jobs of a task take at most, by task.
        lease_seconds: how long a silent worker keeps its claims.
    """

    queues: Mapping[str, QueueStatus] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    lease_seconds: float = 10.0

    def paused(self, told: Told | None) -> tuple[str, ...]:
        """The queues of a worker that are closed."""
        known = [self.queues.get(name) for name in told.queues] if told else []
        return tuple(status.queue for status in known if status and status.pause)


def judge(lease: Lease | None, told: Told | None, around: Surroundings) -> tuple[Verdict, tuple[str, ...]]:
    """How a worker is, and why."""
    if lease is not None and lease.draining_seconds is not None:
        since = duration(lease.draining_seconds)
        return Verdict.DRAINING, (f"ends, for {since} so far: it waits for its jobs, and answers nobody meanwhile",)
    if told is None:
        return Verdict.STUCK, (_silence(lease, around.lease_seconds),)
    if not told.is_ours:
        return Verdict.ANSWERS, ("answers, and holds no lease: a worker of stock Celery, or one that has just started",)
    if problems := tuple(_problems(lease, told, around)):
        return Verdict.STUCK, problems
    if quiet := _quiet(told, around):
        return Verdict.PAUSED, (quiet,)
    return Verdict.WELL, (_well(told, around),)


def _silence(lease: Lease | None, lease_seconds: float) -> str:
    if lease is None:
        return "does not answer, and holds no lease"
    over = lease.renewed_seconds_ago - lease_seconds
    if over > 0:
        return f"does not answer at all, its lease ran out {duration(over)} ago; its jobs go to other workers"
    return (
        f"does not answer: its parent is stopped or held up. Its keeper renewed the lease "
        f"{duration(lease.renewed_seconds_ago)} ago, so its jobs go on, and it obeys no command"
    )


def _problems(lease: Lease | None, told: Told, around: Surroundings) -> Iterator[str]:
    if not told.worker:
        yield "has no lease: Redis does not answer it, or does not answer its keeper"
        return
    yield from _keeping(lease, told, around.lease_seconds)
    for child in told.children:
        if (process := told.process(child.pid)) is not None and process.is_stopped:
            what = f" while it runs {_title(child)}, for {duration(child.seconds)}" if child.seconds else ""
            yield f"its child {child.pid} is stopped (SIGSTOP){what}; send it SIGCONT, or SIGKILL and its job goes back"
    if told.target and not told.children:
        yield f"has no child, and is to have {told.target}; its log says why they end"
    yield from _stalled(told, around)
    yield from _unusual(told, around.usual)


def _keeping(lease: Lease | None, told: Told, lease_seconds: float) -> Iterator[str]:
    for process in told.processes:
        if process.is_stopped and process.role in ("keeper", "zygote"):
            yield f"its {process.role} {process.pid} is stopped (SIGSTOP); send it SIGCONT"
            return
    if not told.keeper:
        yield "has no keeper at the moment: nothing renews its lease, and no outcome is recorded"
    elif lease is not None and lease.renewed_seconds_ago > lease_seconds * LATE_RENEWAL:
        yield f"its keeper has not renewed the lease for {duration(lease.renewed_seconds_ago)}"


def _stalled(told: Told, around: Surroundings) -> Iterator[str]:
    """Room, jobs that wait, and no claim. A job that has come this moment is no reason yet."""
    open_queues = [status for name in told.queues if (status := around.queues.get(name)) and not status.pause]
    waiting = [
        status
        for status in open_queues
        if status.ready and (status.oldest_seconds is None or status.oldest_seconds > STALLED_SECONDS)
    ]
    ago = told.claimed_seconds_ago
    if not (waiting and told.has_room) or (ago is not None and ago <= STALLED_SECONDS):
        return
    jobs = sum(status.ready for status in waiting)
    listed = ", ".join(f"{status.ready:,} on {one_line(status.queue)}" for status in waiting[:NAMED])
    since = f"for {duration(ago)}" if ago is not None else "since its start"
    yield f"claims nothing {since} and has room, while {counted(jobs, 'job')} wait on its queues ({listed}); restart it"


def _unusual(told: Told, usual: Mapping[str, float]) -> Iterator[str]:
    for child in told.running:
        assert child.seconds is not None
        times = child.seconds / max(usual.get(child.task or "", float("inf")), 1e-3)
        if times >= UNUSUAL_TIMES and child.seconds >= UNUSUAL_SECONDS:
            yield (
                f"{_title(child)} runs for {duration(child.seconds)} in child {child.pid}, {times:,.0f} times what 95 "
                "of 100 jobs of its task take"
            )


def _quiet(told: Told, around: Surroundings) -> str:
    if told.target == 0:
        return "claims nothing: it was shrunk to no child; grow it"
    if not told.queues:
        names = ", ".join(map(one_line, told.stopped[:NAMED]))
        return f"claims nothing: it was told to stop claiming from {names}" if names else "serves no queue"
    if len(paused := around.paused(told)) == len(told.queues):
        return (
            f"claims nothing: {', '.join(map(one_line, paused[:NAMED]))} {'is' if len(paused) == 1 else 'are'} paused"
        )
    return ""


def _well(told: Told, around: Surroundings) -> str:
    places = sum(child.places or 0 for child in told.children)
    room = f" of {places} at once" if places else ""
    busy = f"runs {counted(told.jobs, 'job')}{room}" if told.jobs else "idle"
    ago = told.claimed_seconds_ago
    last = "has not claimed yet" if ago is None else f"last claimed {duration(ago)} ago"
    paused = around.paused(told)
    return f"{busy}, {last}" + (f"; {', '.join(map(one_line, paused[:NAMED]))} paused" if paused else "")


def _title(child: Child) -> str:
    return f"{one_line(child.task or 'a job')} {one_line(short_id(child.job)) if child.job else ''}".strip()
