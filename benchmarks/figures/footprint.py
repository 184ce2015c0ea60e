"""What a worker takes before it does anything: time until its first job starts, and memory while it is idle."""

from __future__ import annotations

import time

from benchmarks.comparison import usage
from benchmarks.conditions import wait_for
from benchmarks.figures.throughput import fill
from benchmarks.harness import CONFIGURED, OURS, STOCK, Bench, turns
from benchmarks.report import Figure, Row, Target

TITLE = "A worker's start, and its memory while it is idle"
HOW = (
    "Two children, every outcome in PostgreSQL, stock Celery's prefork pool beside Penstock's own. From the start of "
    "the worker's process to the start of the body of a job that waits already; then, two idle seconds after that job, "
    "the proportional set size of all the worker's processes."
)
ROUNDS, IDLE_SECONDS = 5, 2.0


def measure(bench: Bench) -> Figure:
    """Seconds and megabytes of both sides."""
    seconds: dict[str, list[float]] = {STOCK: [], OURS: []}
    megabytes: dict[str, list[float]] = {STOCK: [], OURS: []}
    for side in turns(1 if bench.smoke else ROUNDS):
        start, memory = start_one(bench, side)
        seconds[side].append(start)
        megabytes[side].append(memory)
    start_target, memory_target = Target("ours", at_most=1.5), Target("ours", at_most=150)
    return Figure(
        "footprint",
        TITLE,
        HOW,
        [
            Row("start to first job", "s", seconds[OURS], seconds[STOCK], less_is_better=True, target=start_target),
            Row("idle memory", "MB", megabytes[OURS], megabytes[STOCK], less_is_better=True, target=memory_target),
        ],
    )


def start_one(bench: Bench, side: str) -> tuple[float, float]:
    """Seconds to the first job, and megabytes when idle."""
    server, marks = bench.server(side), bench.new_marks()
    with bench.sql(side) as sql:
        with bench.caller(side, server, results=sql.backend) as caller:
            caller.call(fill, jobs=1)
        with bench.worker(side, server, results=sql.backend, pool=CONFIGURED) as worker:
            wait_for(lambda: marks.all_started(1), f"{side} has started its first job", 20)
            time.sleep(IDLE_SECONDS)
            return marks.at(0) - worker.started, usage.pss(worker.family()) / 1e6
