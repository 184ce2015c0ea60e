"""What many who record at once cost one PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from sqlalchemy import Engine, text

from benchmarks.comparison import usage
from benchmarks.conditions import BenchmarkError
from benchmarks.figures.recording import end_of
from benchmarks.harness import OURS, Bench
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
    return [repeated(bench, recorders) for recorders in RECORDERS]


def repeated(bench: Bench, recorders: int) -> Recording:
    """Medians of a few times, each in an empty ledger."""
    runs = [once(bench, recorders) for _ in range(ROUNDS)]
    names = ("rate", "cpu_us", "log_bytes", "disk_bytes")
    return Recording(recorders, **{name: median(getattr(run, name) for run in runs) for name in names})


def once(bench: Bench, recorders: int) -> Recording:
    """All write their share, and begin together."""
    jobs = bench.amount(JOBS) // recorders // BATCH * BATCH
    with bench.sql(OURS) as sql, callers(bench, [bench.server(OURS)] * recorders) as processes:
        url = sql.engine.url.render_as_string(hide_password=False)
        call_all(processes, warm_up, [{"url": url}] * recorders)
        before, log = usage.cpu_us(usage.backends(sql.engine)), log_position(sql.engine)
        begin = time.monotonic() + 0.5 + jobs * recorders * 30e-6
        arguments = {"url": url, "jobs": jobs, "begin": begin}
        spans = call_all(processes, record, [arguments] * recorders)
        cpu = usage.cpu_us(usage.backends(sql.engine)) - before
        written = log_position(sql.engine) - log
        rows, size = table_size(sql.engine)
    if rows != (jobs + 1) * recorders or any(late for late, _ in spans):
        raise BenchmarkError(f"{rows} of {jobs * recorders} rows were written, or somebody began too late")
    total = jobs * recorders
    seconds = max(ended for _, ended in spans) - begin
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


def warm_up(url: str) -> None:
    """Connects, and writes one row."""
    from penstock.ledger.recorder import Recorder

    Recorder(url).write([end_of(0)])


def record(url: str, jobs: int, begin: float) -> tuple[bool, float]:
    """Whether it began too late, and when it had written them."""
    from penstock.ledger.recorder import Recorder

    recorder, ends = Recorder(url), [end_of(number) for number in range(jobs)]
    late = time.monotonic() > begin
    time.sleep(max(0.0, begin - time.monotonic()))
    for first in range(0, jobs, BATCH):
        recorder.write(ends[first : first + BATCH])
    return late, time.monotonic()
