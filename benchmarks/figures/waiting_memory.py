"""How much memory of Redis a waiting job takes."""

from __future__ import annotations

import uuid
from typing import Any

import redis
from celery import current_app

from benchmarks.applications.tasks import send_welcome
from benchmarks.conditions import BenchmarkError
from benchmarks.harness import OURS, STOCK, Bench
from benchmarks.report import Figure, Row, Target

TITLE = "Memory of Redis per waiting job"
HOW = (
    "What `used_memory` grows by, divided by the number of jobs; a task with two small arguments. Stock's queue holds "
    "1,000 messages of `delay()` again and again with ids of their own, as it takes stock too long to make them all. "
    "Ours are all real, and each also has an entry in the waiting index, by which its state is known."
)
JOBS, DELAYED, ORIGINALS = 100_000, 20_000, 1000


def measure(bench: Bench) -> Figure:
    """Both sides' ``delay()``, and our ``enqueue_many``."""
    stock = memory(bench, STOCK, copies, bench.amount(JOBS))
    delayed = memory(bench, OURS, delays, bench.amount(DELAYED))
    bulk = memory(bench, OURS, enqueue_many, bench.amount(JOBS))
    target = Target("times", at_least=1)
    rows = [
        Row("delay()", "bytes", [delayed], [stock], less_is_better=True, target=target),
        Row("enqueue_many", "bytes", [bulk], [stock], less_is_better=True, target=target),
    ]
    return Figure("waiting-memory", TITLE, HOW, rows)


def memory(bench: Bench, side: str, way: Any, jobs: int) -> float:
    """Bytes per job."""
    server = bench.server(side)
    with bench.caller(side, server, results=False) as caller:
        caller.call(way, jobs=100)  # connections have buffers, and scripts are kept
        server.client.flushall()
        before = server.memory()
        caller.call(way, jobs=jobs)
        after = server.memory()
    if server.client.llen("celery") != jobs:
        raise BenchmarkError(f"{server.client.llen('celery')} jobs wait instead of {jobs}")
    return (after - before) / jobs


def delays(jobs: int) -> None:
    """All by ``delay()``."""
    for number in range(jobs):
        send_welcome.delay(number, template="short")


def copies(jobs: int) -> None:
    """Some by ``delay()``, and copies of them."""
    client: Any = redis.Redis.from_url(current_app.conf.broker_url)
    ids = [send_welcome.delay(number, template="short").id for number in range(min(jobs, ORIGINALS))]
    originals = client.lrange("celery", 0, -1)[::-1]
    for _ in range(jobs // len(ids) - 1):
        client.lpush(
            "celery",
            *(raw.replace(id.encode(), str(uuid.uuid4()).encode()) for id, raw in zip(ids, originals, strict=True)),
        )


def enqueue_many(jobs: int) -> None:
    """All by one call of ours."""
    import penstock
    from benchmarks.applications.declared import send_welcome

    penstock.enqueue_many(send_welcome.bind(number, template="short") for number in range(jobs))
