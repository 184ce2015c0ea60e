"""How soon a job is on its queue after the commit that it came with, and how many the relay gets there."""

from __future__ import annotations

import random
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.applications.tasks import nothing
from benchmarks.harness import OURS, Bench, percentile
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server, new_database

TITLE = "Jobs in the transactions of an application"
HOW = (
    "A relay as each worker's keeper has one, in a process of its own, and an application in another. From the commit "
    "to the queue: a client blocks on the list, the pause between two jobs is 10 to 60 ms. Jobs per second: the "
    "relay's own, all rows in place before it begins. Stock Celery has no outbox."
)
JOBS, MANY, ROUNDS = 200, 20_000, 3
QUEUE = "celery"


def measure(bench: Bench) -> Figure:
    """Latency, rate, and the cost of one job to its transaction, on both databases."""
    rows: list[Row] = []
    for name, database in (("PostgreSQL", new_database), ("SQLite", lambda: in_a_file(bench))):
        server = bench.server(OURS)
        with database() as url:
            rows += measure_on(bench, server, name, url)
    return Figure("outbox", TITLE, HOW, rows)


@contextmanager
def in_a_file(bench: Bench) -> Iterator[str]:
    """Address of an empty SQLite database."""
    path = bench.folder / "outbox.db"
    yield f"sqlite:///{path}"
    path.unlink()


def measure_on(bench: Bench, server: Server, name: str, url: str) -> list[Row]:
    """The rows of one database."""
    where = {"broker_url": server.url, "database_url": url}
    with bench.caller(OURS, server) as application:
        application.call(prepare, database_url=url)
        with bench.caller(OURS, server) as keeper:
            keeper.call(start_relay, **where)
            runs = [application.call(commit_one_by_one, jobs=bench.amount(JOBS), **where) for _ in range(ROUNDS)]
        # The relay's thread has ended with its process.
        rates, costs = [], []
        with bench.caller(OURS, server) as keeper:
            for _ in range(ROUNDS):
                costs.append(application.call(cost_of_one, database_url=url, jobs=bench.amount(JOBS)))
                application.call(put_many, database_url=url, jobs=bench.amount(MANY))
                rates.append(keeper.call(publish_all, **where))
    return [
        Row(f"{name}: from commit to queue, p50", "ms", [percentile(run, 50) for run in runs], less_is_better=True),
        Row(
            f"{name}: from commit to queue, p95",
            "ms",
            [percentile(run, 95) for run in runs],
            less_is_better=True,
            target=Target("ours", at_most=50),
        ),
        Row(f"{name}: the relay", "jobs/s", rates, target=Target("ours", at_least=10_000)),
        Row(f"{name}: one `enqueue` into a transaction", "µs", costs, less_is_better=True),
    ]


# -- in the application's process -----------------------------------------------------------------------------------


def prepare(database_url: str) -> None:
    """Makes the tables."""
    from penstock.ledger import schema

    schema.upgrade(database_url)


def put_many(database_url: str, jobs: int) -> None:
    """Commits many jobs at once."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from benchmarks.applications.declared import send_welcome
    from penstock import enqueue_many

    engine = create_engine(database_url)
    with Session(engine) as session:
        enqueue_many((send_welcome.bind(user_id=number) for number in range(jobs)), session=session)
        session.commit()
    engine.dispose()


def cost_of_one(database_url: str, jobs: int) -> float:
    """Microseconds that each of many jobs adds to one transaction, which is rolled back."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from benchmarks.applications.declared import send_welcome

    engine = create_engine(database_url)
    with Session(engine) as session:
        submission = send_welcome.options(session=session)
        submission.enqueue(user_id=0)
        begun = time.perf_counter()
        for number in range(jobs):
            submission.enqueue(user_id=number)
        cost = (time.perf_counter() - begun) / jobs * 1e6
        session.rollback()
    engine.dispose()
    return cost


def commit_one_by_one(broker_url: str, database_url: str, jobs: int) -> list[float]:
    """Milliseconds from each commit to the queue."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    import penstock

    late = []
    client: Any = redis.Redis.from_url(broker_url)
    engine = create_engine(database_url)
    for number in range(jobs):
        time.sleep(random.uniform(0.01, 0.06))  # noqa: S311  so as not to march in step with the relay
        with Session(engine) as session:
            with penstock.outbox(session):
                nothing.delay(number)
            session.commit()
            committed = time.perf_counter()
        if client.blpop(QUEUE, 10) is None:
            raise TimeoutError("a job has not come")
        late.append((time.perf_counter() - committed) * 1e3)
    engine.dispose()
    return late


# -- in the keeper's ------------------------------------------------------------------------------------------------


def new_relay(broker_url: str, database_url: str) -> Any:
    """A relay as that of a worker's keeper."""
    from penstock.broker.connection import connect
    from penstock.broker.keys import Keys
    from penstock.broker.scripts import Scripts
    from penstock.engine.keeping import Ward
    from penstock.engine.keeping.relay import Relay
    from penstock.retention import DEFAULT

    ward = Ward(
        scripts=Scripts(connect(broker_url), Keys()),
        tell=lambda **_: None,
        selector=selectors.DefaultSelector(),
        broker_url=broker_url,
        transport_options={},
        database_url=database_url,
        lease_seconds=10.0,
        crash_limit=3,
        retention=DEFAULT,
        workers=["benchmark/00000001"],
    )
    return Relay(ward, database_url)


def publish_all(broker_url: str, database_url: str) -> float:
    """Jobs per second of a relay that finds them all there."""
    relay = new_relay(broker_url, database_url)
    begun, published = time.perf_counter(), 0
    while count := relay.turn():
        published += count
    rate = published / (time.perf_counter() - begun)
    relay.close()
    return rate


def start_relay(broker_url: str, database_url: str) -> None:
    """Relays until the process ends."""
    new_relay(broker_url, database_url).start()
