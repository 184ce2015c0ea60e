"""Looking at workers: those that answer, and those that hold a lease and do not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery

from penstock.broker import queues
from penstock.broker.leases import Lease, leases
from penstock.broker.scripts import Scripts
from penstock.errors import LedgerOutdated, LedgerUnavailable, PenstockError
from penstock.job import State
from penstock.ledger.backend import ledger_url
from penstock.ledger.search import JobFilter, list_jobs
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, lease_seconds
from penstock.operations.workers.asking import ask
from penstock.operations.workers.verdict import UNUSUAL_SECONDS, Surroundings, judge
from penstock.operations.workers.view import Child, Told, Verdict, WorkerView

ANSWER_SECONDS = 1.0
"""How long workers have to answer."""
OTHERS_SECONDS = 0.2
"""How long is listened for workers without a lease, after each that has answered: nobody knows how many there are."""
MOST_TASKS, MOST_JOBS, FEWEST_JOBS = 8, 200, 20
"""Tasks of which is asked how long they usually take; jobs that tell it, at most and at least."""
_URGENCY = {verdict: place for place, verdict in enumerate(Verdict)}


class WorkerNotFound(PenstockError):
    """There is no such worker: it holds no lease, and nothing of this name answers."""


def look(app: Celery, timeout: float = ANSWER_SECONDS) -> list[WorkerView]:
    """All workers: those first that somebody has to look after. Returns as soon as all that have a lease have answered.

    Args:
        timeout: seconds that they have to answer.

    Raises:
        PenstockError: the app's broker is no Redis.
        BrokerUnavailable: Redis does not answer.
    """
    with broker_of(app) as scripts, ThreadPoolExecutor(1) as beside:
        pinged = beside.submit(ask, app, "ping", None, OTHERS_SECONDS)
        held = _by_hostname(leases(scripts))
        told = {name: Told.of(answer) for name, answer in _processes(app, list(held), timeout).items()}
        others = {name: Told("", False, ()) for name in pinged.result() if name not in held}
        found = _views(app, scripts, held, {**told, **others})
    return sorted(found, key=lambda view: (_URGENCY[view.verdict], view.name))


def show(app: Celery, name: str, timeout: float = ANSWER_SECONDS) -> WorkerView:
    """One worker, and of a stock one what Celery knows of it.

    Raises:
        WorkerNotFound: it holds no lease and does not answer.
        PenstockError: the app's broker is no Redis.
        BrokerUnavailable: Redis does not answer.
    """
    with broker_of(app) as scripts:
        require_worker(app, scripts, name)
        held = {known: lease for known, lease in _by_hostname(leases(scripts)).items() if known == name}
        told = {known: Told.of(answer) for known, answer in _processes(app, list(held), timeout).items()}
        if not held and (stock := _of_stock(app, name, timeout)) is not None:
            told = {name: stock}
        found = next(_views(app, scripts, held, told), None)
    if found is None:
        raise WorkerNotFound(f"{name} has just ended")
    return found


def require_worker(app: Celery, scripts: Scripts, name: str) -> None:
    """Returns if there is such a worker: it holds a lease, or answers.

    Raises:
        WorkerNotFound: it does neither; the message says which ones there are.
        BrokerUnavailable: Redis does not answer.
    """
    held = _by_hostname(leases(scripts))
    if name not in held and not ask(app, "ping", [name], ANSWER_SECONDS):
        known = f"with a lease are {', '.join(sorted(held))}" if held else "no worker holds one"
        raise WorkerNotFound(f"there is no worker {name}: it holds no lease and does not answer; {known}")


def _processes(app: Celery, names: Sequence[str], timeout: float) -> dict[str, dict[str, Any]]:
    """Of those that have answered; a worker of a version before this question answers that it does not know it."""
    answers = ask(app, "processes", names, timeout)
    return {name: answer for name, answer in answers.items() if "children" in answer}


def _by_hostname(held: Sequence[Lease]) -> dict[str, Lease]:
    """The lease of each worker that was renewed last: another one of its name ended and is not cleared away yet."""
    by_age = sorted(held, key=lambda lease: lease.renewed_seconds_ago, reverse=True)
    return {lease.hostname: lease for lease in by_age}


def _views(app: Celery, scripts: Scripts, held: Mapping[str, Lease], told: Mapping[str, Told]) -> Iterator[WorkerView]:
    served = sorted({queue for each in told.values() for queue in each.queues})
    around = Surroundings(
        {status.queue: status for status in queues.status(scripts, served)},
        usual_seconds(app, list(told.values())),
        lease_seconds(app),
    )
    for name in {**held, **told}:
        lease, answer = held.get(name), told.get(name)
        yield WorkerView(name, *judge(lease, answer, around), lease, answer, around.paused(answer))


def usual_seconds(app: Celery, told: Sequence[Told]) -> dict[str, float]:
    """How long tasks take at most as a rule, of those whose jobs run for long; nothing while the ledger is away."""
    tasks = {
        child.task
        for each in told
        for child in each.running
        if child.task and child.seconds is not None and child.seconds > UNUSUAL_SECONDS
    }
    url = ledger_url(app)
    if not tasks or url is None:
        return {}
    usual = {}
    try:
        with reading(url) as connection:
            for task in sorted(tasks)[:MOST_TASKS]:
                page = list_jobs(connection, JobFilter(states=(State.SUCCEEDED,), task=task), MOST_JOBS)
                runtimes = sorted(job.runtime for job in page.jobs if job.runtime is not None)
                if len(runtimes) >= FEWEST_JOBS:
                    usual[task] = runtimes[len(runtimes) * 95 // 100]
    except (LedgerUnavailable, LedgerOutdated):
        return {}
    return usual


def _of_stock(app: Celery, name: str, timeout: float) -> Told | None:
    """What a worker tells that knows Celery's commands only; None: it does not answer."""
    stats = ask(app, "stats", [name], timeout).get(name)
    if stats is None:
        return None
    active: Any = ask(app, "active", [name], timeout).get(name) or ()
    served: Any = ask(app, "active_queues", [name], timeout).get(name) or ()
    children = [
        Child(
            job.get("worker_pid"),
            "running",
            job=job["id"],
            task=job["name"],
            started_at=job["time_start"],
            seconds=time.time() - job["time_start"] if job["time_start"] else None,
        )
        for job in active
    ]
    idle = set((stats.get("pool") or {}).get("processes") or ()) - {child.pid for child in children}
    return Told(
        "",
        False,
        tuple(queue["name"] for queue in served),
        up_seconds=stats.get("uptime"),
        target=(stats.get("pool") or {}).get("max-concurrency"),
        children=(*children, *(Child(pid, "idle") for pid in sorted(idle))),
    )
