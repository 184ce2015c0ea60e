"""W8 to W12: what happens between the end of a body and the moment at which its message is settled.

Results are in PostgreSQL on both sides. A process is killed "after the outcome is stored" while a proxy keeps the
answer to the COMMIT: the row is there, and its writer does not know it yet.
"""

from __future__ import annotations

from tests.faults.effects import RETRIED
from tests.faults.ground import Ground, new_ids
from tests.faults.proxy import Proxy
from tests.faults.scenario import POSTGRESQL, fault
from tests.faults.sides import LATE, OURS, STOCK, Worker
from tests.faults.tasks import BEFORE_COMMIT

SHORT = {"broker_transport_options": {"visibility_timeout": 3}}
SHORT_REMARK = "visibility_timeout 3 s on the stock side"
SQL_BOUND = 10.0
"""Seconds from the return of a SQL server to the next start; the keeper waits at most five between two tries."""
RETRY = r'"retries": ?1\b'
"""In the message of a first retry."""
FULL, ROOM = ("maxmemory", "1"), ("maxmemory", "0")
NO_WRITES, WRITES = ("min-replicas-to-write", "1"), ("min-replicas-to-write", "0")


@fault(
    "W8",
    "kill -9 of a worker after the outcome is stored, before the message is settled",
    sides=(LATE, OURS),
    stock=SHORT,
    store=POSTGRESQL,
    remark=SHORT_REMARK,
)
def worker_killed_before_settle(ground: Ground) -> None:
    _, worker, job = _stored_and_unsettled(ground)
    worker.kill()
    _have_it_delivered_again(ground, job)


@fault(
    "W8",
    "the same, its parent alone",
    sides=(LATE, OURS),
    stock=SHORT,
    store=POSTGRESQL,
    remark=SHORT_REMARK,
)
def parent_killed_before_settle(ground: Ground) -> None:
    sql, worker, job = _stored_and_unsettled(ground)
    worker.kill_parent()
    sql.cut()
    _have_it_delivered_again(ground, job)


@fault(
    "W8",
    "the same, its keeper alone",
    sides=(OURS,),
    store=POSTGRESQL,
    not_reproducible="stock Celery has no such process",
)
def keeper_killed_before_settle(ground: Ground) -> None:
    _, worker, job = _stored_and_unsettled(ground)
    worker.kill_keeper()
    _have_it_delivered_again(ground, job)


def _stored_and_unsettled(ground: Ground) -> tuple[Proxy, Worker, str]:
    sql = ground.sql_proxy()
    worker = ground.worker()
    ground.straight_to_sql()
    (job,) = new_ids(1)
    sql.hold_commit_of(job)
    ground.try_to_enqueue("work", ids=[job])
    _await_commit(ground, sql, job)
    return sql, worker, job


def _await_commit(ground: Ground, sql: Proxy, job: str) -> None:
    ground.wait(lambda: sql.holding.is_set() or sql.dropped.is_set(), "the answer to the COMMIT is kept")
    ground.stored(job)


def _have_it_delivered_again(ground: Ground, *jobs: str) -> None:
    """Until whatever wants to start any of them again has done so: leases are over, and the short timeout."""
    ground.sleep(3.5)
    ground.worker()
    ground.watch(*jobs, seconds=15)
    ground.settle()


@fault("W9", "PostgreSQL is down while jobs end, and comes back", store=POSTGRESQL, bound=SQL_BOUND)
def store_down_at_the_end(ground: Ground) -> None:
    worker, gate = ground.tried_worker(children=2), ground.gate()
    ground.watch_memory(worker)
    jobs = ground.enqueue("until", gate, count=2)
    ground.started(*jobs)
    ground.sql.stop()
    ground.open(gate)
    ground.enqueue("bulky", 10_000, count=100 if ground.quick else 1_000)
    ground.sleep(4 if ground.quick else 20)
    ground.sql.start()
    ground.settle()
    _works_on(ground)


@fault(
    "W9",
    "PostgreSQL is down while a job ends, and the worker is killed meanwhile",
    sides=(LATE, OURS),
    store=POSTGRESQL,
    stock=SHORT,
    remark=SHORT_REMARK,
)
def worker_killed_while_the_store_is_down(ground: Ground) -> None:
    worker = _ended_without_store(ground)
    worker.kill()
    ground.sql.start()
    ground.worker()
    ground.settle()


@fault(
    "W9",
    "the same, its keeper alone",
    sides=(OURS,),
    store=POSTGRESQL,
    not_reproducible="stock Celery has no such process",
)
def keeper_killed_while_the_store_is_down(ground: Ground) -> None:
    worker = _ended_without_store(ground)
    worker.kill_keeper()
    ground.sleep(1)
    ground.sql.start()
    ground.settle()
    _works_on(ground)


def _ended_without_store(ground: Ground) -> Worker:
    worker, gate = ground.tried_worker(), ground.gate()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    ground.sql.stop()
    ground.open(gate)
    ground.ended(2)
    ground.sleep(1)
    return worker


def _works_on(ground: Ground) -> None:
    """Whoever was there before the fault consumes after it."""
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()


@fault("W10", "kill -9 of a worker before a retry is published", sides=(STOCK, OURS), store=POSTGRESQL)
def worker_killed_before_a_retry(ground: Ground) -> None:
    proxy = ground.proxy()
    worker = ground.worker(through=proxy.url)
    (job,) = new_ids(1)
    proxy.hold_command(job, RETRY)
    ground.try_to_enqueue("retry", ids=[job])
    ground.wait(proxy.holding.is_set, "the retry is about to be published")
    worker.kill()
    ground.strike(job)
    ground.worker()
    ground.settle()


