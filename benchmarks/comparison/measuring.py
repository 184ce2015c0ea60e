"""Takes one system through one run: fill its queue, drain it, let jobs trickle in, look at what is left."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from benchmarks.comparison import leftovers, usage
from benchmarks.comparison.outcome import Drained, Run
from benchmarks.comparison.system import Deployment, Producer, System, Workers
from benchmarks.conditions import BenchmarkError, wait_for
from benchmarks.marks import Marks
from benchmarks.servers import Server, new_database

START_SECONDS, DRAIN_SECONDS, SETTLE_SECONDS, CHECK_SECONDS = 20.0, 240.0, 30.0, 5.0
FACTS = ("pool", "transport", "backend", "consumer", "configuration")
WARM_UP = 10
"""Jobs that trickle in before those that are counted."""


@dataclass(frozen=True)
class Load:
    """How much one run does.

    Attributes:
        one_by_one: jobs that are submitted one after the other; 0: that is not measured.
        many: jobs that are submitted at once.
        idle: jobs that trickle in afterwards; 0: that is not measured.
    """

    many: int
    one_by_one: int = 0
    idle: int = 0

    @property
    def queued(self) -> int:
        """Jobs to drain."""
        return self.one_by_one + self.many

    @property
    def total(self) -> int:
        """All jobs of the run."""
        return self.queued + (WARM_UP + self.idle if self.idle else 0)


def run(system: System, server: Server, folder: Path, load: Load) -> Run:
    """One run on an emptied Redis and a new database.

    Raises:
        BenchmarkError: it says nothing: it did not end, or not as it should have.
    """
    server.client.flushall()
    with ExitStack() as stack:
        url = stack.enter_context(database(system, folder))
        engine = create_engine(url) if url else None
        if engine is not None:
            stack.callback(engine.dispose)
        deployment = Deployment(system, server, url, folder)
        marks = Marks.create(deployment.marks, load.total)
        deployment.prepare()
        with deployment.producer() as producer:
            enqueue, enqueue_many = fill(producer, load)
            with deployment.workers() as workers, telling_the_log(deployment):
                drained = drain(deployment, workers, engine, marks, load.queued)
                checked = check(system, server, engine, load.queued)
                idle = trickle(producer, marks, load) if load.idle else []
                if idle:
                    checked = check_when_settled(system, server, engine, load.total)
        return Run(
            drained=drained,
            enqueue=enqueue,
            enqueue_many=enqueue_many,
            idle=idle,
            keys_left=int(server.client.dbsize()),
            rows_left=count(engine, system.kept_rows),
            checked=checked,
            facts=worker_facts(deployment),
        )


@contextmanager
def telling_the_log(deployment: Deployment) -> Iterator[None]:
    """What goes wrong is told with the end of the log."""
    try:
        yield
    except BenchmarkError as error:
        raise deployment.failure(str(error)) from error


@contextmanager
def database(system: System, folder: Path) -> Iterator[str]:
    """Address of the database that the system needs: its own, and as empty as it comes; '' for none."""
    if system.database == "none":
        yield ""
    elif system.database == "ledger in a file":
        path = folder / "ledger.db"
        for file in folder.glob("ledger.db*"):
            file.unlink()
        yield with_ledger(f"sqlite:///{path}")
    else:
        with new_database() as url:
            yield with_ledger(url) if system.database == "ledger" else url


def with_ledger(url: str) -> str:
    """The same, with the ledger's tables in it."""
    importlib.import_module("penstock.ledger.schema").upgrade(url)
    return url


def fill(producer: Producer, load: Load) -> tuple[float | None, float]:
    """Jobs a second, one after the other and many."""
    alone = None
    if load.one_by_one:
        alone = load.one_by_one / producer.enqueue(0, load.one_by_one)
    return alone, load.many / producer.enqueue_many(load.one_by_one, load.many)


