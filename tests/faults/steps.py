"""W3, W4 and W6: each process of our worker dies, or stops for longer than a lease, at each step of a job's life.

    queue ─► claim ─► claim returns ─► body ─► handed over ─► committed ─► settled

Stock Celery has two of these processes and the same steps in other places; what a kill does to it is in the rows of
``kills`` and ``endings``. What was handed over is kept whoever dies alone, so the job must not start again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from tests.faults.ground import Ground, new_ids
from tests.faults.proxy import Proxy
from tests.faults.scenario import CHILD_BOUND, WORKER_BOUND, fault
from tests.faults.sides import OURS, Worker
from tests.faults.tasks import AFTER_CLAIM

LEASE_SECONDS = 10.0
MARGIN_SECONDS = 3.0
OLD_SECONDS = 6.0
"""A worker whose zygote dies earlier than that ends: it would start anew for ever."""
NO_SUCH = "stock Celery has no such process, or shows it in the rows above"


@dataclass(frozen=True)
class Point:
    """Where a job is when somebody dies."""

    job: str
    is_handed_over: bool
    """Whether its body has ended, so that it must not begin again."""
    go_on: Callable[[], None]
    """Lets whoever is left go on."""


Reach = Callable[[Ground, Proxy], Point]


def before_the_claim_returns(ground: Ground, proxy: Proxy) -> Point:
    """Redis has noted the claim, and the child does not know it."""
    (job,) = new_ids(1)
    proxy.hold_reply_with(job)
    ground.try_to_enqueue("work", ids=[job])
    ground.wait(proxy.holding.is_set, "the message is on its way to the worker")
    return Point(job, False, lambda: _cut(proxy))


def after_the_claim(ground: Ground, _: Proxy) -> Point:
    """The child has the message, and has not begun."""
    ground.hold(AFTER_CLAIM)
    (job,) = ground.enqueue("work")
    ground.held(job)
    return Point(job, False, lambda: ground.release(AFTER_CLAIM))


def in_mid_body(ground: Ground, _: Proxy) -> Point:
    """It runs."""
    gate = ground.gate()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    return Point(job, False, lambda: ground.open(gate))


def before_the_commit(ground: Ground, _: Proxy) -> Point:
    """The outcome is handed over, and cannot be written yet."""
    ledger = ground.during(closing(sqlite3.connect(ground.results_in_sqlite, isolation_level=None)))
    ledger.execute("BEGIN IMMEDIATE")
    before = len(ground.effects.of("end"))
    (job,) = ground.enqueue("work")
    ground.ended(before + 1)
    ground.sleep(0.3)  # Its line is written in the body; the outcome is handed over right behind it.
    return Point(job, True, lambda: ledger.rollback())


def before_the_claim_is_settled(ground: Ground, proxy: Proxy) -> Point:
    """The outcome is written, and the first command that tells Redis of it does not get there."""
    (job,) = new_ids(1)
    proxy.hold_command(job)
    ground.try_to_enqueue("work", ids=[job])
    ground.wait(proxy.holding.is_set, "the claim is about to be settled")
    ground.stored(job)
    return Point(job, True, lambda: _cut(proxy))


def after_the_claim_is_settled(ground: Ground, _: Proxy) -> Point:
    """Nothing is left of it."""
    (job,) = ground.enqueue("work")
    ground.settled(job)
    return Point(job, True, lambda: None)


def _cut(proxy: Proxy) -> None:
    proxy.cut()


STEPS: tuple[Reach, ...] = (
    before_the_claim_returns,
    after_the_claim,
    in_mid_body,
    before_the_commit,
    before_the_claim_is_settled,
    after_the_claim_is_settled,
)
VICTIMS: dict[str, tuple[str, float, Callable[[Worker], float]]] = {
    "child": ("W6", CHILD_BOUND, Worker.kill_children),
    "keeper": ("W3", CHILD_BOUND, Worker.kill_keeper),
    "zygote": ("W3", WORKER_BOUND, Worker.kill_zygote),
    "parent": ("W3", WORKER_BOUND, Worker.kill_parent),
}


def _kill_at(reach: Reach, victim: str, kill: Callable[[Worker], float], ground: Ground) -> None:
    proxy = ground.proxy()
    other = ground.worker("-Q", "another") if victim == "parent" else None
    worker = ground.tried_worker(through=proxy.url)
    if victim == "zygote":
        ground.sleep(OLD_SECONDS)
    point = reach(ground, proxy)
    kill(worker)
    if point.is_handed_over:
        ground.expect_no_other_start(point.job)
    elif reach is not in_mid_body:
        ground.strike(point.job)
    elif victim == "keeper":
        ground.watch(point.job, seconds=2)
    if victim == "keeper" or reach is not before_the_claim_returns:  # Else nobody waits for the answer any more.
        point.go_on()
    if other is not None:
        ground.let_serve(other)
    if point.is_handed_over:
        ground.watch(point.job, seconds=3)
    ground.settle()
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()


def _declare_kills() -> None:
    for victim, (window, bound, kill) in VICTIMS.items():
        for reach in STEPS:
            act = partial(_kill_at, reach, victim, kill)
            act.__name__ = f"{victim}_dies_{reach.__name__}"  # type: ignore[attr-defined]
            step = reach.__name__.replace("_", " ")
            declare = fault(
                window, f"kill -9 of the {victim} alone, {step}", sides=(OURS,), bound=bound, not_reproducible=NO_SUCH
            )
            declare(act)


_declare_kills()


@fault(
    "W4",
    "SIGSTOP of a child beyond the lease while it runs a job and holds others, then SIGCONT",
    sides=(OURS,),
    not_reproducible=NO_SUCH,
)
def child_frozen(ground: Ground) -> None:
    worker, other, gate = ground.worker(), ground.worker("-Q", "another"), ground.gate()
    running, claimed = ground.hoard(worker, gate, "work", count=2)
    frozen = worker.children
    worker.freeze_only(frozen)
    ground.strike(*claimed)
    ground.let_serve(other)
    ground.sleep(LEASE_SECONDS + MARGIN_SECONDS)
    worker.thaw(frozen)
    ground.expect_no_other_start(running)
    ground.open(gate)
    ground.settle()


@fault(
    "W4",
    "SIGSTOP of the parent beyond the lease while its children work, then SIGCONT",
    sides=(OURS,),
    not_reproducible=NO_SUCH,
)
def parent_frozen(ground: Ground) -> None:
    worker, gate = ground.tried_worker(children=2), ground.gate()
    ground.worker()
    (running,) = ground.enqueue("until", gate)
    ground.started(running)
    worker.freeze_only([worker.parent])
    ground.strike(*ground.enqueue("work", count=20))
    ground.watch(running, seconds=LEASE_SECONDS + MARGIN_SECONDS)
    worker.thaw([worker.parent])
    ground.expect_no_other_start(running)
    ground.open(gate)
    ground.settle()
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()


@fault(
    "W4",
    "SIGSTOP of the keeper beyond the lease while a job runs, then SIGCONT",
    sides=(OURS,),
    not_reproducible=NO_SUCH,
)
def keeper_frozen(ground: Ground) -> None:
    worker, gate = ground.tried_worker(), ground.gate()
    ground.worker()
    (running,) = ground.enqueue("until", gate)
    ground.started(running)
    assert worker.keeper is not None
    frozen = [worker.keeper]
    worker.freeze_only(frozen)
    ground.watch(running, seconds=LEASE_SECONDS + MARGIN_SECONDS)
    worker.thaw(frozen)
    ground.watch(running, seconds=2)
    ground.expect_no_other_start(running)
    ground.open(gate)
    ground.settle()
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()
