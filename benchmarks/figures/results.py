"""How long somebody waits who wants a result at once."""

from __future__ import annotations

import random
import time

from benchmarks.applications.tasks import nothing
from benchmarks.harness import OURS, STOCK, Bench, percentile, turns
from benchmarks.report import Figure, Row, Target

TITLE = "From `delay()` to its result, one job at a time, on an idle worker"
HOW = (
    "Stock prefork pool, two children, a body that returns its argument. Ours keeps each result in PostgreSQL, where "
    "stock Celery looks twice a second; beside it, stock Celery with its results in Redis, which tells it. Between two "
    "jobs the worker is idle for 10 to 30 ms. One value per repetition."
)
JOBS, WARM_UP, ROUNDS = 100, 10, 3
WAIT_SECONDS = 30.0


def measure(bench: Bench) -> Figure:
    """Median and 99th percentile of both sides, and of stock Celery once more with Redis."""
    in_sql: dict[str, list[list[float]]] = {STOCK: [], OURS: []}
    in_redis = [one_by_one(bench, STOCK, in_sql=False) for _ in range(ROUNDS)]
    for side in turns(ROUNDS):
        in_sql[side].append(one_by_one(bench, side, in_sql=True))
    ours = in_sql[OURS]

    def row(what: str, percent: float, stock: list[list[float]], target: Target | None = None) -> Row:
        our_values, stock_values = ([percentile(run, percent) for run in runs] for runs in (ours, stock))
        return Row(f"{what}, p{percent:g}", "ms", our_values, stock_values, less_is_better=True, target=target)

    return Figure(
        "results",
        TITLE,
        HOW,
        [
            row("both in PostgreSQL", 50, in_sql[STOCK], Target("ours", at_most=5)),
            row("both in PostgreSQL", 99, in_sql[STOCK]),
            row("stock in Redis", 50, in_redis),
            row("stock in Redis", 99, in_redis),
        ],
    )


def one_by_one(bench: Bench, side: str, *, in_sql: bool) -> list[float]:
    """Milliseconds of each job."""
    server, jobs = bench.server(side), bench.amount(JOBS)
    results = bench.results_in_sql(side) if in_sql else True
    with bench.worker(side, server, results=results), bench.caller(side, server, results=results) as caller:
        return caller.call(call_and_wait, jobs=WARM_UP + jobs)[WARM_UP:]


def call_and_wait(jobs: int) -> list[float]:
    """Milliseconds of each job. Runs in the side's process."""
    waited = []
    for number in range(jobs):
        time.sleep(random.uniform(0.01, 0.03))  # noqa: S311  so as not to march in step with anybody's clock
        started = time.monotonic()
        if nothing.delay(number).get(timeout=WAIT_SECONDS) != number:
            raise ValueError("a result of somebody else's")
        waited.append((time.monotonic() - started) * 1e3)
    return waited
