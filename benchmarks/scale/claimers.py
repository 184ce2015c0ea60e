"""What many claimers at once cost one Redis, and what they get from two."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import redis
from celery import current_app

from benchmarks.conditions import BenchmarkError
from benchmarks.figures.redis_work import fill
from benchmarks.figures.throughput import is_settled
from benchmarks.harness import OURS, Bench, Caller
from benchmarks.scale.together import call_all, callers
from benchmarks.servers import Server, running_server

CLAIMERS, BATCH, JOBS, ROUNDS = (1, 2, 4, 8, 16), 100, 60_000, 3


@dataclass(frozen=True)
class Claiming:
    """So many claimers at once, medians.

    Attributes:
        rate: jobs claimed and settled a second, by all of them.
        cpu_us: of Redis per job.
        busy: share of one processor that Redis used.
        commands: per job, those inside scripts too.
        bytes: of network per job.
    """

    claimers: int
    servers: int
    rate: float
    cpu_us: float
    busy: float
    commands: float
    bytes: float


def measure(bench: Bench) -> list[Claiming]:
    """More and more claimers on one server; then the largest number of them on two."""
    most = CLAIMERS[-1]
    with running_server(bench.folder / "redis-second") as second:
        first = bench.server(OURS)
        with callers(bench, [first] * most) as here, callers(bench, [second] * (most // 2)) as there:
            found = [repeated(bench, {first: here[:count]}) for count in CLAIMERS]
            found.append(repeated(bench, {first: here[: most // 2], second: there}))
    return found


def repeated(bench: Bench, claimers: Mapping[Server, Sequence[Caller]]) -> Claiming:
    """Medians of a few times. The first claimer of each server fills it as well."""
    jobs = bench.amount(JOBS) // len(claimers)
    runs = []
    for _ in range(ROUNDS):
        for server in claimers:
            server.client.flushall()
        call_all([each[0] for each in claimers.values()], fill, [{"jobs": jobs}] * len(claimers))
        runs.append(once(claimers, jobs * len(claimers)))
    names = ("rate", "cpu_us", "busy", "commands", "bytes")
    medians = {name: median(getattr(run, name) for run in runs) for name in names}
    return Claiming(runs[0].claimers, len(claimers), **medians)


def once(claimers: Mapping[Server, Sequence[Caller]], jobs: int) -> Claiming:
    """Empties the filled queues."""
    processes = [process for each in claimers.values() for process in each]
    arguments = [{"name": f"scale-{number}"} for number in range(len(processes))]
    call_all(processes, join, arguments)
    before = [server.usage() for server in claimers]
    # A moment at which all of them begin.
    begin = time.monotonic() + 0.1 + 0.01 * len(processes)
    counts = call_all(processes, claim_and_settle, [{**each, "begin": begin} for each in arguments])
    used = [server.usage() - earlier for server, earlier in zip(claimers, before, strict=True)]
    if sum(count for count, _ in counts) != jobs or not all(is_settled(server) for server in claimers):
        raise BenchmarkError(f"{sum(count for count, _ in counts)} of {jobs} jobs were claimed and settled")
    seconds = max(ended for _, ended in counts) - begin
    cpu = sum(each.cpu_us for each in used)
    return Claiming(
        claimers=len(processes),
        servers=len(claimers),
        rate=jobs / seconds,
        cpu_us=cpu / jobs,
        busy=cpu / len(claimers) / seconds / 1e6,
        commands=sum(each.commands for each in used) / jobs,
        bytes=sum(each.bytes for each in used) / jobs,
    )


# -- in each claimer's process --------------------------------------------------------------------------------------


def scripts() -> Any:
    """Those of this process, on one connection."""
    from penstock.broker.keys import Keys
    from penstock.broker.scripts import Scripts

    return Scripts(redis.Redis.from_url(current_app.conf.broker_url), Keys())


def join(name: str) -> None:
    """Takes a lease, and loads what there is to load."""
    scripts().join(f"{name}/1")


def claim_and_settle(name: str, begin: float) -> tuple[int, float]:
    """How many jobs it got, and when it found the queue empty."""
    from penstock.broker.envelope import job_id, read
    from penstock.broker.keys import PRIORITY_STEPS
    from penstock.broker.scripts import Settlement, Source

    ours, worker = scripts(), f"{name}/1"
    sources = [Source("celery", step) for step in PRIORITY_STEPS]
    claimed = 0
    time.sleep(max(0.0, begin - time.monotonic()))
    while messages := ours.claim(worker, worker, claimed, sources, count=BATCH).messages:
        ours.unindex([("celery", job_id(read(message.raw))) for message in messages])
        ours.settle([Settlement(worker, message.queue, message.token, "ack") for message in messages])
        claimed += len(messages)
    return claimed, time.monotonic()
