"""How many jobs that do nothing a worker with Celery's stock prefork pool gets through."""

from __future__ import annotations

import time
from typing import NamedTuple

from celery import current_app

from benchmarks.applications.tasks import note
from benchmarks.conditions import BenchmarkError, wait_for
from benchmarks.harness import OURS, STOCK, Bench, turns
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server

TITLE = "No-op jobs through Celery's stock prefork pool, two children, events on"
HOW = (
    "A queue is filled by the side's own producer, then a worker is started; time runs from the start of the first "
    "body until the last job is settled. CPU is that of all the worker's processes and of its Redis, which other load "
    "on the machine changes least. With results: each side writes them to its Redis, with Celery's own backend."
)
JOBS, ROUNDS = 2500, 3


def measure(bench: Bench) -> Figure:
    """Both sides with results kept, and with results ignored."""
    rows = []
    for results in (True, False):
        runs: dict[str, list[Run]] = {STOCK: [], OURS: []}
        for side in turns(ROUNDS):
            runs[side].append(drain(bench, side, bench.amount(JOBS), results))
        what = "results in Redis" if results else "results ignored"
        rates = {side: [run.rate for run in runs[side]] for side in runs}
        cpu = {side: [run.cpu_us for run in runs[side]] for side in runs}
        rows += [
            Row(what, "jobs/s", rates[OURS], rates[STOCK], target=Target("times", at_least=1.5)),
            Row(f"{what}: CPU per job, Redis included", "µs", cpu[OURS], cpu[STOCK], less_is_better=True),
        ]
    return Figure("throughput", TITLE, HOW, rows)


class Run(NamedTuple):
    """One worker's way through its queue."""

    rate: float
    cpu_us: float


def drain(bench: Bench, side: str, jobs: int, results: bool) -> Run:
    """What one worker makes of a queue of that many."""
    server, marks = bench.server(side), bench.new_marks()
    with bench.caller(side, server, results=results) as caller:
        caller.call(fill, jobs=jobs)
    with bench.worker(side, server, results=results) as worker:
        # It starts at once, and its own start is not to be counted: the jobs from here on are.
        left = marks.read(jobs).count(0)
        before = worker.cpu_us() + server.usage().cpu_us
        wait_for(lambda: all(marks.read(jobs)), f"{side} has started {jobs} jobs", 60)
        wait_for(lambda: is_settled(server), f"{side} has settled {jobs} jobs", 20)
        seconds = time.monotonic() - min(marks.read(jobs))
        return Run(jobs / seconds, (worker.cpu_us() + server.usage().cpu_us - before) / left)


def fill(jobs: int) -> None:
    """Puts the jobs on the queue; runs in the side's process."""
    for slot in range(jobs):
        note.delay(slot)
    waiting = current_app.connection_for_write().default_channel.client.llen("celery")
    if waiting != jobs:
        raise BenchmarkError(f"{waiting} of {jobs} jobs are on the queue")


def is_settled(server: Server) -> bool:
    """Whether nobody holds a message, neither as kombu notes it nor as we do."""
    client = server.client
    held = ["unacked", *client.scan_iter("penstock:inflight:*", count=1000)]
    return not client.llen("celery") and not any(client.hlen(key) for key in held)
