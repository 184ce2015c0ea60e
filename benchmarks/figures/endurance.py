"""Whether a worker's memory grows with the jobs that it has run."""

from __future__ import annotations

from benchmarks.comparison import leftovers, usage
from benchmarks.conditions import wait_for
from benchmarks.figures.throughput import is_settled
from benchmarks.harness import CONFIGURED, OURS, Bench
from benchmarks.report import Figure, Row, Target

TITLE = "A worker's memory over {jobs:,} jobs"
HOW = (
    "Penstock's own pool, two children, events on, every outcome in PostgreSQL. The jobs come in {slices} parts, each "
    "of which is drained; then the proportional set size of all the worker's processes is read. At the end the ledger "
    "holds every job, or there is no figure."
)
JOBS, SLICES, PATIENCE = 1_000_000, 10, 900.0


def measure(bench: Bench) -> Figure:
    """Megabytes after the first part, and by how much it is more after the last."""
    jobs = bench.amount(JOBS)
    sizes = drain_in_parts(bench, jobs // SLICES)
    rows = [
        Row("memory after the first part", "MB", [sizes[0]], less_is_better=True),
        Row("memory after the last part", "MB", [sizes[-1]], less_is_better=True),
        Row("growth between them", "MB", [sizes[-1] - sizes[0]], less_is_better=True, target=Target("ours", at_most=5)),
    ]
    return Figure("endurance", TITLE.format(jobs=jobs), HOW.format(slices=SLICES), rows)


def drain_in_parts(bench: Bench, part: int) -> list[float]:
    """Megabytes after each part."""
    server = bench.server(OURS)
    sizes = []
    with (
        bench.sql(OURS) as sql,
        bench.caller(OURS, server, results=sql.backend) as caller,
        bench.worker(OURS, server, results=sql.backend, pool=CONFIGURED) as worker,
    ):
        for number in range(SLICES):
            caller.call(submit, jobs=part)
            wait_for(lambda: is_settled(server), f"part {number + 1} of {part:,} jobs is settled", PATIENCE, 0.05)
            sizes.append(usage.pss(worker.family()) / 1e6)
        leftovers.check(server.client, sql.engine, part * SLICES)
    return sizes


def submit(jobs: int) -> None:
    """Runs in the application's process."""
    import penstock
    from benchmarks.applications.declared import send_welcome

    penstock.enqueue_many(send_welcome.bind(number, template="short") for number in range(jobs))
