"""What one ``delay()`` costs its caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis
from celery import current_app

from benchmarks.applications.tasks import send_welcome
from benchmarks.harness import OURS, STOCK, Bench, Caller, turns
from benchmarks.report import Figure, Row, Target

TITLE = "Submitting one job after the other from one process"
HOW = (
    "Microseconds per call, of a task with two small arguments, on a connection that is open already. The floor is "
    "redis-py's `lpush` of the same bytes, in the same process: a round trip and nothing else. Turns are short, so "
    "that whatever else runs on the machine meets both sides alike."
)
CALLS, ROUNDS = 250, 25
Way = Callable[..., tuple[float, float]]
Times = dict[tuple[str, Way], list[float]]


def measure(bench: Bench) -> Figure:
    """``delay()`` of a plain task on both sides, our own ``enqueue``, and the floor of each."""
    rows = []
    for results in (False, True):
        wall, cpu = measure_calls(bench, results)
        call = f"delay(), {'Redis as result backend' if results else 'results ignored'}"
        rows += [
            row(call, wall, delay, Target("times", at_least=3)),
            row(f"{call}: of it CPU of the caller", cpu, delay),
        ]
    rows += [row("enqueue() of a Penstock task", wall, enqueue), row("floor: lpush of the same bytes", wall, lpush)]
    multiples = [ours / least for ours, least in zip(wall[OURS, enqueue], wall[OURS, lpush], strict=True)]
    within = Target("ours", at_most=1.8)
    rows.append(Row("enqueue() of a Penstock task: times the floor", "", multiples, less_is_better=True, target=within))
    return Figure("delay", TITLE, HOW, rows)


def row(what: str, times: Times, way: Way, target: Target | None = None) -> Row:
    """One way on both sides."""
    return Row(what, "µs", times[OURS, way], times.get((STOCK, way), ()), less_is_better=True, target=target)


def measure_calls(bench: Bench, results: bool) -> tuple[Times, Times]:
    """Microseconds per call and the processor's part of it, by side and way, one value for each round."""
    ways: dict[str, tuple[Way, ...]] = {STOCK: (delay, lpush), OURS: (delay, enqueue, lpush)}
    wall: Times = {(side, way): [] for side in ways for way in ways[side]}
    cpu: Times = {(side, way): [] for side in ways for way in ways[side]}
    servers = {side: bench.server(side) for side in ways}
    with (
        bench.caller(STOCK, servers[STOCK], results=results) as stock,
        bench.caller(OURS, servers[OURS], results=results) as ours,
    ):
        callers: dict[str, Caller] = {STOCK: stock, OURS: ours}
        for caller in callers.values():
            caller.call(delay, calls=100)  # connects, imports, loads scripts
        for side in turns(ROUNDS):
            for way in ways[side]:
                seconds = callers[side].call(way, calls=bench.amount(CALLS))
                wall[side, way].append(seconds[0])
                cpu[side, way].append(seconds[1])
            servers[side].client.flushall()
    return wall, cpu


def delay(calls: int) -> tuple[float, float]:
    """Celery's call."""
    return timed(calls, lambda number: send_welcome.delay(number, template="short"))


def enqueue(calls: int) -> tuple[float, float]:
    """Ours."""
    from benchmarks.applications import declared

    declared.send_welcome.enqueue(0, template="short")  # connects
    return timed(calls, lambda number: declared.send_welcome.enqueue(number, template="short"))


def lpush(calls: int) -> tuple[float, float]:
    """The floor, with the bytes of the message that was submitted last."""
    client: Any = redis.Redis.from_url(current_app.conf.broker_url)
    raw = client.lindex("celery", 0)
    return timed(calls, lambda _: client.lpush("floor", raw))


def timed(calls: int, call: Callable[[int], object]) -> tuple[float, float]:
    """Microseconds per call, and the processor's part of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(calls):
        call(number)
    return (time.perf_counter() - wall) / calls * 1e6, (time.process_time() - cpu) / calls * 1e6
