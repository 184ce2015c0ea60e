"""Measures, prints, writes pages, pictures and raw data; ends with 1 for a missed target, 2 when a run says nothing.

python -m benchmarks            everything, and all pages
python -m benchmarks --only comparison --only sleeps    the page of all systems
python -m benchmarks --quick    the heart of the comparison in under three minutes; the last line is JSON
python -m benchmarks --smoke    a tenth of everything, to see that it runs
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from benchmarks.comparison import floor, heart, sleeps
from benchmarks.comparison import page as comparison
from benchmarks.comparison.catalogue import HEART, SYSTEMS
from benchmarks.comparison.compare import FULL, QUICK, SMOKE, Plan, compare, to_stderr
from benchmarks.comparison.system import System
from benchmarks.conditions import BenchmarkError
from benchmarks.figures import (
    beat,
    bulk,
    delay,
    endurance,
    footprint,
    importing,
    latency,
    ledger,
    mixes,
    outbox,
    pages,
    parking,
    recording,
    redis_work,
    results,
    schedules,
    throughput,
    waiting_memory,
    wake,
)
from benchmarks.found import COMPARISON, SCALE, SLEEPS, Found
from benchmarks.harness import ROOT, Bench
from benchmarks.report import Figure, as_text
from benchmarks.scale import page as scale
from benchmarks.servers import database_facts, new_database, running_server

FIGURES: dict[str, Callable[[Bench], Figure]] = {
    "throughput": throughput.measure,
    "mixes": mixes.measure,
    "footprint": footprint.measure,
    "endurance": endurance.measure,
    "importing": importing.measure,
    "delay": delay.measure,
    "bulk": bulk.measure,
    "latency": latency.measure,
    "results": results.measure,
    "outbox": outbox.measure,
    "schedules": schedules.measure,
    "beat": beat.measure,
    "recording": recording.measure,
    "redis-work": redis_work.measure,
    "waiting-memory": waiting_memory.measure,
    "parking": parking.measure,
    "wake": wake.measure,
}
ON_REQUEST: dict[str, Callable[[Bench], Figure]] = {"ledger": ledger.measure, "pages": pages.measure}
"""Figures that take long and gigabytes, for `--only`."""
PARTS = (COMPARISON, SLEEPS, *FIGURES, SCALE)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    asked = parse(arguments)
    try:
        return measure_heart() if asked.quick else measure(asked)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def measure_heart() -> int:
    """The quick run."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        print(", ".join(machine().values()), flush=True)
        outcomes = compare([SYSTEMS[name] for name in HEART], QUICK, Path(folder), print_now)
        print(comparison.as_text(outcomes, {}))
        print(f"{time.monotonic() - started:.0f} s")
        print(heart.last_line(outcomes), flush=True)
    return 0


def measure(asked: argparse.Namespace) -> int:
    """All parts, or those that were asked for."""
    found = Found(machine())
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        bench = Bench(
            folder,
            smoke=asked.smoke,
            parked=asked.parked or (100_000 if asked.smoke else 1_000_000),
            stack=stack,
            rows=asked.rows,
            keep=asked.keep,
        )
        for name in asked.only or PARTS:
            begun = time.monotonic()
            text = f"{measure_part(name, bench, asked, found)}\n  {time.monotonic() - begun:.0f} s\n"
            print(text, file=sys.stderr if asked.json else sys.stdout, flush=True)
        found.ran = bench.ran
    if asked.json:
        print(json.dumps(found.as_data(), indent=2))
    else:
        print_ran(found.where, found.ran, time.monotonic() - started)
    if not (asked.system or asked.smoke):
        for name in found.write(ROOT / "docs", asked.only or PARTS, FIGURES):
            to_stderr(f"docs/{name} is written")
    return 0 if found.holds else 1


def measure_part(name: str, bench: Bench, asked: argparse.Namespace, found: Found) -> str:
    """One part; what was found, for a terminal."""
    if name == COMPARISON:
        plan: Plan = SMOKE if asked.smoke else FULL
        with running_server(bench.folder / "redis-floor") as server:
            found.floor = floor.measure(server, int(floor.CALLS * plan.share))
        found.outcomes = compare(wanted(SYSTEMS, asked), plan, bench.folder, to_stderr)
        return comparison.as_text(found.outcomes, found.floor)
    if name == SLEEPS:
        plan = sleeps.SMOKE if asked.smoke else sleeps.PLAN
        found.sleeps = compare(wanted(sleeps.SLEEPERS, asked), plan, bench.folder, to_stderr)
        return sleeps.as_text(found.sleeps)
    if name == SCALE:
        found.scale = scale.measure(bench)
        return scale.as_text(found.scale)
    found.figures.append({**FIGURES, **ON_REQUEST}[name](bench))
    return as_text(found.figures[-1])


def wanted(systems: Mapping[str, System], asked: argparse.Namespace) -> list[System]:
    """Those that were asked for, or all; without what this clone cannot have.

    Raises:
        BenchmarkError: none is left.
    """
    found = [system for name, system in systems.items() if not asked.system or name in asked.system]
    for system in found:
        if not system.environment.is_there:
            to_stderr(f"{system.title}: left out, as this clone does not have the commit")
    if not (there := [system for system in found if system.environment.is_there]):
        raise BenchmarkError(f"none of these is measured here: {', '.join(asked.system or systems)}")
    return there


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Penstock beside all others.")
    known = [*PARTS, *ON_REQUEST]
    parser.add_argument("--quick", action="store_true", help="the heart of the comparison; the last line is JSON")
    parser.add_argument("--smoke", action="store_true", help="a tenth of the work: shows that it runs, and little else")
    parser.add_argument("--only", action="append", choices=known, metavar="PART", help=", ".join(known))
    parser.add_argument(
        "--system",
        action="append",
        choices=list(SYSTEMS),
        metavar="NAME",
        help=f"of the comparison: {', '.join(SYSTEMS)}",
    )
    parser.add_argument("--parked", type=int, help="jobs to park (default: a million)")
    parser.add_argument("--rows", type=int, help="of the figure ledger: jobs in it (default: ten millions, 7 GB)")
    parser.add_argument("--keep", action="store_true", help="of the figure ledger: leave its database for the next run")
    parser.add_argument("--json", action="store_true", help="everything that was measured, on standard output")
    return parser.parse_args(arguments)


def print_ran(where: dict[str, str], ran: dict[str, dict[str, str]], seconds: float) -> None:
    """What the processes were made of."""
    print(f"{', '.join(where.values())}; {seconds:.0f} s")
    for side, made_of in ran.items():
        print(f"{side:<5}  " + "  ".join(f"{name} {value}" for name, value in made_of.items()))


def print_now(words: str) -> None:
    """On standard output, at once."""
    print(words, flush=True)


def machine() -> dict[str, str]:
    """Where it ran."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder, running_server(Path(folder) / "redis") as server:
        redis = server.facts()["server"]
    with new_database() as url:
        sql = database_facts(url)
    return {
        "processor": f"{os.cpu_count()} cores ({platform.machine()})",
        "python": f"Python {platform.python_version()}",
        **{name: f"{name} {version(name)}" for name in ("celery", "kombu", "redis")},
        "server": redis,
        "sql": f"PostgreSQL: {sql}",
        "log level": "log level WARNING",
        # Of the minute before: what else ran here took its share from both sides.
        "load": f"load {os.getloadavg()[0]:.1f} before the run",
    }


if __name__ == "__main__":
    sys.exit(main())
