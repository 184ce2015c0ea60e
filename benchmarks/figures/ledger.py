"""How long the questions of operators take on a large ledger, and what deleting from it costs those who record."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from statistics import median
from typing import Any

from sqlalchemy import Connection, create_engine, event, text

from benchmarks.conditions import BenchmarkError
from benchmarks.harness import Bench, percentile
from benchmarks.ledger_rows import BUSY_TASK, RARE_SCHEDULE, RARE_TASK, ROWS, SOUND_TASK, database_at, fill
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import DATABASE
from penstock.job import State
from penstock.ledger import balance
from penstock.ledger.failure_groups import GroupFilter, list_groups
from penstock.ledger.recorder import Recorder
from penstock.ledger.records import Encoded, Record, Step
from penstock.ledger.retention import sweep, sweeps
from penstock.ledger.rows import Delivery, Outcome
from penstock.ledger.search import JobFilter, Place, count_by_state, list_jobs
from penstock.ledger.session import close_all, writing
from penstock.operations.failures.groups import find_group
from penstock.operations.jobs.life import find_life
from penstock.retention import DEFAULT, RetentionRules

NAME = "penstock_benchmark_ledger"
TITLE = "The ledger at {rows:,} jobs: what operators ask, and deleting while others record"
HOW = (
    "One PostgreSQL with the rows of a month: 60 tasks, 6 queues, 2 % failed with some 500 errors. Each question is "
    "asked {rounds} times, as the command asks it, from this process; a list of jobs is its page of 50 and its counts. "
    "No plan may read a table of jobs from end to end. Then one process records ends of jobs in batches of {batch} as "
    "fast as it can, by itself and beside another that deletes: at the pace of one keeper, and as `ledger purge` does."
)
ROUNDS, MOST_MS = 40, 50
BATCH, SECONDS, PACE, TURNS = 200, 5.0, 0.5, 3
LARGE = ("jobs", "attempts")
Question = Callable[[Connection, int], object]
"""Asked in rounds, of which each has its number."""


def measure(bench: Bench) -> Figure:
    """Milliseconds of each question; records a second with and without retention."""
    rows, rounds = bench.amount(bench.rows or ROWS), bench.amount(ROUNDS)
    with database_at(DATABASE, NAME, bench.keep) as url:
        fill(url, rows, lambda said: print(f"  {said}", file=sys.stderr, flush=True))
        figures = [row for name, ask in _questions(url).items() for row in _ask(url, name, ask, rounds)]
        figures += _record(url)
        close_all()
    return Figure("ledger", TITLE.format(rows=rows), HOW.format(rounds=rounds, batch=BATCH), figures)


# -- questions --------------------------------------------------------------------------------------------------------


def _questions(url: str) -> dict[str, Question]:
    now = datetime.now(UTC)
    day, week = now - timedelta(days=1), now - timedelta(days=7)
    with create_engine(url).connect() as connection:
        errors = [row[0] for row in connection.execute(text(_ERRORS))]
        ids = [row[0] for row in connection.execute(text(_IDS))]
    lists = {
        "(all)": JobFilter(),
        "--state failed": JobFilter(states=(State.FAILED,)),
        "--task (busy)": JobFilter(task=BUSY_TASK),
        "--task (rare)": JobFilter(task=RARE_TASK),
        "--task (busy) --state failed": JobFilter(task=BUSY_TASK, states=(State.FAILED,)),
        "--task (never fails) --state failed": JobFilter(task=SOUND_TASK, states=(State.FAILED,)),
        "--queue": JobFilter(queue="default"),
        "--task --queue (no such pair)": JobFilter(task=BUSY_TASK, queue="slow"),
        "--schedule (rare)": JobFilter(schedule=RARE_SCHEDULE),
        "--since 7d --until 1d --task": JobFilter(task=BUSY_TASK, since=week, until=day),
        "--error FINGERPRINT (frequent)": JobFilter(error=errors[0]),
        "--error FINGERPRINT (rare)": JobFilter(error=errors[-1]),
        "--error 'timed out'": JobFilter(error="timed out"),
        "--error 'no such text'": JobFilter(error="no such text"),
        "--error 'no such text' --task --state failed": JobFilter(
            error="no such text", task=BUSY_TASK, states=(State.FAILED,)
        ),
    }
    return {
        **{f"jobs list {name}": _listing(chosen) for name, chosen in lists.items()},
        "jobs list --after (anywhere)": lambda connection, round_: _list(
            connection, JobFilter(), Place(now - timedelta(hours=17 * round_ % 700), "8")
        ),
        "jobs list --id (any four digits)": lambda connection, round_: _list(
            connection, JobFilter(id_prefix=ids[round_ % len(ids)][:4])
        ),
        "jobs show (any)": lambda connection, round_: find_life(connection, ids[round_ % len(ids)], children=21),
        "failures list": lambda connection, _: list_groups(connection, GroupFilter(since=day), 50),
        "failures list --since 7d": lambda connection, _: list_groups(connection, GroupFilter(since=week), 50),
        "failures show (any)": lambda connection, round_: find_group(connection, errors[round_ % len(errors)], None),
        "audit": lambda connection, _: balance.read(connection),
    }


_ERRORS = "SELECT fingerprint FROM failure_hours GROUP BY fingerprint ORDER BY sum(count) DESC"
_IDS = "SELECT id FROM jobs TABLESAMPLE SYSTEM (0.1) LIMIT 1000"


def _listing(chosen: JobFilter) -> Question:
    return lambda connection, _: _list(connection, chosen)


def _list(connection: Connection, chosen: JobFilter, after: Place | None = None) -> None:
    list_jobs(connection, chosen, 50, after)
    count_by_state(connection, chosen)


def _ask(url: str, name: str, ask: Question, rounds: int) -> Iterator[Row]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    times = []
    with engine.connect() as connection:
        # The first one compiles the statement. Those that ask for the same each time find it in the server's memory.
        ask(connection, 0)
        for round_ in range(1, rounds + 1):
            begun = time.perf_counter()
            ask(connection, round_)
            times.append((time.perf_counter() - begun) * 1e3)
        _check_plans(connection, name, ask)
    engine.dispose()
    yield Row(f"{name}: p50", "ms", [percentile(times, 50)], less_is_better=True)
    yield Row(
        f"{name}: p95", "ms", [percentile(times, 95)], less_is_better=True, target=Target("ours", at_most=MOST_MS)
    )


def _check_plans(connection: Connection, name: str, ask: Question) -> None:
    """Raises BenchmarkError for a question that reads a large table from end to end."""
    with _noted(connection) as statements:
        ask(connection, 0)
    cursor = connection.connection.cursor()
    for statement, parameters in statements:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        (found,) = cursor.fetchone() or (None,)
        plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
        for node in _nodes(plan):
            if node["Node Type"] in ("Seq Scan", "Parallel Seq Scan") and node["Relation Name"] in LARGE:
                raise BenchmarkError(f"{name} reads {node['Relation Name']} from end to end: {statement}")


@contextmanager
def _noted(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    yield statements
    event.remove(connection, "before_cursor_execute", note)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


# -- recording and retention ------------------------------------------------------------------------------------------


def _record(url: str) -> Iterator[Row]:
    """In turns: alone, beside a keeper that deletes, alone, and beside a purge."""
    alone, keeper, purge, swept = [], [], [], []
    for _ in range(TURNS):
        alone.append(_records_per_second(url))
        keeper.append(_beside(url, is_keeper=True)[0])
        alone.append(_records_per_second(url))
        beside, rows = _beside(url, is_keeper=False)
        purge.append(beside)
        swept.append(rows)
    yield Row("records of one process, alone", "1/s", alone)
    for name, beside_it in (("beside a keeper that deletes", keeper), ("beside `ledger purge`", purge)):
        share = 100 * median(beside_it) / median(alone)
        yield Row(f"the same {name}", "1/s", beside_it)
        yield Row("  of those alone", "%", [share], target=Target("ours", at_least=70))
    yield Row("rows that the purge deletes meanwhile", "1/s", swept)


def _records_per_second(url: str) -> float:
    recorder, written = Recorder(url), 0
    recorder.write(list(_ends(1)))
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        recorder.write(list(_ends(BATCH)))
        written += BATCH
    return written / (time.perf_counter() - begun)


def _ends(number: int) -> Iterator[Record]:
    """As a keeper has them: ends of first deliveries, already encoded."""
    for _ in range(number):
        id, now = str(uuid.uuid4()), datetime.now(UTC)
        delivery = Delivery(
            id=id,
            task=BUSY_TASK,
            queue="default",
            args=Encoded("[1, 2]"),
            kwargs=Encoded("{}"),
            token=f"bench:{id}",
            worker="bench@host",
            enqueued_at=now,
        )
        outcome = Outcome(state=State.SUCCEEDED, result=Encoded('{"sent": true}'))
        yield Record(step=Step.END, delivery=delivery, outcome=outcome, started_at=now, at=now)


def _beside(url: str, *, is_keeper: bool) -> tuple[float, float]:
    """Records a second while another process deletes, and rows that it deletes a second."""
    context = multiprocessing.get_context("spawn")
    stop, swept = context.Event(), context.Value("q", 0)
    sweeper = context.Process(target=sweep_until, args=(url, is_keeper, stop, swept))
    sweeper.start()
    try:
        deadline = time.monotonic() + 60
        while not swept.value:
            if time.monotonic() > deadline or not sweeper.is_alive():
                raise BenchmarkError("nothing is deleted")
            time.sleep(0.05)
        before, begun = swept.value, time.perf_counter()
        records = _records_per_second(url)
        rows = swept.value - before
        if not rows:
            raise BenchmarkError("there was nothing left to delete; give more by --rows")
        return records, rows / (time.perf_counter() - begun)
    finally:
        stop.set()
        sweeper.join()


def sweep_until(url: str, is_keeper: bool, stop: Event, swept: Any) -> None:
    """What keepers do, or `ledger purge`, in a process of its own."""
    # Of the oldest rows there are more than are deleted in this time, and none of those that are asked for above.
    rules = RetentionRules({**DEFAULT.ages, State.SUCCEEDED.value: timedelta(days=25)})
    for rows in _paced(url, rules, stop) if is_keeper else (batch.total() for batch in sweeps(url, rules)):
        swept.value += rows
        if stop.is_set():
            return


def _paced(url: str, rules: RetentionRules, stop: Event) -> Iterator[int]:
    while not stop.wait(PACE):
        with writing(url) as connection:
            yield sweep(connection, rules)
