"""What many who record at once cost one PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Engine, text

from benchmarks.comparison import usage
from benchmarks.conditions import BenchmarkError
from benchmarks.figures.recording import end_of
from benchmarks.harness import OURS, Bench, Caller
from benchmarks.scale.together import call_all, callers

RECORDERS, BATCH, JOBS, ROUNDS = (1, 2, 4, 8), 500, 40_000, 3


@dataclass(frozen=True)
class Recording:
    """So many recorders at once, medians.

    Attributes:
        rate: rows a second, by all of them.
        cpu_us: of PostgreSQL's backends per row; 0: it does not run on this machine.
        log_bytes: of write-ahead log per row.
        disk_bytes: of table and indexes per row.
    """

    recorders: int
    rate: float
    cpu_us: float
    log_bytes: float
    disk_bytes: float


def measure(bench: Bench) -> list[Recording]:
    """More and more recorders."""
    with callers(bench, [bench.server(OURS)] * RECORDERS[-1]) as processes:
        return [repeated(bench, processes[:count]) for count in RECORDERS]


def repeated(bench: Bench, processes: Sequence[Caller]) -> Recording:
    """Medians of a few times, each in an empty ledger."""
    runs = [once(bench, processes) for _ in range(ROUNDS)]
    names = ("rate", "cpu_us", "log_bytes", "disk_bytes")
    return Recording(len(processes), **{name: median(getattr(run, name) for run in runs) for name in names})


def once(bench: Bench, processes: Sequence[Caller]) -> Recording:
    """All write their share, and begin together."""
    recorders = len(processes)
    jobs = max(BATCH, bench.amount(JOBS) // recorders // BATCH * BATCH)
    with bench.sql(OURS) as sql:
        url = sql.engine.url.render_as_string(hide_password=False)
        call_all(processes, prepare, [{"url": url, "jobs": jobs}] * recorders)
        before, log = usage.cpu_us(usage.backends(sql.engine)), log_position(sql.engine)
        begin = time.monotonic() + 0.2
        spans = call_all(processes, record, [{"url": url, "begin": begin}] * recorders)
        cpu = usage.cpu_us(usage.backends(sql.engine)) - before
        written = log_position(sql.engine) - log
        rows, size = table_size(sql.engine)
    if rows != (jobs + 1) * recorders:
        raise BenchmarkError(f"{rows} rows are there, and {(jobs + 1) * recorders} were written")
    total = jobs * recorders
    seconds = max(ended for _, ended in spans) - min(began for began, _ in spans)
    return Recording(recorders, total / seconds, cpu / total, written / total, size / rows)


def log_position(engine: Engine) -> int:
    """Bytes of write-ahead log so far; of the whole server."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")).scalar_one())


def table_size(engine: Engine) -> tuple[int, int]:
    """Rows, and bytes with their indexes."""
    with engine.connect() as connection:
        row = connection.execute(text("SELECT count(*), pg_total_relation_size('jobs') FROM jobs")).one()
    return int(row[0]), int(row[1])


# -- in each recorder's process -------------------------------------------------------------------------------------


_prepared: list[Any] = []


def prepare(url: str, jobs: int) -> None:
    """Connects, writes one row, and makes what is to be written."""
    from penstock.ledger.recorder import Recorder

    Recorder(url).write([end_of(0)])
    _prepared[:] = [end_of(number) for number in range(jobs)]


def record(url: str, begin: float) -> tuple[float, float]:
    """When it began, and when it had written them."""
    from penstock.ledger.recorder import Recorder

    recorder = Recorder(url)
    time.sleep(max(0.0, begin - time.monotonic()))
    began = time.monotonic()
    for first in range(0, len(_prepared), BATCH):
        recorder.write(_prepared[first : first + BATCH])
    return began, time.monotonic()
