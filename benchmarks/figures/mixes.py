"""Jobs as applications have them: some use a processor, some wait for an answer, and one takes for ever."""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.applications.tasks import compute, note, wait
from benchmarks.comparison import leftovers
from benchmarks.conditions import wait_for
from benchmarks.figures.throughput import is_settled
from benchmarks.harness import CONFIGURED, OURS, STOCK, Bench, percentile, turns
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server

TITLE = "Realistic mixes, two children, every outcome in PostgreSQL"
HOW = (
    "Stock Celery's prefork pool with its SQL backend beside Penstock's own pool with its ledger, events on. Rates are "
    "from the first body to the last settled job, of jobs that use a processor for 1 ms and of jobs that sleep for "
    "10 ms; two children can do no more than {limits}. Then {short:,} short jobs with one of {long} s among them: how "
    "long each short one has waited when it starts, counted from the first body on."
)
CPU_MS, CPU_JOBS = 1.0, 3000
SLEEP_SECONDS, SLEEP_JOBS = 0.01, 1000
LONG_SECONDS, SHORT_JOBS = 30, 10_000
ROUNDS, CHILDREN, PATIENCE = 3, 2, 180.0


def measure(bench: Bench) -> Figure:
    """All three mixes on both sides."""
    found: dict[str, dict[str, list[float]]] = {side: {} for side in (STOCK, OURS)}
    for side in turns(1 if bench.smoke else ROUNDS):
        for name, value in one_turn(bench, side).items():
            found[side].setdefault(name, []).append(value)

    def row(what: str, unit: str, *, less: bool = False, target: Target | None = None) -> Row:
        return Row(what, unit, found[OURS][what], found[STOCK][what], less_is_better=less, target=target)

    rows = [
        row("1 ms of CPU", "jobs/s"),
        row("10 ms of sleep", "jobs/s"),
        row("one long job: the short ones wait, p50", "s", less=True),
        row("one long job: the short ones wait, p99", "s", less=True),
        row("one long job: the short ones wait, longest", "s", less=True),
    ]
    limits = f"{CHILDREN / CPU_MS * 1e3:,.0f} (on idle cores) and {CHILDREN / SLEEP_SECONDS:,.0f}"
    how = HOW.format(limits=limits, short=bench.amount(SHORT_JOBS), long=bench.amount(LONG_SECONDS))
    return Figure("mixes", TITLE, how, rows)


def one_turn(bench: Bench, side: str) -> dict[str, float]:
    """Each mix once."""
    cpu = drain(bench, side, compute_all, bench.amount(CPU_JOBS), value=CPU_MS)
    sleep = drain(bench, side, sleep_all, bench.amount(SLEEP_JOBS), value=SLEEP_SECONDS)
    short = bench.amount(SHORT_JOBS)
    mixed = drain(bench, side, one_long, short + 1, value=bench.amount(LONG_SECONDS))
    waits = [start - min(mixed.starts) for start in mixed.starts[:short]]
    return {
        "1 ms of CPU": cpu.rate,
        "10 ms of sleep": sleep.rate,
        "one long job: the short ones wait, p50": percentile(waits, 50),
        "one long job: the short ones wait, p99": percentile(waits, 99),
        "one long job: the short ones wait, longest": max(waits),
    }


class Drained(NamedTuple):
    """One way through a queue: jobs a second, and when each slot's job started."""

    rate: float
    starts: list[float]


def drain(bench: Bench, side: str, fill: object, jobs: int, value: float) -> Drained:
    """Fills a queue and lets a worker empty it; of ours, each job must be in the ledger afterwards."""
    server, marks = bench.server(side), bench.new_marks()
    with bench.sql(side) as sql:
        with bench.caller(side, server, results=sql.backend) as caller:
            caller.call(fill, jobs=jobs, value=value)  # type: ignore[arg-type]
        with bench.worker(side, server, results=sql.backend, pool=CONFIGURED):
            wait_for(lambda: marks.all_started(jobs), f"{side} has started {jobs} jobs", PATIENCE)
            wait_for(lambda: is_settled(server), f"{side} has settled {jobs} jobs", PATIENCE)
            ended = time.monotonic()
            check(side, server, sql.engine, jobs)
        starts = marks.read(jobs)
    return Drained(jobs / (ended - min(starts)), starts)


def check(side: str, server: Server, engine: object, jobs: int) -> None:
    """Each job once, and nothing left."""
    if side == OURS:
        leftovers.check(server.client, engine, jobs)  # type: ignore[arg-type]


# -- in the process of each side ------------------------------------------------------------------------------------


def compute_all(jobs: int, value: float) -> None:
    """Jobs that use a processor."""
    for slot in range(jobs):
        compute.delay(slot, value)


def sleep_all(jobs: int, value: float) -> None:
    """Jobs that wait."""
    for slot in range(jobs):
        wait.delay(slot, value)


def one_long(jobs: int, value: float) -> None:
    """Short jobs, and one long one after the first tenth of them; it has the last slot."""
    short = jobs - 1
    for slot in range(short):
        if slot == short // 10:
            wait.delay(short, value)
        note.delay(slot)
