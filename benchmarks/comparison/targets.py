"""The numbers that the design wants of Penstock beside all others, and whether they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.comparison.outcome import Outcome
from benchmarks.report import MARKS, number

OURS = "penstock_pg"
"""Two children, events on, every outcome in PostgreSQL."""
PYTHON_PEERS = ("huey", "dramatiq", "taskiq", "saq", "arq", "rq", "procrastinate")
PEERS = (*PYTHON_PEERS, "bullmq")
COROUTINE_PEERS = ("taskiq", "saq", "arq")
"""Those whose tasks are coroutines, as those of our kind asyncio."""
LEVEL = 0.95
"""What counts as level: turns of one system differ by that much."""


@dataclass(frozen=True)
class Verdict:
    """One target.

    Attributes:
        what: for people.
        value: what was found.
        bound: with its sign, for people.
    """

    what: str
    value: float
    bound: str
    holds: bool

    def __str__(self) -> str:
        return f"{self.what}: {number(self.value)} ({self.bound} {MARKS[self.holds]})"


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Of all targets whose systems were measured."""
    known = {outcome.name: outcome for outcome in outcomes}
    beside = [*_running(known), *_submitting(known), *_idle(known)] if OURS in known else []
    return [*beside, *_kinds(known)]


def _running(known: Mapping[str, Outcome]) -> Iterator[Verdict]:
    bounds = {
        "celery_sql": ("stock Celery prefork with its SQL backend", 30.0),
        "celery_none": ("stock Celery prefork that keeps nothing", 15.0),
        "bullmq": ("BullMQ", 2.5),
        "bare_recorded": ("a bare loop that writes the same fenced row", 0.5),
    }
    for name, (title, bound) in bounds.items():
        if name in known:
            yield _times(known, "run", f"run: times {title}", [name], bound)
    if peers := _measured(known, PYTHON_PEERS, "run"):
        best = _best(known, peers, "run")
        yield _times(known, "run", f"run: times the fastest Python peer ({best})", [best], 3.0)


def _submitting(known: Mapping[str, Outcome]) -> Iterator[Verdict]:
    if _measured(known, ["celery_none", OURS], "enqueue") == ["celery_none", OURS]:
        yield _times(known, "enqueue", "enqueue one by one: times stock `delay()`", ["celery_none"], 3.0)
    peers = _measured(known, PEERS, "enqueue")
    if peers and known[OURS].median("enqueue"):
        best = _best(known, peers, "enqueue")
        yield _times(known, "enqueue", f"enqueue one by one: level with the fastest peer ({best})", [best], LEVEL)
    many = known[OURS].median("enqueue_many") or 0.0
    yield Verdict("enqueue many: jobs/s from one process", many, "≥ 80,000", many >= 80_000)
    if peers := _measured(known, PEERS, "enqueue_many"):
        best = _best(known, peers, "enqueue_many")
        yield _times(known, "enqueue_many", f"enqueue many: times the best peer's bulk ({best})", [best], 2.5)


def _idle(known: Mapping[str, Outcome]) -> Iterator[Verdict]:
    for quantity, bound in (("idle_p50", 1.0), ("idle_p99", 2.5)):
        value = known[OURS].median(quantity)
        if value is not None:
            yield Verdict(f"{quantity.replace('_', ' ')} enqueue → start, ms", value, f"≤ {bound:g}", value <= bound)


def _kinds(known: Mapping[str, Outcome]) -> Iterator[Verdict]:
    """Of children that run many jobs; and what those that run one pay for there being others."""
    if "penstock_asyncio_1" in known:
        rate = known["penstock_asyncio_1"].median("run") or 0.0
        yield Verdict("coroutines: jobs/s of one child", rate, "≥ 5,000", rate >= 5000)
    peers = _measured(known, COROUTINE_PEERS, "run")
    if peers and "penstock_asyncio" in known:
        best = _best(known, peers, "run")
        what = f"coroutines: times the fastest of {', '.join(peers)} ({best})"
        yield _times(known, "run", what, [best], 1.0, ours="penstock_asyncio")
    for what, ours, theirs, bound in (
        ("threads: times a child that runs one job at a time", "penstock_threads_1", "penstock_pg_1", 0.5),
        ("one at a time: times the engine before kinds and types", OURS, "penstock_before", LEVEL),
    ):
        if ours in known and theirs in known:
            yield _times(known, "run", what, [theirs], bound, ours=ours)


def _times(
    known: Mapping[str, Outcome], quantity: str, what: str, names: Sequence[str], bound: float, *, ours: str = OURS
) -> Verdict:
    theirs = max(known[name].median(quantity) or 0.0 for name in names)
    value = (known[ours].median(quantity) or 0.0) / theirs if theirs else 0.0
    return Verdict(what, value, f"≥ {bound:g} x", value >= bound)


def _measured(known: Mapping[str, Outcome], names: Sequence[str], quantity: str) -> list[str]:
    return [name for name in names if name in known and known[name].median(quantity)]


def _best(known: Mapping[str, Outcome], names: Sequence[str], quantity: str) -> str:
    value: Callable[[str], float] = lambda name: known[name].median(quantity) or 0.0  # noqa: E731
    return max(names, key=value)
