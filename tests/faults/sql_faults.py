"""What happens to the SQL server of the results while jobs end."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg

from tests.faults.ground import Ground, Skipped, Unplayed, new_ids
from tests.faults.postgres import OWNER, as_nobody
from tests.faults.scenario import POSTGRESQL, SQLITE, fault
from tests.faults.sides import LATE, OURS, Worker

BOTH = (LATE, OURS)
SQL_BOUND = 10.0
WAITS = "its child waits as long, and has the session to itself"
RESULTS = {True: "jobs", False: "celery_taskmeta"}
"""The table that outcomes are written to, by whether the side is ours."""
DISK_MB = 4


@fault("SQL", "restart (immediate) while jobs end", sides=BOTH, store=POSTGRESQL, bound=SQL_BOUND)
def restarted(ground: Ground) -> None:
    with _load(ground):
        for _ in range(3):
            ground.sql.stop()
            time.sleep(0.3)
            ground.sql.start()
            time.sleep(0.3)


@fault(
    "SQL",
    "SIGSTOP of the whole server for 30 s while jobs end",
    sides=BOTH,
    store=POSTGRESQL,
    bound=SQL_BOUND,
    remark="quick run: 5 s",
    not_reproducible=WAITS,
    runs=1,
)
def paused(ground: Ground) -> None:
    with _load(ground):
        ground.sql.pause()
        ground.sleep(5 if ground.quick else 30)
        ground.sql.resume()


@fault("SQL", "connections are terminated in a loop while jobs end", sides=BOTH, store=POSTGRESQL, bound=SQL_BOUND)
def terminated(ground: Ground) -> None:
    with _load(ground):
        ended = 0
        for _ in range(150 if ground.quick else 600):
            ended += ground.sql.terminate_backends()
            time.sleep(0.01)
        ground.remark(f"{ended} connections ended" if ground.quick else "connections ended all the time")


@fault(
    "SQL",
    "the connection is cut between COMMIT and its answer; the job is the first of a chain",
    sides=BOTH,
    store=POSTGRESQL,
    bound=SQL_BOUND,
    not_reproducible="it asks again and finds its own row; its next step was published before",
)
def cut_after_the_commit(ground: Ground) -> None:
    gate, sql = ground.gate(), ground.sql_proxy()
    ground.tried_worker()
    first, following = ground.enqueue_linked("chain", "until", [gate], [gate], count=2)
    sql.drop_commit_of(first)
    ground.open(gate)
    ground.wait(sql.dropped.is_set, "the answer to the COMMIT is lost")
    ground.watch(first, following, seconds=3)
    ground.settle()
    _works_on(ground)


@fault(
    "SQL",
    "deadlock: somebody locks the rows of two jobs in the opposite order",
    sides=BOTH,
    store=POSTGRESQL,
    bound=SQL_BOUND,
    not_reproducible="each of its transactions has one row",
)
def deadlock(ground: Ground) -> None:
    """Two outcomes wait behind a third, so that one transaction has both; each is locked by somebody at that moment."""
    worker, gates = ground.worker(children=3), [ground.gate() for _ in range(3)]
    blocked, *pair = sorted(new_ids(3))
    for job, gate in zip((blocked, *pair), gates, strict=True):
        ground.try_to_enqueue("until", gate, ids=[job])
    ground.started(blocked, *pair)
    # What runs for a second has a row, on our side; stock's rows are made here, as its own STARTED would be.
    ground.sleep(2)
    key, table = ("id" if ground.side.is_ours else "task_id"), RESULTS[ground.side.is_ours]
    if not ground.side.is_ours:
        ground.sql.ask(f"INSERT INTO {table} (id, task_id, status) SELECT nextval('task_id_sequence'), *, 'STARTED' "
                       "FROM unnest(%s::text[])", [blocked, *pair])  # fmt: skip
    lock = f"SELECT 1 FROM {table} WHERE {key} = %s FOR UPDATE"
    with ground.sql.transaction() as first, ground.sql.transaction() as second:
        first.execute(lock, [blocked])
        second.execute(lock, [pair[1]])
        ground.open(gates[0])
        time.sleep(0.5)
        for gate in gates[1:]:
            ground.open(gate)
        time.sleep(0.5)
        first.rollback()
        _wait_for_lock(ground)
        with suppress(psycopg.errors.DeadlockDetected):
            second.execute(lock, [pair[0]])
            time.sleep(1.5)
    if ground.side.is_ours and not ground.sql.complaints("deadlock detected"):
        raise Unplayed("no deadlock came about")
    ground.settle()
    assert not worker.has_ended
    _works_on(ground)


def _wait_for_lock(ground: Ground) -> None:
    """Until a worker's connection waits for a row; PostgreSQL looks for deadlocks a second later."""
    waiting = f"SELECT 1 FROM pg_stat_activity WHERE usename = '{OWNER}' AND wait_event_type = 'Lock'"
    ground.wait(lambda: ground.sql.ask(waiting), "a worker waits for a row that somebody has locked")


@fault(
    "SQL",
    "all transactions are serializable, and another one reads and writes all the time",
    sides=BOTH,
    store=POSTGRESQL,
    settings={"default_transaction_isolation": "serializable"},
    bound=SQL_BOUND,
)
def serialization_failures(ground: Ground) -> None:
    over = threading.Event()
    with _load(ground, workers=2):
        thread = threading.Thread(target=_get_in_the_way, args=(ground, over))
        thread.start()
        time.sleep(2 if ground.quick else 8)
        over.set()
        thread.join(10)
    if not (failures := ground.sql.complaints("could not serialize access")):
        raise Unplayed("no transaction had to begin again")
    ground.remark(f"{failures} failures" if ground.quick else "serialization failures all the time")


