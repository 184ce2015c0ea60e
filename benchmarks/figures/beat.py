"""What a beat costs that has nothing to do, and how late it is when there is always something."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psutil

from benchmarks.comparison import usage
from benchmarks.conditions import BenchmarkError
from benchmarks.figures.schedules import DECLARED, QUEUE, beats_at_work, check, ids, insert, number_of, schedule
from benchmarks.harness import OURS, STOCK, Beat, Bench, Sql, percentile
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server

TITLE = "A beat with {idle:,} schedules of which none is due, and one whose schedules are due all the time"
HOW = (
    "One `beat`. At rest: schedules with yearly cron expressions on PostgreSQL, over {seconds:g} seconds. Stock "
    "Celery's `PersistentScheduler` has as many hourly entries; it sleeps for five minutes at a time, and sees no "
    "change. At work: {busy:,} schedules on PostgreSQL, each due every {period:g} seconds and all at different "
    "moments, for {period:g} seconds. Lateness is from the planned time: until the beat has decided, by the database's "
    "clock, and until a client that blocks on the list has the message."
)
IDLE, IDLE_SECONDS, SETTLE_SECONDS = 100_000, 30.0, 10.0
BUSY, PERIOD = 10_000, 20.0
AHEAD, PATIENCE = 8.0, 10.0
"""Seconds until the first is due, and that a message may be late."""


def measure(bench: Bench) -> Figure:
    """Processors and memory at rest, lateness when there is much to do."""
    idle, busy = bench.amount(IDLE), bench.amount(BUSY)
    seconds = IDLE_SECONDS / 10 if bench.smoke else IDLE_SECONDS
    ours, sql_cpu = rest(bench, idle, seconds)
    stock = rest_of_stock(bench, idle, seconds)
    decided, queued = lateness(bench, busy)

    def late(what: str, values: list[float], percent: float, target: Target | None = None) -> Row:
        found = [percentile(values, percent)]
        return Row(f"{busy / PERIOD:g} fires a second: {what}, p{percent:g}", "ms", found, (), True, target)

    cpu, memory = (list(pair) for pair in zip(ours, stock, strict=True))
    return Figure(
        "beat",
        TITLE.format(idle=idle),
        HOW.format(seconds=seconds, busy=busy, period=PERIOD),
        [
            Row("at rest: CPU of the beat", "% of a core", cpu[:1], cpu[1:], True, Target("ours", at_most=2)),
            Row("at rest: CPU of PostgreSQL", "% of a core", [sql_cpu], (), True),
            Row("at rest: memory", "MB", memory[:1], memory[1:], True, Target("ours", at_most=200)),
            late("until decided", decided, 50),
            late("until decided", decided, 99, Target("ours", at_most=100)),
            late("until on the queue", queued, 50),
            late("until on the queue", queued, 99),
        ],
    )


# -- at rest ------------------------------------------------------------------------------------------------------


def rest(bench: Bench, count: int, seconds: float) -> tuple[tuple[float, float], float]:
    """Per cent of a core and megabytes of our beat, and per cent of PostgreSQL."""
    server = bench.server(OURS)
    with beats_at_work(bench, server) as (sql, (beat,)):
        insert(sql, yearly(count))
        found = at_rest(beat, seconds, usage.backends(sql.engine))
        if fired := number_of(sql, "fires"):
            raise BenchmarkError(f"{fired} schedules fired that were not due")
    return found


def rest_of_stock(bench: Bench, count: int, seconds: float) -> tuple[float, float]:
    """Per cent of a core and megabytes of stock Celery's."""
    server = bench.server(STOCK)
    variables = {"BENCH_ENTRIES": str(count), "BENCH_SCHEDULE_FILE": str(bench.folder / "celerybeat-idle")}
    with bench.beats(STOCK, server, variables=variables) as (beat,):
        found, _ = at_rest(beat, seconds)
    return found


def at_rest(beat: Beat, seconds: float, backends: Sequence[psutil.Process] = ()) -> tuple[tuple[float, float], float]:
    """Per cent of a core and megabytes of a beat, and per cent of PostgreSQL's processes."""
    time.sleep(SETTLE_SECONDS)
    begun, before, sql_before = time.monotonic(), beat.cpu_us(), usage.cpu_us(backends)
    time.sleep(seconds)
    cpu, sql_cpu = beat.cpu_us() - before, usage.cpu_us(backends) - sql_before
    share = 100 / ((time.monotonic() - begun) * 1e6)
    return (cpu * share, usage.pss(beat.family()) / 1e6), sql_cpu * share


def yearly(count: int) -> Iterator[Any]:
    """Schedules at different times of a month that is not near."""
    from penstock.scheduler import Cron

    month = (datetime.now(UTC).month + 5) % 12 + 1
    for number in range(count):
        hours, minute = divmod(number, 60)
        yield schedule(number, Cron(f"{minute} {hours % 24} {hours // 24 % 28 + 1} {month} *"))


# -- at work ------------------------------------------------------------------------------------------------------


def lateness(bench: Bench, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the planned time of each fire until it was decided on, and until its message was there."""
    server = bench.server(OURS)
    with beats_at_work(bench, server, variables=DECLARED) as (sql, _):
        first = time.time() + AHEAD
        insert(sql, spread(count, first), first)
        if time.time() > first - 1:
            raise BenchmarkError("the schedules were not there in time")
        came = messages(server, count, first)
        check(sql, [message for message, _ in came], count, before=first + PERIOD)
        planned = times(sql)
    found = {id: moment for id, (_, moment) in zip(ids(message for message, _ in came), came, strict=True)}
    return (
        [(decided - at) * 1e3 for at, decided in planned.values()],
        [(found[id] - at) * 1e3 for id, (at, _) in planned.items()],
    )


def spread(count: int, first: float) -> Iterator[Any]:
    """Schedules that are due one after the other, all of them within a period."""
    from penstock.scheduler import Every

    for number in range(count):
        yield schedule(number, Every(PERIOD, phase=round((first + number * PERIOD / count) % PERIOD, 6) % PERIOD))


def messages(server: Server, count: int, first: float) -> list[tuple[bytes | str, float]]:
    """So many messages, and when each came (Unix time)."""
    came: list[tuple[bytes | str, float]] = []
    until = first + PERIOD + PATIENCE
    while len(came) < count and time.time() < until:
        if popped := server.client.blpop([QUEUE], 1):
            came.append((popped[1], time.time()))
    return came


def times(sql: Sql) -> dict[str, tuple[float, float]]:
    """When each job was planned and decided on (Unix time)."""
    from sqlalchemy import select

    from penstock.ledger.tables import fires

    columns = select(fires.c.job_id, fires.c.planned_at, fires.c.decided_at).where(fires.c.job_id.is_not(None))
    with sql.engine.connect() as connection:
        rows = connection.execute(columns).all()
    return {id: (planned.timestamp(), decided.timestamp()) for id, planned, decided in rows}
