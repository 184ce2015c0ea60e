"""How many outcomes one process writes, each with all that the ledger keeps of a job."""

from __future__ import annotations

import gc
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import create_engine, func, select, table, text

from benchmarks.conditions import BenchmarkError
from benchmarks.harness import OURS, STOCK, Bench, turns
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import database_facts, new_database

TITLE = "Recording outcomes in SQL, from one process"
HOW = (
    "No worker and no broker: results that are there already are written as fast as one process and one connection "
    "can. Stock Celery's database backend, as in a worker's child, keeps id, state and result one by one; Penstock's "
    "recorder, in batches of 500 as a keeper's under load, keeps all that the ledger has of a job, with its indexes, "
    "the fence and the tallies. A job with a start is written twice, as retries and jobs of the outbox are."
)
BATCH, ROUNDS = 500, 3
MANY, FEW = 30_000, 600
RESULT = {"sent": True, "to": "ada@example.org", "bytes": 4096}


def measure(bench: Bench) -> Figure:
    """Outcomes a second on both databases."""
    rows: list[Row] = []
    with new_database() as stock, new_database() as ours:
        rows += _measure_on(bench, "PostgreSQL", stock, ours, at_least=25_000)
    with _in_a_file(bench, STOCK) as stock, _in_a_file(bench, OURS) as ours:
        rows += _measure_on(bench, "SQLite", stock, ours, at_least=10_000)
    return Figure("recording", TITLE, HOW, rows)


@contextmanager
def _in_a_file(bench: Bench, side: str) -> Iterator[str]:
    """Address of an empty SQLite database."""
    path = bench.folder / f"recording-{side}.db"
    yield f"sqlite:///{path}"
    path.unlink()


def _measure_on(bench: Bench, name: str, stock: str, ours: str, at_least: int) -> list[Row]:
    found: dict[str, list[float]] = {"batches": [], "single": [], "with starts": [], "stock": []}
    few, many = bench.amount(FEW), bench.amount(MANY)
    with bench.caller(STOCK, bench.server(STOCK)) as theirs, bench.caller(OURS, bench.server(OURS)) as recorder:
        recorder.call(prepare, url=ours)
        for side in turns(ROUNDS):
            if side == STOCK:
                found["stock"].append(theirs.call(store, url=stock, jobs=few))
                continue
            found["batches"].append(recorder.call(write, url=ours, jobs=many, batch=BATCH))
            found["single"].append(recorder.call(write, url=ours, jobs=few, batch=1))
            found["with starts"].append(recorder.call(write, url=ours, jobs=many // 3, batch=BATCH, starts=True))
    for side, url in ((STOCK, stock), (OURS, ours)):
        bench.ran.setdefault(side, {})[name] = database_facts(url)
    _check(stock, "celery_taskmeta", ROUNDS * few)
    _check(ours, "jobs", ROUNDS * (many + few + many // 3))
    return [
        Row(
            f"{name}: in batches, stock one by one",
            "jobs/s",
            found["batches"],
            found["stock"],
            target=Target("times", at_least=10),
        ),
        Row(f"{name}: in batches", "jobs/s", found["batches"], target=Target("ours", at_least=at_least)),
        Row(f"{name}: in batches, with a start for each", "jobs/s", found["with starts"]),
        Row(f"{name}: one by one", "jobs/s", found["single"], found["stock"]),
    ]


def _check(url: str, name: str, rows: int) -> None:
    """Raises BenchmarkError unless each outcome is there."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(select(func.count()).select_from(table(name))).scalar_one()
    engine.dispose()
    if found != rows:
        raise BenchmarkError(f"{name} has {found} rows, and {rows} outcomes were written")


# -- in the process of each side ------------------------------------------------------------------------------------


def store(url: str, jobs: int) -> float:
    """Stock's results a second."""
    from celery import current_app
    from celery.backends.database import DatabaseBackend

    backend = DatabaseBackend(app=current_app._get_current_object(), url=url)
    # As in each child of a worker: from then on it keeps its connection, which it otherwise opens for each result.
    backend.session_manager._after_fork()
    backend.store_result(str(uuid.uuid4()), None, "SUCCESS")  # Makes the tables.
    backend.forget(_last_id(url))
    ids = [str(uuid.uuid4()) for _ in range(jobs)]
    begun = time.perf_counter()
    for id in ids:
        backend.store_result(id, RESULT, "SUCCESS")
    return jobs / (time.perf_counter() - begun)


def _last_id(url: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        id = connection.execute(text("SELECT task_id FROM celery_taskmeta ORDER BY id DESC LIMIT 1")).scalar_one()
    engine.dispose()
    return str(id)


def prepare(url: str) -> None:
    """Makes the tables."""
    from penstock.ledger import schema

    schema.upgrade(url)


def write(url: str, jobs: int, batch: int, starts: bool = False) -> float:
    """Our jobs a second."""
    from penstock.ledger.recorder import Recorder

    ends = [end_of(number) for number in range(jobs)]
    batches = [ends[place : place + batch] for place in range(0, jobs, batch)]
    if starts:
        batches = [part for ended in batches for part in ([_start(end) for end in ended], ended)]
    recorder = Recorder(url)
    # What waits to be written is the benchmark's, and must not be looked through for garbage again and again.
    gc.collect()
    gc.freeze()
    begun = time.perf_counter()
    for part in batches:
        recorder.write(part)
    seconds = time.perf_counter() - begun
    gc.unfreeze()
    return jobs / seconds


def end_of(number: int) -> Any:
    """The end of a job, as a keeper has it."""
    from penstock.job import State
    from penstock.ledger.encoding import encoded
    from penstock.ledger.records import Record, Step
    from penstock.ledger.rows import Delivery, Outcome

    now, id = datetime.now(UTC), str(uuid.uuid4())
    delivery = Delivery(
        id=id,
        task="shop.tasks.send_welcome",
        queue="default",
        priority=0,
        args=encoded([number]),
        kwargs=encoded({"template": "default"}),
        token=f"1f0c9a2e:{id}",
        worker="web@host",
        enqueued_at=now,
        root_id=id,
    )
    outcome = Outcome(state=State.SUCCEEDED, result=encoded(RESULT))
    return Record(step=Step.END, delivery=delivery, outcome=outcome, started_at=now, at=now)


def _start(end: Any) -> Any:
    from dataclasses import replace

    from penstock.ledger.records import Step

    return replace(end, step=Step.START, outcome=None)