def drain(deployment: Deployment, workers: Workers, engine: Engine | None, marks: Marks, jobs: int) -> Drained:
    """From the start of the first body until nothing waits and nothing is held.

    A worker's own start is not charged: costs are counted from the first body on, for the jobs that are left then.
    """
    system, server = deployment.system, deployment.server

    def any_started() -> bool:
        workers.check_alive()
        # Claims come in batches, and the first one need not begin with the first job.
        return any(marks.read(min(jobs, 2000)))

    def all_started() -> bool:
        workers.check_alive()
        return marks.all_started(jobs)

    wait_for(any_started, f"{system.name} has started a job", START_SECONDS, 0.002)
    before, left = spent(workers, server, engine), marks.read(jobs).count(0) or jobs
    wait_for(all_started, f"{system.name} has started {jobs} jobs", DRAIN_SECONDS, 0.005)
    wait_for(
        lambda: is_settled(system, server, engine), f"{system.name} has settled {jobs} jobs", SETTLE_SECONDS, 0.002
    )
    seconds = time.monotonic() - min(marks.read(jobs))
    after = spent(workers, server, engine)
    worker_cpu, redis_cpu, sql_cpu, commands = ((now - then) / left for now, then in zip(after, before, strict=True))
    return Drained(
        jobs=jobs,
        run=jobs / seconds,
        worker_cpu=worker_cpu,
        redis_cpu=redis_cpu,
        sql_cpu=sql_cpu if engine is not None and engine.dialect.name == "postgresql" else None,
        redis_commands=commands,
        pss=usage.pss(workers.family()) / usage.MEBIBYTE,
    )


def spent(workers: Workers, server: Server, engine: Engine | None) -> tuple[float, float, float, float]:
    """So far: microseconds of workers, of Redis and of PostgreSQL; and Redis's commands."""
    redis = server.usage()
    return usage.cpu_us(workers.family()), redis.cpu_us, usage.cpu_us(usage.backends(engine)), float(redis.commands)


def is_settled(system: System, server: Server, engine: Engine | None) -> bool:
    """Whether no job waits and none is held."""
    client = server.client
    if system.open_rows:
        return not count(engine, system.open_rows)
    exact = [key for key in system.pending if "*" not in key]
    patterns = [key for key in system.pending if "*" in key]
    if exact and client.exists(*exact):
        return False
    return not any(True for pattern in patterns for _ in client.scan_iter(pattern, count=1000))


def check(system: System, server: Server, engine: Engine | None, jobs: int) -> str:
    """What a run of Penstock must have left; and the rows of whoever says that it writes the same."""
    if not (system.is_ours or system.has_fenced_rows):
        return ""
    return leftovers.check(server.client, engine if system.has_fenced_rows else None, jobs)


def check_when_settled(system: System, server: Server, engine: Engine | None, jobs: int) -> str:
    """The same, a moment after the last job has started."""
    wait_for(lambda: is_settled(system, server, engine), f"{system.name} has settled its last job", CHECK_SECONDS)
    return check(system, server, engine, jobs)


def trickle(producer: Producer, marks: Marks, load: Load) -> list[float]:
    """Milliseconds from each call to the start of its body, of jobs that come to idle workers."""
    jobs = WARM_UP + load.idle
    called = producer.trickle(load.queued, jobs)
    wait_for(lambda: all(marks.read(jobs, load.queued)), "the last job has started", SETTLE_SECONDS)
    started = marks.read(jobs, load.queued)
    return [(start - call) * 1e3 for call, start in zip(called, started, strict=True)][WARM_UP:]


def count(engine: Engine | None, statement: str) -> int | None:
    """What a statement counts."""
    if engine is None or not statement:
        return None
    with engine.connect() as connection:
        return int(connection.execute(text(statement)).scalar_one())


def worker_facts(deployment: Deployment) -> dict[str, str]:
    """Pool, transport, backend and configuration that really ran."""
    parents = [told for told in deployment.facts() if told.get("parent")]
    return {name: str(parents[0][name]) for name in FACTS} if parents else {}
