"""Remote control of ours: what a worker tells of its processes, and having it claim no more and claim again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, ClassVar

from celery.worker import state as celerys
from celery.worker.control import control_command, inspect_command

from penstock.engine.health import claims
from penstock.engine.place import IN_BODY
from penstock.engine.pool import Pool
from penstock.engine.processes import Footprint, footprint, state_of
from penstock.engine.slots import Orders, Slot

KEPT_SECONDS = 1.0
"""How long what was measured is good for: many may look at one worker, and measuring walks all its memory."""
MOST_MEASURED = 128
"""Processes that are measured: it takes about a millisecond each, and the worker does nothing else meanwhile."""
STOPPED = "penstock_stopped"
"""Attribute of a consumer: the queues from which it was told to claim no more."""


class _Measured:
    """What was measured lately; of this process alone, which answers one question after the other."""

    until = 0.0
    footprints: ClassVar[dict[int, Footprint]] = {}
    """By process id."""


@inspect_command()
def processes(state: Any, **_: Any) -> dict[str, Any]:
    """What this worker's processes do at this moment: parent, zygote, keeper and each child."""
    consumer = state.consumer
    pool = consumer.pool
    if (showing := getattr(consumer, "showing", None)) is not None:
        showing.refresh()
    children = list(_children(pool))
    zygote, keeper = getattr(pool, "zygote", 0), getattr(consumer, "keeper_pid", None)
    roles = [("parent", os.getpid()), ("zygote", zygote), ("keeper", keeper)]
    roles += [("child", child["pid"]) for child in children if child["pid"] != os.getpid()]
    born = consumer.controller.startup_time
    return {
        **claims(state),
        "version": version("penstock"),
        "up_seconds": round((datetime.now(UTC) - born).total_seconds(), 1) if born else None,
        "target": pool.num_processes,
        "most": pool.slots.most if isinstance(pool, Pool) else None,
        "stopped": list(getattr(consumer, STOPPED, ())),
        "processes": _measured([(role, pid) for role, pid in roles if pid]),
        "children": children,
    }


def _measured(roles: Sequence[tuple[str, int]]) -> Sequence[dict[str, Any]]:
    now, known = time.monotonic(), _Measured.footprints
    if now >= _Measured.until:
        known.clear()
        _Measured.until = now + KEPT_SECONDS
    for _, pid in roles[:MOST_MEASURED]:
        if pid not in known:
            known[pid] = footprint(pid)
    # Whether one stands still costs nothing to ask, and is what people look for.
    return [
        {"role": role, "pid": pid, **asdict(known[pid]), "state": state_of(pid)} for role, pid in roles if pid in known
    ]


# -- children ---------------------------------------------------------------------------------------------------


def _children(pool: Any) -> Iterator[dict[str, Any]]:
    """What each child does. Threads have the process id of their worker."""
    requests = tuple(celerys.active_requests)
    if isinstance(pool, Pool):
        by_claim = {(request.worker_pid, request.place[2]): request for request in requests}
        for slot in pool.slots.live():
            yield _of_slot(slot, by_claim)
        return
    running = {request.worker_pid for request in requests}
    for request in requests:
        yield {"pid": request.worker_pid, "state": "running", **_job(request)}
    for pid in pool.info.get("processes") or ():
        if pid not in running:
            yield {"pid": pid, "state": "idle"}


def _of_slot(slot: Slot, by_claim: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
    """Of a child's jobs that which has run for longest; the requests are by process id and token."""
    claimed = slot.time("claimed_at")
    told = {
        "pid": slot.get("pid"),
        "state": _state(slot),
        "done": slot.get("done"),
        "held": slot.get("held"),
        "claimed_seconds_ago": round(time.monotonic() - claimed, 3) if claimed else None,
    }
    if not slot.is_single:
        told["running"], told["places"] = len(slot.shown), len(slot.places)
    longest = min(slot.shown, key=lambda place: place.time("started"), default=slot)
    running = longest.running()
    if running is None:
        return told
    _, _, soft, hard = longest.limits()
    # The child may have gone on to its next job since its requests were made.
    request = by_claim.get((slot.get("pid"), running.token))
    known = _job(request) if request is not None else {}
    return {
        **told,
        **known,
        "queue": running.queue,
        "started_at": running.started_at,
        "seconds": round(time.monotonic() - running.started, 3),
        "soft_limit": soft or None,
        "hard_limit": hard or None,
    }


def _state(slot: Slot) -> str:
    if slot.get("orders") == Orders.DRAIN:
        return "ending"
    running = {place.get("is_running") for place in slot.shown}
    if not running:
        return "idle"
    return "running" if IN_BODY in running else "handing over"


def _job(request: Any) -> dict[str, Any]:
    began = request.time_start
    return {
        "job": request.id,
        "task": request.name,
        "queue": (request.delivery_info or {}).get("routing_key"),
        "started_at": began,
        "seconds": round(time.time() - began, 3) if began else None,
    }


# -- claiming ---------------------------------------------------------------------------------------------------


@control_command()
def stop_claiming(state: Any, **_: Any) -> dict[str, str]:
    """Claims no more, from no queue; what was claimed runs. It lasts until `claim_again`, or the worker's end."""
    consumer = state.consumer
    queues = list(consumer.app.amqp.queues.consume_from)
    # Asked twice, the second time must not forget what the first has stopped.
    setattr(consumer, STOPPED, (*getattr(consumer, STOPPED, ()), *queues))
    for queue in queues:
        consumer.call_soon(consumer.cancel_task_queue, queue)
    return {"ok": f"claims no more from {', '.join(queues)}" if queues else "it claimed from no queue before"}


@control_command()
def claim_again(state: Any, **_: Any) -> dict[str, str]:
    """Claims again from the queues that `stop_claiming` has stopped."""
    consumer = state.consumer
    queues = list(dict.fromkeys(getattr(consumer, STOPPED, ())))
    setattr(consumer, STOPPED, ())
    for queue in queues:
        consumer.call_soon(consumer.add_task_queue, queue)
    return {"ok": f"claims again from {', '.join(queues)}" if queues else "it had not been stopped"}
