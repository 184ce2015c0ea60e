"""How long Flower's pages take on a large ledger, and the pages of stock Flower beside them."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import create_engine, text

from benchmarks.conditions import BenchmarkError, wait_for
from benchmarks.harness import OURS, ROOT, Bench, percentile
from benchmarks.ledger_rows import BUSY_TASK, RARE_TASK, ROWS, database_at, fill
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import DATABASE

NAME = "penstock_benchmark_ledger"
TITLE = "Flower's pages at {rows:,} jobs in the ledger"
HOW = (
    "`celery -A workers flower` on one PostgreSQL with the rows of a month: 60 tasks, 6 queues, 2 % failed with some "
    "500 errors. Each page is asked for {rounds} times, one after the other, and read to its end; a page that is about "
    "one job or error is asked for another one each time."
)
ROUNDS, MOST_MS = 40, 300
USER = "bench:bench"
START_SECONDS, ANSWER_SECONDS = 60.0, 60.0
_ERRORS = "SELECT fingerprint FROM failure_hours GROUP BY fingerprint ORDER BY sum(count) DESC LIMIT 200"
_IDS = "SELECT id FROM jobs TABLESAMPLE SYSTEM (0.1) LIMIT 1000"
_FAMILIES = "SELECT parent_id FROM jobs TABLESAMPLE SYSTEM (0.1) WHERE parent_id IS NOT NULL LIMIT 200"
Path = Callable[[int], str]
"""The address of a page in the round with this number."""


def measure(bench: Bench) -> Figure:
    """Milliseconds of each page."""
    rows, rounds = bench.amount(bench.rows or ROWS), bench.amount(ROUNDS)
    with database_at(DATABASE, NAME, bench.keep) as url:
        fill(url, rows, lambda said: print(f"  {said}", file=sys.stderr, flush=True))
        with running_flower(bench, url) as address:
            figures = [row for name, path in _paths(url).items() for row in _visit(address, name, path, rounds)]
    return Figure("pages", TITLE.format(rows=rows), HOW.format(rounds=rounds), figures)


def _paths(url: str) -> dict[str, Path]:
    """Every page, with the filters that cost most."""
    with create_engine(url).connect() as connection:
        errors, ids, families = (_words(connection.execute(text(each))) for each in (_ERRORS, _IDS, _FAMILIES))
    return {
        "history": _same("/history"),
        "history, failed": _same("/history?state=failed"),
        "history, a busy task": _same(f"/history?task={BUSY_TASK}"),
        "history, a rare task": _same(f"/history?task={RARE_TASK}"),
        "history, text of an error": _same("/history?error=timed+out"),
        "history, text of no error": _same("/history?error=no+such+text"),
        "history, tag": _same("/history?tag=nobody-has-it"),
        "history, a week ago": _same("/history?until=7d"),
        "job": lambda round_: f"/job/{ids[round_ % len(ids)]}",
        "job with a family": lambda round_: f"/job/{families[round_ % len(families)]}",
        "failures": _same("/failures"),
        "failures of a week": _same("/failures?since=7d"),
        "failure": lambda round_: f"/failures/{errors[round_ % len(errors)]}",
        "queues": _same("/queues"),
        "queue": _same("/queues/default"),
        "schedules": _same("/schedules"),
        "audit": _same("/audit"),
    }


def _words(rows: Sequence[tuple[str]]) -> list[str]:
    return [str(row[0]) for row in rows]


def _same(path: str) -> Path:
    return lambda _: path


def _visit(address: str, name: str, path: Path, rounds: int) -> Iterator[Row]:
    _read(address, path(0))  # The first one compiles templates and statements.
    times = []
    for round_ in range(1, rounds + 1):
        begun = time.perf_counter()
        _read(address, path(round_))
        times.append((time.perf_counter() - begun) * 1e3)
    yield Row(f"{name}: p50", "ms", [percentile(times, 50)], less_is_better=True)
    yield Row(
        f"{name}: p95", "ms", [percentile(times, 95)], less_is_better=True, target=Target("ours", at_most=MOST_MS)
    )


def _read(address: str, path: str) -> None:
    asked = urllib.request.Request(address + urllib.parse.quote(path, safe="/?=&+"))  # noqa: S310
    asked.add_header("Authorization", "Basic " + base64.b64encode(USER.encode()).decode())
    with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        if answer.status != 200 or not answer.read():
            raise BenchmarkError(f"{path} answers {answer.status}")


@contextmanager
def running_flower(bench: Bench, database_url: str) -> Iterator[str]:
    """The address of a Flower on this ledger."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "REDIS_URL": bench.server(OURS).url,
        "DATABASE_URL": database_url,
        "PENSTOCK_VAR": str(bench.folder / "flower"),
        "FLOWER_PORT": str(port),
        "FLOWER_BASIC_AUTH": USER,
    }
    command = [sys.executable, "-m", "celery", "-A", "workers", "flower"]
    log = bench.folder / "flower.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _is_up(address) or process.poll() is not None, "Flower is up", START_SECONDS)
        if process.poll() is not None:
            raise BenchmarkError(f"Flower has ended: {log.read_text()[-2000:]}")
        bench.ran.setdefault(OURS, {})["flower"] = _version()
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/healthcheck", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _version() -> str:
    import flower

    return str(flower.__version__)