@fault(
    "W10",
    "kill -9 of a worker after a retry is published, before its message is settled",
    sides=(LATE, OURS),
    stock=SHORT,
    store=POSTGRESQL,
    remark=SHORT_REMARK,
)
def worker_killed_after_a_retry(ground: Ground) -> None:
    proxy = ground.proxy()
    worker = ground.worker(through=proxy.url)
    (job,) = new_ids(1)
    proxy.hold_reply_to(job, RETRY)
    ground.try_to_enqueue("retry", ids=[job])
    ground.wait(proxy.holding.is_set, "the retry is published")
    worker.kill()
    ground.sleep(3.5)
    ground.worker()
    _watch_for_a_third_start(ground, job)
    ground.settle()


def _watch_for_a_third_start(ground: Ground, job: str) -> None:
    """A retry that was asked for is a second start; what comes beside it would be a third."""
    for _ in range(14):
        if ground.starts(job) < 3:
            ground.sleep(1)


@fault("W10", "Redis is full (noeviction) while a job asks for a retry", store=POSTGRESQL)
def retry_while_redis_is_full(ground: Ground) -> None:
    _refuse_a_retry(ground, FULL, ROOM)


@fault("W10", "Redis takes no writes while a job asks for a retry", store=POSTGRESQL)
def retry_while_redis_is_read_only(ground: Ground) -> None:
    _refuse_a_retry(ground, NO_WRITES, WRITES)


def _refuse_a_retry(ground: Ground, refusing: tuple[str, str], serving: tuple[str, str]) -> None:
    gate = ground.gate()
    ground.tried_worker()
    (job,) = ground.enqueue("retry", gate)
    ground.started(job)
    ground.client.config_set(*refusing)
    ground.open(gate)
    ground.wait(lambda: ground.effects.of(RETRIED, job), "the job asks for a retry")
    ground.sleep(3)
    ground.client.config_set(*serving)
    ground.strike(job)
    ground.settle()
    _works_on(ground)


@fault(
    "W11",
    "chain: kill -9 of a worker after the body, before the result is stored",
    stock=SHORT,
    store=POSTGRESQL,
    remark=SHORT_REMARK,
)
def chain_and_a_kill_before_the_commit(ground: Ground) -> None:
    _kill_before_the_commit(ground, "chain", [], [])


@fault(
    "W11",
    "callback: kill -9 of a worker after the body, before the result is stored",
    sides=(LATE, OURS),
    stock=SHORT,
    store=POSTGRESQL,
    remark=SHORT_REMARK,
)
def callback_and_a_kill_before_the_commit(ground: Ground) -> None:
    _kill_before_the_commit(ground, "link")


def _kill_before_the_commit(ground: Ground, kind: str, *args: list[object]) -> None:
    worker = ground.worker()
    ground.hold(BEFORE_COMMIT)
    first, following = ground.enqueue_linked(kind, "work", *args, count=2)
    ground.held(first)
    worker.kill()
    ground.release(BEFORE_COMMIT)
    _have_it_delivered_again(ground, following)


@fault(
    "W11",
    "chain: kill -9 of a worker after the result is stored, before anything else",
    sides=(LATE, OURS),
    stock=SHORT,
    store=POSTGRESQL,
    remark=SHORT_REMARK,
)
def chain_and_a_kill_after_the_commit(ground: Ground) -> None:
    gate, sql = ground.gate(), ground.sql_proxy()
    worker = ground.worker()
    ground.straight_to_sql()
    first, following = ground.enqueue_linked("chain", "until", [gate], [gate], count=2)
    sql.hold_commit_of(first)
    ground.open(gate)
    _await_commit(ground, sql, first)
    worker.kill()
    _have_it_delivered_again(ground, following)


@fault("W11", "chain: Redis is full (noeviction) while the first step ends", store=POSTGRESQL)
def chain_while_redis_is_full(ground: Ground) -> None:
    gate = ground.gate()
    ground.tried_worker()
    first, following = ground.enqueue_linked("chain", "until", [gate], [gate], count=2)
    ground.started(first)
    ground.client.config_set(*FULL)
    ground.open(gate)
    ground.ended(2)
    ground.sleep(3)
    ground.client.config_set(*ROOM)
    ground.strike(following)
    ground.settle()


@fault("W12", "chord: kill -9 of the worker that finishes the last part, before it is stored", store=POSTGRESQL)
def chord_and_a_kill_before_the_commit(ground: Ground) -> None:
    gate = ground.gate()
    worker, (_, last, body) = _chord(ground, gate)
    ground.hold(BEFORE_COMMIT)
    ground.open(gate)
    ground.held(last)
    worker.kill()
    ground.release(BEFORE_COMMIT)
    _have_it_delivered_again(ground, body)


@fault(
    "W12",
    "chord: kill -9 of the worker that finishes the last part, after it is stored",
    sides=(LATE, OURS),
    store=POSTGRESQL,
)
def chord_and_a_kill_after_the_commit(ground: Ground) -> None:
    gate, sql = ground.gate(), ground.sql_proxy()
    worker, (_, last, body) = _chord(ground, gate)
    ground.straight_to_sql()
    sql.hold_commit_of(last)
    ground.open(gate)
    _await_commit(ground, sql, last)
    worker.kill()
    _have_it_delivered_again(ground, body)


def _chord(ground: Ground, gate: str) -> tuple[Worker, list[str]]:
    """A chord of two parts, of which the first is done and the second waits for the gate."""
    worker, opened = ground.worker(children=2), ground.gate()
    ground.open(opened)
    jobs = ground.enqueue_linked("chord", "until", [opened], [gate], count=3)
    ground.done(jobs[0])
    ground.started(jobs[1])
    return worker, jobs
