"""Takes all systems through their runs, in turns, so that what warms up or drifts hits all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison.measuring import Load, run
from benchmarks.comparison.outcome import Outcome, Run
from benchmarks.comparison.system import System
from benchmarks.conditions import BenchmarkError
from benchmarks.report import number
from benchmarks.servers import Server, running_server

FEWEST = 300
"""Jobs of any run, however small a share of the work is done."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        rounds: runs of each system that count.
        seconds: that draining a queue is to take; a first run, which does not count, says how many jobs that are.
        one_by_one: jobs that are submitted one after the other; 0: that is not measured.
        idle: jobs that trickle in; 0: that is not measured.
        share: of all jobs: less shows that it runs, and little else.
    """

    rounds: int = 3
    seconds: float = 5.0
    one_by_one: int = 1000
    idle: int = 200
    share: float = 1.0


FULL = Plan()
QUICK = Plan(seconds=1.5, one_by_one=0, idle=0)
SMOKE = Plan(rounds=1, seconds=0.5, one_by_one=50, idle=10, share=0.1)


def compare(systems: Sequence[System], plan: Plan, folder: Path, tell: Tell) -> list[Outcome]:
    """All of them, in the order given.

    Raises:
        BenchmarkError: a run says nothing; then none does.
    """
    runs: dict[str, list[Run]] = {system.name: [] for system in systems}
    # Before anything is timed: what one installs must not slow down another.
    versions = {system.name: system.environment.versions() for system in systems}
    with ExitStack() as stack:
        server = stack.enter_context(running_server(folder / "redis-comparison"))
        rates = {system.name: probe(system, server, folder, plan, tell) for system in systems}
        for turn in range(plan.rounds):
            for system in systems if turn % 2 == 0 else systems[::-1]:
                load = load_for(system, rates[system.name], plan)
                runs[system.name].append(run(system, server, folder, load))
                rates[system.name] = max(rates[system.name], runs[system.name][-1].drained.run)
                tell(line(system, runs[system.name][-1]))
    return [
        Outcome(
            name=system.name,
            title=system.title,
            keeps=system.keeps,
            settings=system.settings,
            versions=versions[system.name],
            runs=runs[system.name],
        )
        for system in systems
    ]


def probe(system: System, server: Server, folder: Path, plan: Plan, tell: Tell) -> float:
    """Jobs a second of a first run; whatever is compiled, cached or made at a first start is so afterwards."""
    jobs = max(FEWEST, int(system.fewest * plan.share))
    try:
        found = run(system, server, folder, Load(many=jobs))
    except BenchmarkError as error:
        raise BenchmarkError(f"{system.title}: {error}") from error
    tell(f"  {system.name:<16} probed with {jobs:,} jobs: {number(found.drained.run)} jobs/s")
    for name, value in found.facts.items():
        tell(f"  {'':<16} {name:<13} {value}")
    return found.drained.run


def load_for(system: System, rate: float, plan: Plan) -> Load:
    """As many jobs as take about so long."""
    fewest, most = (max(FEWEST, int(bound * plan.share)) for bound in (system.fewest, system.most))
    jobs = min(most, max(fewest, int(rate * plan.seconds)))
    return Load(many=jobs, one_by_one=plan.one_by_one, idle=plan.idle)


def line(system: System, found: Run) -> str:
    """One run for a terminal."""
    words = [
        f"  {system.name:<16} {number(found.drained.run):>8} jobs/s",
        f"{found.drained.jobs:>7,} jobs",
        f"worker {number(found.drained.worker_cpu)} µs",
        f"Redis {number(found.drained.redis_cpu)} µs",
        f"SQL {number(found.drained.sql_cpu)} µs",
        f"{number(found.drained.redis_commands)} commands",
        f"{number(found.drained.pss)} MiB",
    ]
    if found.idle:
        words.append(f"idle p50 {number(found.value('idle_p50'))} p99 {number(found.value('idle_p99'))} ms")
    return "  ".join(words) + (f"\n  {'':<16} {found.checked}" if found.checked else "")


def to_stderr(words: str) -> None:
    """For people who wait; standard output is for what was found."""
    print(words, file=sys.stderr, flush=True)
