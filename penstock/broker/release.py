"""The way back to stock Celery: everything that only we know where to find returns to kombu's lists."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from penstock.broker import breakers, queues
from penstock.broker.scripts import Scripts

LOOK_SECONDS = 3.0
"""How long a lease that has run out is watched before its worker counts as dead: a live one renews each 2 seconds."""


@dataclass
class Released:
    """How many messages went back, and from where; and which queues were opened."""

    in_flight: int = 0
    parked: int = 0
    blocked: int = 0
    resumed: tuple[str, ...] = ()


def live_workers(scripts: Scripts, lease_seconds: float) -> list[str]:
    """Workers that hold a lease and renew it, in order.

    A lease that has run out may be that of a worker that nobody is left to reap, or Redis itself was away for a
    while. So it is looked at twice: only who is silent meanwhile counts as dead.
    """
    first = _leases(scripts)
    seconds, _ = scripts.client.time()
    silent = {worker for worker, at in first.items() if at < (int(seconds) - lease_seconds) * 1000}
    if not silent:
        return sorted(first)
    time.sleep(LOOK_SECONDS)
    now = _leases(scripts)
    return sorted(worker for worker, at in now.items() if worker not in silent or at != first[worker])


def _leases(scripts: Scripts) -> dict[str, float]:
    return {worker.decode(): at for worker, at in scripts.client.zrange(scripts.keys.leases, 0, -1, withscores=True)}


def release_all(scripts: Scripts, known: Iterable[str] = ()) -> Released:
    """Everything back to kombu's lists, pauses lifted; for when no worker of ours is to run any more.

    Each step moves messages from one place to the other in one script, so that this may end at any moment and be
    repeated. What was in flight goes to the front, in order; what was put aside to the end.

    Args:
        known: queues beside those that Redis remembers; a queue of stock producers is known to the app alone.
    """
    names = sorted({*queues.names(scripts), *known})
    released = Released(in_flight=sum(_give_back(scripts, worker) for worker in _claiming(scripts)))
    released.parked = _unpark(scripts, names)
    released.blocked = _unblock(scripts)
    released.resumed = tuple(name for name in names if queues.resume(scripts, name))
    _forget(scripts, names)
    return released


def _claiming(scripts: Scripts) -> list[str]:
    """Workers with a lease, and those whose claims are being taken back."""
    return sorted({*_leases(scripts), *(worker.decode() for worker in scripts.client.hkeys(scripts.keys.dying))})


def _give_back(scripts: Scripts, worker: str) -> int:
    """What a worker holds to the front of the lists, in order. If it still runs, its jobs may run twice."""
    keys = scripts.keys
    places = queues.places_held_by(scripts, worker)
    held = sum(scripts.client.hlen(keys.inflight(*place)) for place in places)
    scripts.retire(worker, counted=False, crash_limit=1)
    return int(held)


def _unpark(scripts: Scripts, names: list[str]) -> int:
    """Parked messages to the lists; stock workers wait for their time in memory."""
    moved, total = 1, 0
    while moved:
        moved = scripts.promote(names, everything=True).moved
        total += moved
    return total


def _unblock(scripts: Scripts) -> int:
    """What was put aside to the lists; a stock worker that does not know its task drops it."""
    total = 0
    for unknown in queues.unknown_tasks(scripts):
        left = unknown.messages
        while left > 0 and (moved := scripts.unblock(unknown.list_key)[0]):
            left, total = left - moved, total + moved
    for broken in breakers.broken_lists(scripts):
        left = broken.messages
        while left > 0 and (moved := scripts.unbreak(broken.list_key)[0]):
            left, total = left - moved, total + moved
    return total


def _forget(scripts: Scripts, names: list[str]) -> None:
    """Notes that only our keepers clear would stay for ever, for stock workers do not know of them."""
    keys = scripts.keys
    for each in breakers.standings(scripts):
        scripts.switch(each.task, breakers.CLOSED, "", "")
    scripts.client.unlink(keys.blocked, *(key for name in names for key in (keys.waiting(name), keys.wake(name))))
