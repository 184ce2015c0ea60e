"""The comparison for a terminal, for the page `docs/comparison.md`, and as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log10

from benchmarks.chart import FAINT, document, shape, words
from benchmarks.comparison.outcome import Outcome
from benchmarks.comparison.targets import OURS, verdicts
from benchmarks.report import MARKS, head, number

COLUMNS = {
    "run": "run/s",
    "enqueue": "enqueue/s",
    "enqueue_many": "many/s",
    "worker_cpu": "worker µs",
    "redis_cpu": "Redis µs",
    "sql_cpu": "SQL µs",
    "redis_commands": "Redis commands",
    "pss": "memory MiB",
}
IDLE = ("idle_p50", "idle_p95", "idle_p99")
INTRODUCTION = """\
One run, one machine, in turns; each system in an environment of its own and at the fastest of its documented settings;
two worker processes or two children of one worker, unless it says otherwise. A job does nothing but note when it
started. A queue is filled by the system's own producer, then its workers are started; `run` is jobs a second from the
start of the first body until the last job is settled. What others do is less than what Penstock does: read the column
`keeps afterwards` first. Costs are per job: CPU of all worker processes, of Redis, of PostgreSQL's backends; commands
of Redis, those inside scripts too. Memory is the proportional set size of all worker processes after the drain. `idle`
is from the call that submits to the start of the body, while nothing else waits. Values are medians of {rounds}
runs."""


def as_text(outcomes: Sequence[Outcome], floor: Mapping[str, float]) -> str:
    """For a terminal."""
    ours = _ours(outcomes)
    lines = [f"redis-benchmark  {name}: {number(value)}/s" for name, value in floor.items()]
    width = max(len(outcome.title) for outcome in outcomes)
    for outcome in outcomes:
        cells = [f"{label} {number(outcome.median(quantity))}" for quantity, label in COLUMNS.items()]
        lines.append(f"{outcome.title:<{width}}  {'  '.join(cells)}  {_idle(outcome)} ms  {_ratio(ours, outcome)}")
    return "\n".join([*lines, *(f"{verdict}" for verdict in verdicts(outcomes))])


def as_markdown(outcomes: Sequence[Outcome], floor: Mapping[str, float], machine: Mapping[str, str]) -> Iterator[str]:
    """The lines of its part of the page, which is the first."""
    ours, rounds = _ours(outcomes), len(outcomes[0].runs)
    yield from ("# All systems side by side", "", *head("comparison.json", machine))
    yield from ("Stock Celery and Penstock in detail: [benchmarks.md](benchmarks.md).", "")
    yield from (INTRODUCTION.format(rounds=rounds), "")
    yield from ("![Jobs a second of all systems](pictures/comparison.svg)", "")
    heads = ["system", "keeps afterwards", *COLUMNS.values(), "idle p50 / p95 / p99 ms", "Penstock on PostgreSQL runs"]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|---|{'---:|' * (len(heads) - 2)}"
    for outcome in outcomes:
        cells = [number(outcome.median(quantity)) for quantity in COLUMNS]
        cells = [outcome.title, outcome.keeps, *cells, _idle(outcome), _ratio(ours, outcome)]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "".join(f"`redis-benchmark`, 500 bytes: {name} {number(value)}/s. " for name, value in floor.items()).strip()
    yield from ("", "| target | found | |", "|---|---:|---|")
    for verdict in verdicts(outcomes):
        yield f"| {verdict.what} {verdict.bound} | {number(verdict.value)} | {MARKS[verdict.holds]} |"
    yield from ("", "What is missed, and what a job's time goes into: [the engine](decisions/engine.md#figures).")
    yield from _settings(outcomes)


def picture(outcomes: Sequence[Outcome]) -> str:
    """Bars of jobs a second, on a logarithmic scale, each with what the system keeps."""
    width, left, bars, row = 860, 352, 378, 34
    longest = max(outcome.median("run") or 1 for outcome in outcomes)
    parts = [words(24, 40, "No-op jobs a second, two processes, and what is kept afterwards", size=14, weight=600)]
    parts.append(words(width - 24, 40, "logarithmic scale", colour=FAINT, anchor="end"))
    top = 60
    for outcome in sorted(outcomes, key=lambda outcome: outcome.median("run") or 0, reverse=True):
        rate = outcome.median("run") or 1
        # From ten jobs a second on.
        length = bars * max(log10(rate / 10), 0.01) / log10(longest / 10)
        parts.append(words(24, top + 11, outcome.title))
        parts.append(words(24, top + 25, f"keeps {outcome.keeps}", size=11, colour=FAINT))
        parts.append(shape(left, top + 3, length, 16, "Penstock" if outcome.title.startswith("Penstock") else "stock"))
        parts.append(words(left + length + 6, top + 15, number(rate)))
        top += row
    return document(width, top + 10, "Jobs a second of all systems", parts)


def _settings(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield from ("", "| system | settings | versions |", "|---|---|---|")
    for outcome in outcomes:
        versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
        yield f"| {outcome.title} | {outcome.settings} | {versions} |"
    yield from ("", "What really ran of Celery's and Penstock's workers, as they told themselves:", "")
    yield from ("| system | pool | transport | backend | configuration |", "|---|---|---|---|---|")
    for outcome in outcomes:
        if facts := outcome.runs[-1].facts:
            cells = [f"`{facts[name]}`" for name in ("pool", "transport", "backend")]
            yield f"| {outcome.title} | {' | '.join(cells)} | {facts['configuration']} |"
    if checked := [outcome for outcome in outcomes if outcome.runs[-1].checked]:
        yield from ("", "Checked after each run, or there would be no figure; of the last run of each:", "")
        yield from (f"- {outcome.title}: {outcome.runs[-1].checked}" for outcome in checked)


def _ours(outcomes: Sequence[Outcome]) -> float | None:
    return next((outcome.median("run") for outcome in outcomes if outcome.name == OURS), None)


def _ratio(ours: float | None, outcome: Outcome) -> str:
    rate = outcome.median("run")
    return f"{ours / rate:.2f} x" if ours and rate else ""


def _idle(outcome: Outcome) -> str:
    return " / ".join(number(outcome.median(quantity)) for quantity in IDLE)
