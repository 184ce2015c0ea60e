"""How fast one process submits many jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

from celery import current_app

from benchmarks.applications.tasks import send_welcome
from benchmarks.conditions import BenchmarkError
from benchmarks.harness import OURS, STOCK, Bench, Caller, turns
from benchmarks.report import Figure, Row, Target

TITLE = "Submitting many jobs from one process"
HOW = (
    "Jobs per second with results ignored, all of them counted on the queue afterwards. Stock has three ways: a loop "
    "of `delay()`, a `group`, and kombu's `Producer.batch()`, which Celery itself does not use. The target is a rate."
)
OURS_JOBS, STOCK_JOBS, ROUNDS = 100_000, 3000, 3


def measure(bench: Bench) -> Figure:
    """``enqueue_many`` beside every way that stock has."""
    ways: dict[str, tuple[Callable[..., float], ...]] = {STOCK: (loop, group, batch), OURS: (enqueue_many,)}
    jobs = {STOCK: bench.amount(STOCK_JOBS), OURS: bench.amount(OURS_JOBS)}
    rates: dict[Callable[..., float], list[float]] = {way: [] for side in ways for way in ways[side]}
    servers = {side: bench.server(side) for side in ways}
    with (
        bench.caller(STOCK, servers[STOCK], results=False) as stock,
        bench.caller(OURS, servers[OURS], results=False) as ours,
    ):
        callers: dict[str, Caller] = {STOCK: stock, OURS: ours}
        for side in turns(ROUNDS):
            for way in ways[side]:
                callers[side].call(way, jobs=100)  # connects
                servers[side].client.flushall()
                rates[way].append(callers[side].call(way, jobs=jobs[side]))
                if servers[side].client.llen("celery") != jobs[side]:
                    raise BenchmarkError(f"{way.__name__} did not put {jobs[side]} jobs on the queue")
                servers[side].client.flushall()
    mine = rates[enqueue_many]
    return Figure(
        "bulk",
        TITLE,
        HOW,
        [
            Row("enqueue_many; a loop of delay()", "jobs/s", mine, rates[loop], target=Target("ours", at_least=80_000)),
            Row("enqueue_many; a group", "jobs/s", mine, rates[group]),
            Row("enqueue_many; kombu's Producer.batch()", "jobs/s", mine, rates[batch]),
        ],
    )


def loop(jobs: int) -> float:
    """Jobs per second of what everybody writes first."""
    started = time.perf_counter()
    for number in range(jobs):
        send_welcome.delay(user_id=number)
    return jobs / (time.perf_counter() - started)


def group(jobs: int) -> float:
    """Jobs per second of what Celery's documentation suggests."""
    import celery

    started = time.perf_counter()
    celery.group(send_welcome.s(user_id=number) for number in range(jobs)).apply_async()
    return jobs / (time.perf_counter() - started)


def batch(jobs: int) -> float:
    """Jobs per second of the fastest that kombu can do."""
    started = time.perf_counter()
    with current_app.producer_or_acquire() as producer, producer.batch():
        for number in range(jobs):
            send_welcome.apply_async(kwargs={"user_id": number}, producer=producer)
    return jobs / (time.perf_counter() - started)


def enqueue_many(jobs: int) -> float:
    """Jobs per second of ours."""
    import penstock
    from benchmarks.applications.declared import send_welcome

    started = time.perf_counter()
    penstock.enqueue_many(send_welcome.bind(user_id=number) for number in range(jobs))
    return jobs / (time.perf_counter() - started)
