"""A producer's process: it reads requests, submits, and answers; one JSON line each. Standard library only.

    {"do": "enqueue" | "enqueue_many" | "trickle", "first": 0, "jobs": 1000}

The first two answer with the seconds that it took, the third with the time of each call (``time.monotonic``).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence

from benchmarks import facts
from benchmarks.marks import Marks

Enqueue = Callable[[int], object]
EnqueueMany = Callable[[Sequence[int]], object]
START_SECONDS = 5.0
"""For which a job that trickles is waited for before the next one is submitted all the same."""


def serve(enqueue: Enqueue, enqueue_many: EnqueueMany) -> None:
    """Answers until the pipe is closed. The two may be coroutine functions; then all of it runs in one event loop."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr
    if inspect.iscoroutinefunction(enqueue):
        ways: dict[str, Callable[[range], object]] = _asynchronous(enqueue, enqueue_many)  # type: ignore[arg-type]
    else:
        ways = {
            "enqueue": lambda slots: _seconds(lambda: _one_by_one(enqueue, slots)),
            "enqueue_many": lambda slots: _seconds(lambda: enqueue_many(slots)),
            "trickle": lambda slots: _trickle(enqueue, slots),
        }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            slots = range(request["first"], request["first"] + request["jobs"])
            answer = {"result": ways[request["do"]](slots), "penstock": facts.has_penstock()}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def _one_by_one(enqueue: Enqueue, slots: range) -> None:
    for slot in slots:
        enqueue(slot)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _trickle(enqueue: Enqueue, slots: range) -> list[float]:
    calls = []
    for slot in slots:
        _idle()
        calls.append(time.monotonic())
        enqueue(slot)
        _until_started(slot, calls[-1])
    return calls


def _asynchronous(
    enqueue: Callable[[int], Awaitable[object]], enqueue_many: Callable[[Sequence[int]], Awaitable[object]]
) -> dict[str, Callable[[range], object]]:
    runner = asyncio.Runner()

    async def one_by_one(slots: range) -> float:
        started = time.perf_counter()
        for slot in slots:
            await enqueue(slot)
        return time.perf_counter() - started

    async def many(slots: range) -> float:
        started = time.perf_counter()
        await enqueue_many(slots)
        return time.perf_counter() - started

    async def trickle(slots: range) -> list[float]:
        calls = []
        for slot in slots:
            _idle()
            calls.append(time.monotonic())
            await enqueue(slot)
            _until_started(slot, calls[-1])
        return calls

    return {
        "enqueue": lambda slots: runner.run(one_by_one(slots)),
        "enqueue_many": lambda slots: runner.run(many(slots)),
        "trickle": lambda slots: runner.run(trickle(slots)),
    }


def _idle() -> None:
    """Not in step with anybody's clock."""
    time.sleep(random.uniform(0.01, 0.03))  # noqa: S311


def _until_started(slot: int, called: float) -> None:
    marks = Marks(os.environ["BENCH_MARKS"])
    while not marks.at(slot) and time.monotonic() < called + START_SECONDS:
        time.sleep(0.005)