def _get_in_the_way(ground: Ground, over: threading.Event) -> None:
    """Reads all outcomes and touches what workers write as well: one of two serializable transactions begins again."""
    table = RESULTS[ground.side.is_ours]
    touch = "UPDATE tallies SET count = count"
    if not ground.side.is_ours:
        newest = f"SELECT ctid FROM {table} ORDER BY date_done DESC LIMIT 5"
        touch = f"UPDATE {table} SET date_done = date_done WHERE ctid IN ({newest})"
    with ground.sql.transaction() as mine:
        while not over.is_set():
            with suppress(psycopg.Error):
                mine.execute(f"SELECT count(*) FROM {table}")
                mine.execute(touch)
                time.sleep(0.02)
                mine.commit()
                continue
            mine.rollback()


@fault(
    "SQL",
    "somebody has the table locked for 20 s",
    sides=BOTH,
    store=POSTGRESQL,
    bound=SQL_BOUND,
    remark="quick run: 4 s",
    not_reproducible=WAITS,
)
def locked(ground: Ground) -> None:
    with _load(ground), ground.sql.transaction() as mine:
        mine.execute(f"LOCK TABLE {RESULTS[ground.side.is_ours]} IN ACCESS EXCLUSIVE MODE")
        ground.sleep(4 if ground.quick else 20)


@fault(
    "SQL",
    "each statement that writes an outcome takes a second",
    sides=BOTH,
    store=POSTGRESQL,
    bound=SQL_BOUND,
    not_reproducible=WAITS,
)
def slow(ground: Ground) -> None:
    ground.tried_worker(children=2)
    table = RESULTS[ground.side.is_ours]
    ground.sql.ask("CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
                   "$$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$")  # fmt: skip
    ground.sql.ask(f"CREATE TRIGGER slow AFTER INSERT ON {table} EXECUTE FUNCTION slowly()")
    begun = time.monotonic()
    ground.enqueue("work", count=6 if ground.quick else 20)
    ground.settle()
    ground.remark(f"{time.monotonic() - begun:.0f} s in all")


@fault("SQL", "no connection is left (idle ones have them all)", sides=BOTH, store=POSTGRESQL, bound=SQL_BOUND)
def out_of_connections(ground: Ground) -> None:
    worker = ground.tried_worker(children=2)
    ground.watch_memory(worker)
    with _all_connections(ground):
        ground.enqueue("work", 0.01, count=40)
        ground.sleep(4 if ground.quick else 15)
    ground.settle()
    _works_on(ground)


@contextmanager
def _all_connections(ground: Ground) -> Iterator[None]:
    """The workers' own are ended first, or they would go on with those."""
    with ExitStack() as held:
        ground.sql.terminate_backends()
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(ground.sql.connect())
        yield


@fault("SQL", "the disk is full", sides=BOTH, store=POSTGRESQL, bound=SQL_BOUND)
def disk_full(ground: Ground) -> None:
    disk = ground.during(_small_disk(ground.folder / "disk"))
    ground.sql.ask(f"CREATE TABLESPACE small LOCATION '{disk / 'tables'}'")
    worker = ground.tried_worker(children=2)
    ground.watch_memory(worker)
    ground.sql.ask(f"ALTER TABLE {RESULTS[ground.side.is_ours]} SET TABLESPACE small")
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    ground.enqueue("bulky", 20_000, count=40)
    ground.sleep(4 if ground.quick else 15)
    filler.unlink()
    ground.settle()
    _works_on(ground)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        raise Skipped("skipped: only root mounts a small disk")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "none", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        raise Skipped("skipped: this machine mounts no disks")
    try:
        tables = folder / "tables"
        tables.mkdir()
        who = as_nobody()
        os.chown(tables, who["user"], who["group"])
        yield folder
    finally:
        # The server still has files open there; it is gone with them in a moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@fault("SQL", "the database is read-only", sides=BOTH, store=POSTGRESQL, bound=SQL_BOUND)
def read_only(ground: Ground) -> None:
    with _load(ground):
        ground.sql.set("default_transaction_read_only", "on")
        ground.sleep(4 if ground.quick else 15)
        ground.sql.set("default_transaction_read_only", "off")


@fault(
    "SQL",
    "SQLite: another process holds the file for 40 s",
    sides=BOTH,
    store=SQLITE,
    bound=SQL_BOUND,
    remark="quick run: 22 s",
    runs=1,
)
def sqlite_busy(ground: Ground) -> None:
    with _load(ground), closing(sqlite3.connect(ground.results_in_sqlite, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        ground.sleep(22 if ground.quick else 40)
        other.rollback()


@contextmanager
def _load(ground: Ground, workers: int = 1) -> Iterator[Worker]:
    """Jobs end all the time, before, during and after what happens inside; then there are others, which run as well."""
    each = [ground.begin_worker(children=2) for _ in range(workers)]
    ground.ready(*each)
    ground.settled(*ground.enqueue("work"))
    ground.watch_memory(each[0])
    ground.enqueue("work", 0.02, count=(200 if ground.quick else 1_000) * workers)
    ground.ended(10)
    yield each[0]
    ground.settle()
    _works_on(ground)


def _works_on(ground: Ground) -> None:
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()
