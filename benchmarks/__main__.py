"""Measures, prints, writes the page and the picture; ends with 1 when a target is missed, 2 when a run says nothing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from benchmarks import chart
from benchmarks.figures import (
    bulk,
    delay,
    importing,
    latency,
    ledger,
    outbox,
    parking,
    recording,
    redis_work,
    results,
    throughput,
    waiting_memory,
    wake,
)
from benchmarks.harness import ROOT, Bench, BenchmarkError
from benchmarks.report import Figure, as_data, as_markdown, as_text

FIGURES: dict[str, Callable[[Bench], Figure]] = {
    "throughput": throughput.measure,
    "importing": importing.measure,
    "delay": delay.measure,
    "bulk": bulk.measure,
    "latency": latency.measure,
    "results": results.measure,
    "outbox": outbox.measure,
    "recording": recording.measure,
    "redis-work": redis_work.measure,
    "waiting-memory": waiting_memory.measure,
    "parking": parking.measure,
    "wake": wake.measure,
}
ON_REQUEST: dict[str, Callable[[Bench], Figure]] = {"ledger": ledger.measure}
"""Figures that take long and gigabytes, for `--only`."""
PAGE, PICTURE = ROOT / "docs/benchmarks.md", ROOT / "docs/pictures/benchmarks.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    asked = parse(arguments)
    figures: list[Figure] = []
    where = machine()
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        bench = Bench(
            folder,
            quick=asked.quick,
            parked=asked.parked or (100_000 if asked.quick else 1_000_000),
            stack=stack,
            rows=asked.rows,
            keep=asked.keep,
        )
        try:
            for name in asked.only or FIGURES:
                begun = time.monotonic()
                figures.append({**FIGURES, **ON_REQUEST}[name](bench))
                text = f"{as_text(figures[-1])}\n  {time.monotonic() - begun:.0f} s\n"
                print(text, file=sys.stderr if asked.json else sys.stdout, flush=True)
        except BenchmarkError as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 2
        ran = bench.ran
    if asked.json:
        print(json.dumps(as_data(figures, ran, where), indent=2))
    else:
        print_ran(where, ran, time.monotonic() - started)
    if not asked.only and not asked.quick:
        PAGE.write_text(as_markdown(figures, ran, where))
        PICTURE.write_text(chart.draw(figures))
    return 0 if all(figure.holds for figure in figures) else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Stock Celery and Penstock side by side.")
    known = [*FIGURES, *ON_REQUEST]
    parser.add_argument("--only", action="append", choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: shows that it runs, and little else")
    parser.add_argument("--parked", type=int, help="jobs to park (default: a million)")
    parser.add_argument("--rows", type=int, help="of the figure ledger: jobs in it (default: ten millions, 7 GB)")
    parser.add_argument("--keep", action="store_true", help="of the figure ledger: leave its database for the next run")
    parser.add_argument("--json", action="store_true", help="everything that was measured, on standard output")
    return parser.parse_args(arguments)


def print_ran(where: dict[str, str], ran: dict[str, dict[str, str]], seconds: float) -> None:
    """What the processes were made of."""
    print(f"{', '.join(where.values())}; {seconds:.0f} s")
    for side, facts in ran.items():
        print(f"{side:<5}  " + "  ".join(f"{name} {value}" for name, value in facts.items()))


def machine() -> dict[str, str]:
    """Where it ran."""
    return {
        "processor": f"{os.cpu_count()} cores ({platform.machine()})",
        "python": f"Python {platform.python_version()}",
        **{name: f"{name} {version(name)}" for name in ("celery", "kombu", "redis")},
        "log level": "log level WARNING",
        # Of the minute before: what else ran here took its share from both sides.
        "load": f"load {os.getloadavg()[0]:.1f} before the run",
    }


if __name__ == "__main__":
    sys.exit(main())
