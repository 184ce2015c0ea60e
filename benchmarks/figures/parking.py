"""What jobs that are not due yet cost a worker, and how late they start."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.applications.tasks import note, send_welcome
from benchmarks.conditions import BenchmarkError, wait_for
from benchmarks.harness import OURS, STOCK, Bench, Worker, percentile
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server

TITLE = "Jobs with an ETA: what they cost a worker that waits for them, and how late they start"
HOW = (
    "A worker with two children is running; jobs that are due tomorrow are submitted until it has taken them "
    "in (stock) or they are parked in Redis (ours). Then jobs that are due at odd moments of the next "
    "seconds, on top of them."
)
STOCK_JOBS, DUE, SECONDS = 4000, 200, 4
MEBIBYTE = 1 << 20


def measure(bench: Bench) -> Figure:
    """Memory of all processes of the worker, and lateness."""
    stock_jobs = bench.amount(STOCK_JOBS)
    ours_growth, ours_late = wait_with(bench, OURS, enqueue_many, bench.parked)
    stock_growth, stock_late = wait_with(bench, STOCK, apply_async, stock_jobs)

    def row(percent: float, target: Target | None = None) -> Row:
        ours, stock = ([percentile(late, percent)] for late in (ours_late, stock_late))
        return Row(f"lateness p{percent:g}", "ms", ours, stock, less_is_better=True, target=target)

    return Figure(
        "parking",
        TITLE,
        HOW,
        [
            Row(
                f"worker's memory grows by, {bench.parked:,} jobs",
                "MiB",
                [ours_growth / MEBIBYTE],
                less_is_better=True,
                target=Target("ours", at_most=10),
            ),
            Row(
                f"the same per job (stock: {stock_jobs:,} jobs)",
                "bytes",
                [ours_growth / bench.parked],
                [stock_growth / stock_jobs],
                less_is_better=True,
            ),
            row(50),
            row(99, Target("ours", at_most=100)),
        ],
    )


def wait_with(bench: Bench, side: str, way: Any, jobs: int) -> tuple[float, list[float]]:
    """Bytes by which the worker grows, and milliseconds by which jobs that come due start late."""
    server, marks, due = bench.server(side), bench.new_marks(), bench.amount(DUE)
    with bench.worker(side, server) as worker, bench.caller(side, server) as caller:
        caller.call(submit_due, jobs=5, seconds=0.5)
        wait_for(lambda: all(marks.read(5)), "the first jobs have started", 20)
        before = worker.rss()
        caller.call(way, jobs=jobs)
        wait_for(lambda: put_aside(server) >= jobs, f"{side} has put {jobs} jobs aside", 120)
        growth = settled_rss(worker) - before
        marks.clear()
        moments = caller.call(submit_due, jobs=due, seconds=SECONDS)
        wait_for(lambda: all(marks.read(due)), f"{side} has started {due} jobs", SECONDS + 30)
    since = time.time() - time.monotonic()
    late = [(mark + since - moment) * 1e3 for mark, moment in zip(marks.read(due), moments, strict=True)]
    if min(late) < -1:
        raise BenchmarkError(f"{side} started a job {-min(late):.0f} ms before it was due")
    return growth, late


def put_aside(server: Server) -> int:
    """How many jobs wait for their time, in a worker or in Redis."""
    return int(server.client.hlen("unacked")) + int(server.client.zcard("penstock:parked:celery"))


def settled_rss(worker: Worker) -> int:
    """The worker's memory after it has had a second to react."""
    time.sleep(1)
    return worker.rss()


def apply_async(jobs: int) -> None:
    """Jobs of tomorrow, one by one."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for number in range(jobs):
        send_welcome.apply_async((number,), eta=tomorrow)


def enqueue_many(jobs: int) -> None:
    """Jobs of tomorrow, all at once."""
    import penstock
    from benchmarks.applications.declared import send_welcome

    tomorrow = send_welcome.options(at=datetime.now(UTC) + timedelta(days=1))
    penstock.enqueue_many(tomorrow.bind(number) for number in range(jobs))


def submit_due(jobs: int, seconds: float) -> list[float]:
    """Jobs due at moments spread over that many seconds from a second on; their moments (Unix time)."""
    start = time.time() + 1
    moments = [start + seconds * slot / jobs for slot in range(jobs)]
    for slot, moment in enumerate(moments):
        note.apply_async((slot,), eta=datetime.fromtimestamp(moment, UTC))
    return moments
