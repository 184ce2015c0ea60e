"""Whether workers claim: a worker that answers pings, and one that makes progress, are two things."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from celery.worker.control import inspect_command

from penstock.broker import queues
from penstock.broker.release import live_workers
from penstock.broker.scripts import Scripts
from penstock.engine.keeping import LEASE_SECONDS

STALLED_SECONDS = 5.0
"""A worker that has room, and whose queue has jobs, claims within this time."""
ANSWER_SECONDS = 2.0


@inspect_command()
def claims(state: Any, **_: Any) -> dict[str, Any]:
    """What this worker holds and when it last claimed; for :func:`health`."""
    if (told := getattr(state.consumer, "claims_of_children", None)) is not None:
        return told()  # type: ignore[no-any-return]
    held = state.consumer.claims
    if held is None:
        return {"worker": ""}
    limit = state.consumer.qos.value if state.consumer.qos else 0
    return {
        "worker": held.worker,
        "held": held.held,
        "has_room": not limit or held.held < limit,
        "claimed_seconds_ago": round(time.monotonic() - held.last_claim, 3) if held.last_claim else None,
        "queues": list(state.app.amqp.queues.consume_from),
        "keeper": state.consumer.keeper_pid,
    }


@dataclass(frozen=True)
class WorkerHealth:
    """One worker at one moment."""

    hostname: str
    healthy: bool
    text: str


def health(app: Any, scripts: Scripts, hostname: str | None = None) -> list[WorkerHealth]:
    """How the workers are that hold a lease or answer; with ``hostname``, that one, whether it exists or not."""
    answers = _ask(app, hostname)
    lease = float((app.conf.broker_transport_options or {}).get("lease_seconds", LEASE_SECONDS))
    expected = {worker.rpartition("/")[0] for worker in live_workers(scripts, lease)} | answers.keys()
    if hostname is not None:
        expected = {hostname}
    backlog = _backlog(scripts)
    return [judge(name, answers.get(name), backlog) for name in sorted(expected)]


def _ask(app: Any, hostname: str | None) -> dict[str, dict[str, Any]]:
    destination = [hostname] if hostname else None
    replies = app.control.broadcast("claims", reply=True, timeout=ANSWER_SECONDS, destination=destination)
    return {name: answer for reply in replies or () for name, answer in reply.items()}


def _backlog(scripts: Scripts) -> dict[str, int]:
    """Messages that wait in queues that are open."""
    return {
        status.queue: status.ready for status in queues.status(scripts, queues.names(scripts)) if status.pause is None
    }


def judge(hostname: str, answer: Mapping[str, Any] | None, backlog: Mapping[str, int]) -> WorkerHealth:
    """What a worker's answer, or its silence, means beside what waits in each queue."""
    if answer is None:
        return WorkerHealth(hostname, False, "does not answer; look at its log, or end it and its jobs go back")
    if "worker" not in answer:
        return WorkerHealth(hostname, True, "answers, and is no worker of ours")
    problems = list(_problems(answer, backlog))
    if problems:
        return WorkerHealth(hostname, False, "; ".join(problems))
    ago = answer["claimed_seconds_ago"]
    last = "has not claimed yet" if ago is None else f"last claimed {ago:.0f} s ago"
    return WorkerHealth(hostname, True, f"holds {answer['held']} jobs, {last}, serves {', '.join(answer['queues'])}")


def _problems(answer: Mapping[str, Any], backlog: Mapping[str, int]) -> Iterator[str]:
    if not answer["worker"]:
        yield "has no lease; Redis does not answer it"
        return
    waiting = {queue: backlog[queue] for queue in answer["queues"] if backlog.get(queue)}
    ago = answer["claimed_seconds_ago"]
    if waiting and answer["has_room"] and (ago is None or ago > STALLED_SECONDS):
        listed = ", ".join(f"{count} on {queue}" for queue, count in waiting.items())
        yield f"has room and does not claim, while jobs wait ({listed}); restart it"
