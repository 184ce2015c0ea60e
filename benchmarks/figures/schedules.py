"""How soon the jobs of many schedules that are due in the same second are on their queue."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.comparison import usage
from benchmarks.conditions import BenchmarkError, wait_for
from benchmarks.harness import OURS, STOCK, Beat, Bench, Sql
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server

TITLE = "Schedules that are due in the same second, until all their jobs are on the queue"
HOW = (
    "Hourly schedules of one task with two small arguments, in Celery's `beat`; no worker runs, and no results are "
    "kept. From the second in which all are due until the queue has all the messages. Ours are rows on PostgreSQL with "
    "the default `overlap`, and a run counts only if each has its fire, and the fire's job is on the queue once. Stock "
    "Celery's are entries of its `PersistentScheduler` that ran an hour ago, RedBeat's are in the same Redis as the "
    "queue. Stock compares all entries with each other after each job, so its time grows with the square of their "
    "number: {many:,} are measured once."
)
MANY, FEW, ROUNDS = 10_000, 1_000, 3
HOUR = timedelta(hours=1)
QUEUE, TASK = "celery", "benchmarks.applications.tasks.send_welcome"
PENSTOCK, REDBEAT = "penstock.scheduler.beat:Scheduler", "redbeat.RedBeatScheduler"
DECLARED = {"BENCH_IMPORTS": "benchmarks.applications.declared"}
"""Our task as an application of Penstock has it; without, it is a plain one of Celery's."""
AHEAD, MANY_AHEAD = 5.0, 15.0
"""Seconds until the schedules are due, when they are about to be put where they belong."""
READY_SECONDS, PATIENCE = 2.0, 900.0
"""How long before that second everything has to be in place, and after it until the last job."""


@dataclass
class Runs:
    """What was measured of one way: a value for each repetition."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Microseconds of all beats for each job."""
    sql_cpu: list[float] = field(default_factory=list)
    """And of PostgreSQL."""


def measure(bench: Bench) -> Figure:
    """Seconds of each way, of one beat and of two, and what a job costs."""
    many, few = bench.amount(MANY), bench.amount(FEW)
    one, two, plain, ours_few, stock, stock_few, redbeat = (Runs() for _ in range(7))
    for number in range(1 if bench.smoke else ROUNDS):
        both = ((1, one), (2, two))
        for beats, runs in both if number % 2 == 0 else both[::-1]:
            fire(bench, runs, many, beats, DECLARED)
        fire(bench, plain, many)
        fire(bench, ours_few, few, variables=DECLARED)
        send_by_celery(bench, stock_few, few)
        send_by_redbeat(bench, redbeat, many)
    send_by_celery(bench, stock, many)

    def row(what: str, ours: Runs, theirs: Runs | None = None, target: Target | None = None) -> Row:
        return Row(what, "s", ours.seconds, theirs.seconds if theirs else (), less_is_better=True, target=target)

    throughput = [alone / both for alone, both in zip(one.seconds, two.seconds, strict=True)]
    return Figure(
        "schedules",
        TITLE,
        HOW.format(many=many),
        [
            row(f"{many:,} schedules", one, stock, Target("ours", at_most=2)),
            row(f"{many:,}; stock: RedBeat", one, redbeat),
            row(f"{many:,} of a plain task of Celery's", plain, stock),
            row(f"{few:,} schedules", ours_few, stock_few),
            row(f"{many:,}, two beats", two),
            Row("jobs a second of two beats, in those of one", "x", throughput, target=Target("ours", at_least=0.8)),
            Row("CPU of the beat per job", "µs", one.cpu, stock.cpu, less_is_better=True),
            Row("CPU of the beat per job; stock: RedBeat", "µs", one.cpu, redbeat.cpu, less_is_better=True),
            Row("CPU of PostgreSQL per job", "µs", one.sql_cpu, less_is_better=True),
        ],
    )


# -- ours ---------------------------------------------------------------------------------------------------------


def fire(bench: Bench, runs: Runs, count: int, beats: int = 1, variables: Mapping[str, str] | None = None) -> None:
    """Schedules that are put into the ledger of beats that are at work, as long before they are due as stock's."""
    server = bench.server(OURS)
    with beats_at_work(bench, server, beats, variables) as (sql, running):
        due = second_in(AHEAD + MANY_AHEAD * count / MANY)
        insert(sql, (hourly(number, due) for number in range(count)))
        seconds, cpu, sql_cpu = await_jobs(server, running, count, due, sql)
        runs.seconds.append(seconds)
        runs.cpu.append(cpu / count)
        runs.sql_cpu.append(sql_cpu / count)
        check(sql, server.client.lrange(QUEUE, 0, -1), count)


@contextmanager
def beats_at_work(
    bench: Bench, server: Server, count: int = 1, variables: Mapping[str, str] | None = None
) -> Iterator[tuple[Sql, list[Beat]]]:
    """Our beats on an empty ledger, in which they have said that they are there."""
    with (
        bench.sql(OURS) as sql,
        bench.beats(OURS, server, count, results=sql.backend, scheduler=PENSTOCK, variables=variables) as beats,
    ):
        wait_for(lambda: number_of(sql, "beats") == count, f"{count} beats are in the ledger", 20)
        yield sql, beats


def hourly(number: int, due: int) -> Any:
    """A schedule whose next time is then."""
    from penstock.scheduler import Every

    return schedule(number, Every(HOUR.total_seconds(), phase=due % HOUR.total_seconds()))


def schedule(number: int, when: Any) -> Any:
    """One with the default rules."""
    from penstock.scheduler import Schedule

    return Schedule(name=f"schedule {number}", task=TASK, when=when, kwargs=arguments(number))


