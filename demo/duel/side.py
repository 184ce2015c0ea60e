"""One side of the duel: servers of its own, two workers, a producer, and what can be done to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from demo.duel import effects, producer
from demo.duel.command import STOCK
from demo.duel.judge import Attempt
from demo.duel.postgres import Postgres
from demo.duel.processes import Deaths, Worker
from demo.duel.proxy import Proxy
from demo.duel.record import QUEUE, Record, Store
from demo.duel.redis_server import RedisServer
from penstock.embedded.marked import MARK, end_clients
from penstock.ledger import schema, session

PENSTOCK = "penstock"
ROOT = Path(__file__).parents[2]
CHILDREN = 4
CUT, KILLED = "w1", "w2"
"""The worker whose connections are cut, which takes a proxy; and the one that is killed, and replaced."""
MADE_OF = {
    STOCK: {"transport": "kombu.transport.redis:", "backend": "celery.backends.database:DatabaseBackend"},
    PENSTOCK: {"transport": "penstock.broker.", "backend": "penstock.ledger."},
}
START_SECONDS, VICTIM_SECONDS = 60.0, 2.0


class NotReady(Exception):
    """A side does not work as it should before anything was done to it."""


@dataclass
class Strike:
    """What a fault met on this side.

    Attributes:
        fault: its name.
        begun: when it began.
        hit: when the blow itself fell: of a kill, after the freeze.
        ended: when it was over; None while it lasts.
        jobs: those that ran in what was struck.
    """

    fault: str
    begun: float
    hit: float
    ended: float | None = None
    jobs: set[str] = field(default_factory=set)


class Side:
    """Enter it to have its servers run; everything that it started is gone afterwards."""

    def __init__(self, name: str, folder: Path, disk: Path, template: Path, run: str) -> None:
        self.name, self._folder, self._disk, self._template = name, folder, disk, template
        self._run = f"{run}-{name}"
        self._stack = ExitStack()
        self._workers: dict[str, Worker] = {}
        self._frozen: list[int] = []
        self.strikes: list[Strike] = []
        self.state = dict.fromkeys((CUT, KILLED, "SQL"), "up")
        """What the screen shows of workers and database."""
        self.rate: float | None = None
        """Jobs per second from a filled queue."""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        enter = self._stack.enter_context
        self.redis = enter(RedisServer(self._disk / "redis"))
        self.sql = enter(Postgres(self._disk / "postgres", self._template))
        if self.name == PENSTOCK:
            schema.upgrade(self.sql.url)
            session.close_all()
        self._proxy = enter(Proxy(self.redis.port))
        self._deaths = enter(Deaths())
        self.record = Record(self.name, self._folder, self.sql, self.redis, self._deaths)
        self._stack.callback(self.record.close)
        self._stack.callback(end_clients, self._run)
        self._stack.callback(self._kill_workers)
        for name in (CUT, KILLED):
            self._begin(name)
        self.producer = enter(Producer(self.name, self._environment(self.redis.port), self._folder / "producer.log"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def store(self) -> Store:
        """Another way to its rows."""
        return Store(self.name, self.sql)

    def wait_until_ready(self) -> None:
        """Returns when both workers have worked.

        Raises:
            NotReady: they have not in time, or are not made as this side's should be.
        """
        deadline = time.monotonic() + START_SECONDS
        while not all(self.record.is_ready(worker.pid) for worker in self._workers.values()):
            self._check_in_time(deadline, "its workers are not ready")
        for portrait in self.record.portraits.values():
            self._check(portrait)
        self.producer.ask(do="send", seconds=[0.05] * 2 * CHILDREN, queue=QUEUE)
        while not self._has_done_everything():
            self._check_in_time(deadline, "its first jobs are not recorded")

    # -- what is done to it -------------------------------------------------------------------------------------

    def kill_child(self, fault: str) -> None:
        """kill -9 of a process of the pool, in the middle of a job.

        Raises:
            NotReady: it runs nothing, for longer than a worker needs to start.
        """
        deadline = time.monotonic() + START_SECONDS
        while (victim := self._victim(self._workers[CUT])) is None:
            self._check_in_time(deadline, f"no child of {CUT} runs a job")
        now = time.monotonic()
        self._deaths.note([victim.pid], now)
        with suppress(ProcessLookupError):
            os.kill(victim.pid, 9)
        self.strikes.append(Strike(fault, now, now, now, {victim.job}))

    def freeze_worker(self, fault: str) -> None:
        """SIGSTOP of a whole worker."""
        self._victim(self._workers[KILLED])
        self._frozen = self._workers[KILLED].freeze()
        now = time.monotonic()
        self.state[KILLED] = "frozen"
        self.strikes.append(Strike(fault, now, now, None, self._running_in(self._frozen)))

    def kill_worker(self, fault: str) -> None:
        """kill -9 of it with everything that belongs to it, as when its host is lost."""
        now = time.monotonic()
        self._deaths.note(self._frozen, now)
        self._workers[KILLED].kill(self._frozen)
        self._frozen = []
        self.state[KILLED] = "killed"
        self.strikes[-1].hit = self.strikes[-1].ended = now

    def replace_worker(self, fault: str) -> None:
        """Starts another one of the same name, as a supervisor does."""
        self._begin(KILLED)
        self.state[KILLED] = "up"

    def cut_connections(self, fault: str) -> None:
        """Resets all connections of a worker to Redis."""
        self._victim(self._workers[CUT])
        jobs = self._running_in(self._workers[CUT].everyone())
        self._proxy.cut()
        now = time.monotonic()
        self.strikes.append(Strike(fault, now, now, now, jobs))

    def stop_sql(self, fault: str) -> None:
        """Stops the database at once."""
        self.strikes.append(Strike(fault, (now := time.monotonic()), now))
        self.state["SQL"] = "down"
        self.sql.stop()

    def start_sql(self, fault: str) -> None:
        """Starts it again.

        Raises:
            NotReady: it does not start.
        """
        if not self.sql.start():
            raise NotReady(f"{self.name}: PostgreSQL does not start again")
        self.state["SQL"] = "up"
        self.strikes[-1].ended = time.monotonic()

    # -- inside -------------------------------------------------------------------------------------------------

    def _begin(self, name: str) -> None:
        options = ["worker", "-l", "WARNING", "-c", str(CHILDREN), "-n", f"{name}@duel"]
        port = self._proxy.port if name == CUT else self.redis.port
        self._workers[name] = Worker(
            name,
            [sys.executable, "-m", "demo.duel.command", self.name, *options],
            self._environment(port),
            ROOT,
            self._folder / f"{name}.log",
        )

    def _environment(self, port: int) -> dict[str, str]:
        broker = f"redis://127.0.0.1:{port}/0"
        own = {"result_backend": f"penstock.ledger.backend:LedgerBackend+{self.sql.url}"}
        stocks = {"result_backend": f"db+{self.sql.url}", "task_acks_late": True}
        config = {"broker_url": broker, "broker_connection_retry_on_startup": True}
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            MARK: self._run,
            "PYTHONPATH": str(ROOT),
            "DUEL_CONFIG": json.dumps(config | (own if self.name == PENSTOCK else stocks)),
            "REDIS_URL": broker,
            "DATABASE_URL": self.sql.url,
            "PENSTOCK_VAR": str(self._disk / "var"),
            effects.FILE: str(self.record.effects_file),
            producer.ACCEPTED: str(self.record.accepted_file),
        }

    def _victim(self, worker: Worker) -> Attempt | None:
        """What the worker runs when it is struck: the longest job. Waits a moment for one that takes seconds."""
        deadline = time.monotonic() + VICTIM_SECONDS
        while True:
            children = worker.children()
            running = [attempt for attempt in self.record.running() if attempt.pid in children]
            longest = max(running, key=lambda attempt: (attempt.seconds, attempt.begun), default=None)
            if time.monotonic() > deadline or (longest is not None and longest.seconds >= 1):
                return longest
            time.sleep(0.02)

    def _running_in(self, pids: Sequence[int]) -> set[str]:
        return {attempt.job for attempt in self.record.running() if attempt.pid in pids}

    def _check(self, portrait: dict[str, Any]) -> None:
        wrong = [part for part, prefix in MADE_OF[self.name].items() if not portrait[part].startswith(prefix)]
        if wrong or (self.name == STOCK and portrait["ours"]) or not portrait["acks_late"]:
            raise NotReady(f"{self.name}: its worker is not made as it should be: {portrait}")

    def _has_done_everything(self) -> bool:
        self.record.look()
        evidence = self.record.evidence()
        return evidence.accepted.keys() <= evidence.recorded.keys()

    def _check_in_time(self, deadline: float, what: str) -> None:
        for worker in self._workers.values():
            if worker.has_ended:
                raise NotReady(f"{self.name}: {worker.name} has ended")
        if time.monotonic() > deadline:
            raise NotReady(f"{self.name}: {what} after {START_SECONDS:.0f} s")
        time.sleep(0.1)

    def _kill_workers(self) -> None:
        for worker in self._workers.values():
            worker.kill(self._frozen)


class Producer:
    """A process that enqueues; asked and answered line by line, by one thread at a time."""

    def __init__(self, side: str, environment: dict[str, str], log: Path) -> None:
        self._lock = threading.Lock()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demo.duel.producer", side],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._process.kill()
            self._process.communicate()

    def ask(self, **request: Any) -> Any:
        """One request and its answer.

        Raises:
            NotReady: the producer has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise NotReady("a producer has ended")
        return json.loads(answer)
