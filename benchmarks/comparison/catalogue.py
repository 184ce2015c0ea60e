"""Every system of the comparison, at the fastest of its documented settings, on two processes (or as many as it says).

All have hiredis where they speak to Redis from Python; log levels are WARNING.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.comparison.environment import Before, Environment, Node, Own, Python
from benchmarks.comparison.leftovers import READY
from benchmarks.comparison.system import Database, System

CELERY = Python("celery", ("celery", "kombu", "redis", "hiredis", "sqlalchemy", "psycopg"))
BARE = Python("bare", ("redis", "hiredis", "psycopg"))
PENSTOCK = Own(("penstock", "celery", "kombu", "redis", "hiredis", "sqlalchemy", "psycopg"))
BEFORE = Before(PENSTOCK.packages, "3baefbb93972770c1f4b281f1204c8e13d936ac4")
"""The last commit before arguments had types and children kinds."""
BULLMQ = Node("bullmq")
CELERY_PENDING = (*READY, "unacked")
BARE_PENDING = ("bare", "bare:held:*", "bare:waiting:*")
OURS_PENDING = (*READY, "penstock:inflight:*", "penstock:parked:*")
LEDGER = "penstock.ledger.backend:LedgerBackend+{database}"
WORKER = ("-m", "benchmarks.side")
COROUTINES = "benchmarks.applications.coroutines"


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return "-m", f"benchmarks.peers.{name}", *arguments


def _bare() -> list[System]:
    claims = "claims 100 into a hash, calls, acknowledges 100 with the next claim"
    return [
        System(
            name="bare",
            title="bare loop x 2",
            keeps="nothing",
            settings=claims,
            environment=BARE,
            producer=_module("bare", "produce"),
            workers=[_module("bare", "work")] * 2,
            pending=BARE_PENDING,
            fewest=50_000,
            most=250_000,
        ),
        System(
            name="bare_recorded",
            title="bare loop x 2 that writes the same fenced row",
            keeps="rows (PostgreSQL)",
            settings=claims.replace("100", "500") + "; COPY and one INSERT for each claim, before it is acknowledged",
            environment=BARE,
            producer=_module("bare_recorded", "produce"),
            workers=[_module("bare_recorded", "work")] * 2,
            pending=BARE_PENDING,
            database="ledger",
            kept_rows="SELECT count(*) FROM jobs",
            fewest=25_000,
            most=150_000,
        ),
    ]


def _celery(
    name: str,
    title: str,
    *,
    keeps: str = "nothing",
    pool: str = "processes",
    children: int = 2,
    workers: int = 1,
    backend: str = "",
    database: Database = "none",
    most: int = 10_000,
) -> System:
    variables = {"BENCH_POOL": pool, "BENCH_CHILDREN": str(children), "BENCH_EVENTS": "no"}
    if backend:
        variables |= {"BENCH_RESULTS": "yes", "BENCH_RESULT_BACKEND": backend}
    return System(
        name=name,
        title=f"stock Celery {title}",
        keeps=keeps,
        settings=f"-P {'prefork' if pool == 'processes' else pool} -c {children}, no events"
        + ("" if backend else ", results ignored"),
        environment=CELERY,
        producer=_module("celery"),
        workers=[(*WORKER, "stock", "worker")] * workers,
        pending=CELERY_PENDING,
        database=database,
        kept_rows="SELECT count(*) FROM celery_taskmeta" if database == "empty" else "",
        variables=variables,
        most=most,
    )


def _stock() -> list[System]:
    return [
        _celery("celery_none", "prefork -c2"),
        _celery("celery_redis", "prefork -c2, Redis results", keeps="Redis, 1 day", backend="{redis}/1"),
        _celery(
            "celery_sql",
            "prefork -c2, SQL results",
            keeps="rows (PostgreSQL), results as blobs",
            backend="db+{database}",
            database="empty",
        ),
        _celery("celery_solo", "solo x 2", pool="solo", children=1, workers=2),
        _celery("celery_threads", "threads x 2", pool="threads", children=8, workers=2),
        _celery("celery_gevent", "gevent x 2", pool="gevent", children=100, workers=2),
    ]


def _peer(
    name: str,
    title: str,
    worker: Sequence[str],
    *,
    pending: Sequence[str],
    keeps: str,
    settings: str,
    packages: Sequence[str],
    workers: int = 1,
    fewest: int = 1000,
    most: int = 20_000,
) -> System:
    return System(
        name=name,
        title=title,
        keeps=keeps,
        settings=settings,
        environment=Python(name, packages),
        producer=_module(name),
        workers=[worker] * workers,
        pending=pending,
        fewest=fewest,
        most=most,
    )


def _python_peers() -> list[System]:
    return [
        _peer(
            "huey",
            "huey, process x 2",
            ("-m", "huey.bin.huey_consumer", "benchmarks.peers.huey.huey", "-k", "process", "-w", "2", "-q", "-n"),
            pending=("huey.redis.bench",),
            keeps="nothing; a crash loses jobs",
            settings="pops, no acknowledgement; -k process -w 2 -n, results off",
            packages=("huey", "redis", "hiredis"),
            fewest=5000,
            most=40_000,
        ),
        _peer(
            "dramatiq",
            "dramatiq, 2 x 8 threads",
            ("-m", "dramatiq", "benchmarks.peers.dramatiq", "-p", "2", "-t", "8"),
            pending=("dramatiq:default", "dramatiq:default.msgs", "dramatiq:__acks__.*"),
            keeps="nothing",
            settings="-p 2 -t 8",
            packages=("dramatiq", "redis", "hiredis"),
        ),
        _peer(
            "taskiq",
            "taskiq on a list x 2",
            ("-m", "taskiq", "worker", "benchmarks.peers.taskiq:broker", "--workers", "2", "--log-level", "WARNING"),
            pending=("bench",),
            keeps="nothing; a crash loses jobs",
            settings="pops, no acknowledgement; --workers 2, asynchronous task",
            packages=("taskiq", "taskiq-redis", "redis", "hiredis"),
        ),
        _peer(
            "saq",
            "saq x 2",
            ("-m", "saq", "benchmarks.peers.saq.settings", "--quiet"),
            pending=("saq:bench:queued", "saq:bench:active"),
            keeps="Redis, 10 minutes",
            settings="concurrency 10, asynchronous task",
            packages=("saq", "redis", "hiredis"),
            workers=2,
        ),
        _peer(
            "arq",
            "arq x 2 (maintained no more than for security)",
            ("-m", "arq", "benchmarks.peers.arq.WorkerSettings"),
            pending=("arq:queue", "arq:in-progress:*"),
            keeps="nothing",
            settings="max_jobs 100, poll_delay 0.01 s (0.5 s by default), keep_result 0, asynchronous task",
            packages=("arq", "redis", "hiredis"),
            workers=2,
        ),
        _peer(
            "rq",
            "rq, SimpleWorker x 2",
            ("-m", "rq.cli", "worker", "-w", "rq.SimpleWorker", "-u", "{redis}", "--quiet", "bench"),
            pending=("rq:queue:bench", "rq:wip:bench", "rq:intermediate:*"),
            keeps="Redis, 500 s",
            settings="the worker that does not fork for each job",
            packages=("rq", "redis", "hiredis"),
            workers=2,
            most=5000,
        ),
    ]


def _others() -> list[System]:
    worker = ("-m", "procrastinate", "--app", "benchmarks.peers.procrastinate.app")
    return [
        System(
            name="procrastinate",
            title="procrastinate x 2 (PostgreSQL)",
            keeps="rows (PostgreSQL)",
            settings="concurrency 10, asynchronous task",
            environment=Python("procrastinate", ("procrastinate", "psycopg")),
            producer=_module("procrastinate"),
            workers=[(*worker, "worker", "-c", "10", "-q", "bench")] * 2,
            open_rows="SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
            kept_rows="SELECT count(*) FROM procrastinate_jobs",
            database="empty",
            prepare=(*worker, "schema", "--apply"),
            most=5000,
        ),
        System(
            name="bullmq",
            title="BullMQ x 2 (Node)",
            keeps="Redis, for good",
            settings="concurrency 1 (its fastest for no-op jobs), nothing removed",
            environment=BULLMQ,
            producer=[str(BULLMQ.folder / "producer.mjs")],
            workers=[[str(BULLMQ.folder / "worker.mjs")]] * 2,
            pending=("bull:bench:wait", "bull:bench:active"),
            fewest=5000,
            most=40_000,
        ),
    ]


def _ours(
    name: str,
    title: str,
    *,
    children: int = 2,
    pool: str = "",
    kind: str = "",
    keeps: str = "rows (PostgreSQL)",
    database: Database = "ledger",
    environment: Environment = PENSTOCK,
    prepare: Sequence[str] = (),
    fewest: int = 25_000,
    most: int = 200_000,
) -> System:
    variables: Mapping[str, str] = {"BENCH_POOL": pool, "BENCH_CHILDREN": str(children), "BENCH_EVENTS": "yes"}
    is_coroutine = kind == "asyncio"
    if kind:
        variables = {**variables, "BENCH_KIND": kind, "BENCH_IMPORTS": COROUTINES if is_coroutine else ""}
    if database != "none":
        variables = {**variables, "BENCH_RESULTS": "yes", "BENCH_RESULT_BACKEND": LEDGER}
    return System(
        name=name,
        title=f"Penstock {title}",
        keeps=keeps,
        settings=f"-c {children}, -E (events on)"
        + (f", -P {pool}" if pool else "")
        + (f", kind {kind}" if kind else "")
        + (", asynchronous task" if is_coroutine else ""),
        environment=environment,
        producer=_module("ours", *(("coroutine",) if is_coroutine else ())),
        workers=[(*WORKER, "ours", "worker")],
        pending=OURS_PENDING,
        database=database,
        kept_rows="SELECT count(*) FROM jobs" if database != "none" else "",
        prepare=prepare,
        variables=variables,
        is_ours=True,
        fewest=fewest,
        most=most,
    )


def _penstock() -> list[System]:
    return [
        _ours("penstock_none", "-c2, nothing kept", keeps="nothing", database="none"),
        _ours("penstock_none_1", "-c1, nothing kept", keeps="nothing", database="none", children=1),
        _ours("penstock_sqlite", "-c2 on SQLite", keeps="rows (SQLite)", database="ledger in a file"),
        _ours("penstock_pg", "-c2 on PostgreSQL"),
        _ours("penstock_pg_1", "-c1 on PostgreSQL", children=1),
        _ours(
            "penstock_before",
            "-c2 on PostgreSQL, before kinds and types",
            environment=BEFORE,
            # Its own tables: those of today may be others.
            database="empty",
            prepare=("-c", "from penstock.ledger.schema import upgrade; upgrade('{database}')"),
        ),
        _ours("penstock_asyncio", "-c2 of kind asyncio", kind="asyncio", fewest=5000),
        _ours("penstock_asyncio_1", "-c1 of kind asyncio", kind="asyncio", children=1, fewest=5000),
        _ours("penstock_threads_1", "-c1 of kind threads", kind="threads", children=1, fewest=5000),
        _ours(
            "penstock_prefork",
            "-P processes -c2, PostgreSQL",
            pool="processes",
            fewest=1000,
            most=20_000,
        ),
    ]


SYSTEMS: dict[str, System] = {
    system.name: system for system in (*_bare(), *_stock(), *_python_peers(), *_others(), *_penstock())
}
HEART = ("bare", "bare_recorded", "celery_none", "celery_sql", "huey", "penstock_pg")
"""What a quick run measures, and the keys of its last line."""