def insert(sql: Sql, made: Iterable[Any], first: float | None = None) -> None:
    """Puts schedules into the ledger, in one transaction.

    Args:
        first: none is due before (Unix time); now if absent.
    """
    from penstock.ledger import schedules
    from penstock.scheduler.declarations import new_row

    now = datetime.fromtimestamp(first or time.time(), UTC)
    with sql.engine.begin() as connection:
        schedules.add(connection, [new_row(each, None, now) for each in made])


def check(sql: Sql, messages: Iterable[bytes | str], count: int, before: float = math.inf) -> None:
    """Raises unless each schedule has fired once, and these are just the messages of its jobs, each once.

    Args:
        before: fires that were planned then or later (Unix time) may be skipped, as those jobs have not ended.
    """
    from sqlalchemy import select

    from penstock.ledger.tables import fires

    with sql.engine.connect() as connection:
        found = connection.execute(select(fires.c.state, fires.c.job_id, fires.c.planned_at)).all()
    fired = [id for state, id, _ in found if state == "fired"]
    others = sum(state != "fired" and planned.timestamp() < before for state, _, planned in found)
    queued = ids(messages)
    if not (len(queued) == len(fired) == count and set(queued) == set(fired) and not others):
        raise BenchmarkError(f"{len(queued)} messages, {len(fired)} fired, {others} not, of {count} schedules")


def number_of(sql: Sql, table: str) -> int:
    """How many rows a table of the ledger has."""
    from sqlalchemy import func, select

    from penstock.ledger.tables import metadata

    with sql.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(metadata.tables[table])).scalar_one())


# -- stock --------------------------------------------------------------------------------------------------------


def send_by_celery(bench: Bench, runs: Runs, count: int) -> None:
    """Entries that ran an hour before they are due again, in the file of Celery's own scheduler."""
    server, file = bench.server(STOCK), bench.folder / "celerybeat-schedule"
    for old in bench.folder.glob(f"{file.name}*"):
        old.unlink()
    due = second_in(AHEAD + MANY_AHEAD * count / MANY)
    variables = {"BENCH_ENTRIES": str(count), "BENCH_SCHEDULE_FILE": str(file)}
    with bench.caller(STOCK, server, results=False, variables=variables) as caller:
        caller.call(keep_in_file, file=str(file), due=due)
    with bench.beats(STOCK, server, variables=variables) as beats:
        note(runs, server, beats, count, due)


def send_by_redbeat(bench: Bench, runs: Runs, count: int) -> None:
    """The same as entries of RedBeat."""
    server = bench.server(STOCK)
    due = second_in(AHEAD + MANY_AHEAD * count / MANY)
    with bench.caller(STOCK, server, results=False) as caller:
        caller.call(keep_in_redis, count=count, due=due)
    with bench.beats(STOCK, server, scheduler=REDBEAT) as beats:
        note(runs, server, beats, count, due)


def note(runs: Runs, server: Server, beats: list[Beat], count: int, due: int) -> None:
    """Waits for the jobs of the stock side."""
    seconds, cpu, _ = await_jobs(server, beats, count, due)
    runs.seconds.append(seconds)
    runs.cpu.append(cpu / count)
    queued = ids(server.client.lrange(QUEUE, 0, -1))
    if not len(queued) == len(set(queued)) == count:
        raise BenchmarkError(f"{len(queued)} messages, {len(set(queued))} jobs, of {count} entries")


def keep_in_file(file: str, due: int) -> None:
    """Runs in a process of the stock side."""
    from celery import current_app
    from celery.beat import PersistentScheduler

    scheduler = PersistentScheduler(current_app, schedule_filename=file)
    for entry in scheduler.schedule.values():
        entry.last_run_at = datetime.fromtimestamp(due, UTC) - HOUR
    scheduler.close()


def keep_in_redis(count: int, due: int) -> None:
    """Runs in a process of the stock side."""
    from celery import current_app
    from celery.schedules import schedule as interval
    from redbeat import RedBeatSchedulerEntry

    for number in range(count):
        entry = RedBeatSchedulerEntry(
            f"entry {number}", TASK, interval(HOUR), kwargs=arguments(number), app=current_app
        )
        entry.last_run_at = datetime.fromtimestamp(due, UTC) - HOUR
        entry.save()


# -- both ---------------------------------------------------------------------------------------------------------


def ids(messages: Iterable[bytes | str]) -> list[str]:
    """Of their jobs."""
    return [json.loads(message)["headers"]["id"] for message in messages]


def arguments(number: int) -> dict[str, Any]:
    """Of the job of a schedule."""
    return {"user_id": number, "template": "short"}


def second_in(seconds: float) -> int:
    """A whole second (Unix time), so many from now at least."""
    return math.ceil(time.time() + seconds)


def await_jobs(
    server: Server, beats: Sequence[Beat], count: int, due: int, sql: Sql | None = None
) -> tuple[float, float, float]:
    """Seconds from the moment until so many jobs are on the queue, and what beats and PostgreSQL spent on it (µs)."""
    if (early := due - time.time()) < READY_SECONDS:
        raise BenchmarkError(f"everything was in place just {early:.1f} s before it was due")
    time.sleep(due - time.time() - 0.2)
    if already := server.client.llen(QUEUE):
        raise BenchmarkError(f"{already} jobs came before they were due")
    backends = usage.backends(sql.engine) if sql else []

    def spent() -> tuple[float, float]:
        return sum(beat.cpu_us() for beat in beats), usage.cpu_us(backends)

    before = spent()
    wait_for(lambda: server.client.llen(QUEUE) >= count, f"{count:,} jobs are on the queue", PATIENCE, 0.005)
    seconds = time.time() - due
    after = spent()
    return seconds, after[0] - before[0], after[1] - before[1]
