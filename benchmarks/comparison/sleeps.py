"""A thousand jobs that wait 100 ms each as for somebody's answer: how soon one worker process, or child, is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.comparison.catalogue import SYSTEMS
from benchmarks.comparison.compare import Plan
from benchmarks.comparison.outcome import Outcome
from benchmarks.comparison.system import System
from benchmarks.comparison.targets import Verdict
from benchmarks.report import MARKS, number

SECONDS, JOBS, AT_ONCE = 0.1, 1000, 1000
PLAN = Plan(one_by_one=0, idle=0)
SMOKE = replace(PLAN, rounds=1)
THREADS = 90
"""Of peers with threads: more of them are slower in dramatiq, and more than their connections to Redis in huey."""
BOUNDS = {"penstock_asyncio_1": 0.5}
"""Seconds that the target gives."""
INTRODUCTION = """\
{jobs:,} jobs that each wait {ms:g} ms, as for an answer of somebody else's server: seconds from the start of the first
body until the last job is settled, of one worker process or one child, with as many at once as are fastest in each
system's documented way. rq, huey by process and stock Celery's prefork run one job in each process at a time, and are
left out. Values are medians of {rounds} runs, with the fastest and the slowest."""


def _sleeper(name: str, settings: str, *worker: str, title: str = "", **variables: str) -> System:
    """A system of the comparison, on one process with many jobs at once."""
    known = SYSTEMS[name]
    return replace(
        known,
        title=title or known.title,
        settings=settings,
        workers=[worker or known.workers[0]],
        variables={**known.variables, **variables, "BENCH_SECONDS": str(SECONDS), "BENCH_CONCURRENCY": str(AT_ONCE)},
        fewest=JOBS,
        most=JOBS,
    )


def _peers() -> Iterator[System]:
    taskiq = ("-m", "taskiq", "worker", "benchmarks.peers.taskiq:broker", "--workers", "1", "--log-level", "WARNING")
    yield _sleeper(
        "taskiq",
        f"--workers 1 --max-async-tasks {AT_ONCE}",
        *taskiq,
        "--max-async-tasks",
        str(AT_ONCE),
        title="taskiq on a list",
    )
    yield _sleeper("saq", f"concurrency {AT_ONCE}", title="saq")
    yield _sleeper("arq", f"max_jobs {AT_ONCE}, poll_delay 0.01 s", title="arq")
    procrastinate = list(SYSTEMS["procrastinate"].workers[0])
    procrastinate[procrastinate.index("-c") + 1] = str(AT_ONCE)
    yield _sleeper("procrastinate", f"concurrency {AT_ONCE}", *procrastinate, title="procrastinate (PostgreSQL)")
    yield _sleeper("bullmq", f"concurrency {AT_ONCE}", title="BullMQ (Node)")
    dramatiq = ("-m", "dramatiq", "benchmarks.peers.dramatiq", "-p", "1", "-t", str(THREADS))
    yield _sleeper("dramatiq", f"-p 1 -t {THREADS}", *dramatiq, title="dramatiq, threads")
    huey = ("-m", "huey.bin.huey_consumer", "benchmarks.peers.huey.huey", "-k", "thread", "-w", str(THREADS))
    yield _sleeper("huey", f"-k thread -w {THREADS}", *huey, "-q", "-n", title="huey, threads")
    for pool in ("gevent", "threads"):
        yield _sleeper(
            f"celery_{pool}", f"-P {pool} -c {AT_ONCE}", title=f"stock Celery {pool}", BENCH_CHILDREN=str(AT_ONCE)
        )


def _ours() -> Iterator[System]:
    for kind in ("asyncio", "threads"):
        yield _sleeper(f"penstock_{kind}_1", f"-c 1, kind {kind}, size {AT_ONCE}", BENCH_SIZE=str(AT_ONCE))


SLEEPERS: dict[str, System] = {system.name: system for system in (*_peers(), *_ours())}


def seconds(outcome: Outcome) -> list[float]:
    """That each run took."""
    return [run.drained.jobs / run.drained.run for run in outcome.runs]


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Of the systems of which something is wanted."""
    found = []
    for outcome in outcomes:
        if (bound := BOUNDS.get(outcome.name)) is not None:
            value = _median(outcome)
            what = f"{JOBS:,} jobs that wait {SECONDS * 1e3:g} ms on one child of kind asyncio, s"
            found.append(Verdict(what, value, f"≤ {bound:g}", value <= bound))
    return found


def as_text(outcomes: Sequence[Outcome]) -> str:
    """For a terminal."""
    width = max(len(outcome.title) for outcome in outcomes)
    lines = [
        f"{outcome.title:<{width}}  {number(_median(outcome))} s  worker {number(outcome.median('worker_cpu'))} µs/job"
        f"  {number(outcome.median('pss'))} MiB  {outcome.settings}"
        for outcome in outcomes
    ]
    return "\n".join([*lines, *map(str, verdicts(outcomes))])


def as_markdown(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The lines of its part of the page."""
    rounds = len(outcomes[0].runs)
    yield from ("## Jobs that wait", "")
    yield INTRODUCTION.format(jobs=JOBS, ms=SECONDS * 1e3, rounds=rounds)
    heads = ["system", "keeps afterwards", "settings", "seconds", "fastest / slowest", "worker µs", "memory MiB"]
    yield from ("", f"| {' | '.join(heads)} |", f"|---|---|---|{'---:|' * (len(heads) - 3)}")
    for outcome in sorted(outcomes, key=_median):
        took = seconds(outcome)
        cells = [outcome.title, outcome.keeps, outcome.settings, number(_median(outcome))]
        cells += [f"{number(min(took))} / {number(max(took))}"]
        cells += [number(outcome.median(quantity)) for quantity in ("worker_cpu", "pss")]
        yield f"| {' | '.join(cells)} |"
    yield from ("", "| target | found | |", "|---|---:|---|")
    for verdict in verdicts(outcomes):
        yield f"| {verdict.what} {verdict.bound} | {number(verdict.value)} | {MARKS[verdict.holds]} |"


def _median(outcome: Outcome) -> float:
    return sorted(seconds(outcome))[len(outcome.runs) // 2]
