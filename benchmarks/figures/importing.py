"""What a web application pays at its start for being able to submit jobs."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import OURS, STOCK, Bench, turns
from benchmarks.report import Figure, Row, Target

TITLE = "Importing what submits jobs"
HOW = (
    "`import penstock` beside `from celery import Celery`, each in a new process whose bytecode is compiled already. "
    "One value per process."
)
STATEMENTS = {STOCK: "from celery import Celery", OURS: "import penstock"}
ROUNDS = 15


def measure(bench: Bench) -> Figure:
    """Milliseconds of each side."""
    taken: dict[str, list[float]] = {STOCK: [], OURS: []}
    for statement in STATEMENTS.values():
        milliseconds(statement)
    for side in turns(bench.amount(ROUNDS)):
        taken[side].append(milliseconds(STATEMENTS[side]))
    target = Target("ours", at_most=40)
    row = Row("import", "ms", taken[OURS], taken[STOCK], less_is_better=True, target=target)
    return Figure("importing", TITLE, HOW, [row])


def milliseconds(statement: str) -> float:
    """How long a statement takes in a process of its own."""
    code = f"import time; began = time.perf_counter(); {statement}; print((time.perf_counter() - began) * 1000)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
