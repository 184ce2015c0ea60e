"""How long a job waits that nothing stands before."""

from __future__ import annotations

import os
import random
import time

from benchmarks.applications.tasks import note
from benchmarks.conditions import wait_for
from benchmarks.harness import OURS, STOCK, Bench, percentile, turns
from benchmarks.marks import Marks
from benchmarks.report import Figure, Row, Target

TITLE = "From `delay()` to the start of the body, one job at a time, on an idle worker"
HOW = (
    "Stock prefork pool, two children, results ignored. The clock starts before `delay()` is called; between two jobs "
    "the worker is idle for 10 to 30 ms. One value per repetition."
)
JOBS, WARM_UP, ROUNDS = 150, 10, 3


def measure(bench: Bench) -> Figure:
    """Median and 99th percentile of both sides."""
    delays: dict[str, list[list[float]]] = {STOCK: [], OURS: []}
    for side in turns(ROUNDS):
        delays[side].append(one_by_one(bench, side, WARM_UP + bench.amount(JOBS))[WARM_UP:])

    def row(percent: float, target: Target | None = None) -> Row:
        ours, stock = ([percentile(run, percent) for run in delays[side]] for side in (OURS, STOCK))
        return Row(f"p{percent:g}", "ms", ours, stock, less_is_better=True, target=target)

    return Figure("latency", TITLE, HOW, [row(50, Target("ours", at_most=2)), row(99)])


def one_by_one(bench: Bench, side: str, jobs: int) -> list[float]:
    """Milliseconds of each job, in order."""
    server, marks = bench.server(side), bench.new_marks()
    with bench.worker(side, server, results=False), bench.caller(side, server, results=False) as caller:
        submitted = caller.call(submit, jobs=jobs)
        wait_for(lambda: all(marks.read(jobs)), f"{side} has started {jobs} jobs", 10)
        return [(start - call) * 1e3 for call, start in zip(submitted, marks.read(jobs), strict=True)]


def submit(jobs: int) -> list[float]:
    """When each job was submitted; the next one only after it has started. Runs in the side's process."""
    marks = Marks(os.environ["BENCH_MARKS"])
    calls = []
    for slot in range(jobs):
        time.sleep(random.uniform(0.01, 0.03))  # noqa: S311  so as not to march in step with anybody's clock
        calls.append(time.monotonic())
        note.delay(slot)
        while not marks.read(slot + 1)[slot] and time.monotonic() < calls[-1] + 5:
            time.sleep(0.005)
    return calls
