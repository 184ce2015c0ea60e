"""Servers and processes to measure, and how to measure them: one side at a time, in turns, medians.

Each side has a Redis server of its own, started here with the same options, and processes of its own, in which the
other side's code is not loaded; both are asserted, not assumed.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from benchmarks import facts
from benchmarks.conditions import BenchmarkError, wait_for
from benchmarks.marks import Marks
from benchmarks.servers import Server, new_database, running_server

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
STOCK, OURS = SIDES = ("stock", "ours")
PREFORK, CONFIGURED = "processes", ""
"""Celery's word for its stock prefork pool, and none: what the application configures."""
START_SECONDS, STOP_SECONDS, ANSWER_SECONDS = 30.0, 20.0, 120.0


@dataclass
class Bench:
    """What a figure measures with.

    Attributes:
        folder: a temporary one.
        smoke: a tenth of the work, to see that it runs; its figures mean little.
        parked: jobs that the figure of parked jobs parks.
        rows: jobs in the ledger of the figure that asks it; None: as many as it takes to say something.
        keep: whether that ledger stays for the next run.
        ran: what the processes turned out to be made of, by side.
    """

    folder: Path
    smoke: bool
    parked: int
    stack: ExitStack
    rows: int | None = None
    keep: bool = False
    ran: dict[str, dict[str, str]] = field(default_factory=dict)
    _servers: dict[str, Server] = field(default_factory=dict)

    def amount(self, full: int) -> int:
        """``full``, or a tenth to see that it runs."""
        return full // 10 if self.smoke else full

    def server(self, side: str) -> Server:
        """The side's server, emptied."""
        if side not in self._servers:
            self._servers[side] = self.stack.enter_context(running_server(self.folder / f"redis-{side}"))
            self._note(side, self._servers[side].facts())
        self._servers[side].client.flushall()
        return self._servers[side]

    def results_in_sql(self, side: str) -> str:
        """Celery's ``result_backend`` of the side for an empty database on PostgreSQL, which is there until the end."""
        return self.stack.enter_context(self.sql(side)).backend

    @contextmanager
    def sql(self, side: str) -> Iterator[Sql]:
        """An empty database on PostgreSQL; of our side, with the ledger's tables."""
        # Here, because this module is loaded on the stock side as well, which must know nothing of it.
        from sqlalchemy import create_engine

        with new_database() as url:
            if side == STOCK:
                backend = f"db+{url}"
            else:
                importlib.import_module("penstock.ledger.schema").upgrade(url)
                backend = f"penstock.ledger.backend:LedgerBackend+{url}"
            engine = create_engine(url)
            yield Sql(backend, engine)
            engine.dispose()

    @contextmanager
    def worker(self, side: str, server: Server, *, results: bool | str = True, pool: str = PREFORK) -> Iterator[Worker]:
        """A worker of the side on the server, ready when entered.

        Args:
            results: whether they are kept, in Redis; or the ``result_backend`` that keeps them.
            pool: Celery's stock prefork pool, or :data:`CONFIGURED`, which makes no difference to the stock side.
        """
        self._forget_facts()
        worker = Worker(side, self._environment(side, server, results) | {"BENCH_POOL": pool})
        try:
            worker.wait_until_ready()
            yield worker
        finally:
            worker.stop()
        self._note(side, _comparable(worker.facts(), has_own_backend=isinstance(results, str), pool=pool))

    @contextmanager
    def beats(
        self,
        side: str,
        server: Server,
        count: int = 1,
        *,
        results: bool | str = False,
        scheduler: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> Iterator[list[Beat]]:
        """So many of Celery's beats of the side, all at work when entered.

        Args:
            results: as for a worker; of our side, the ``result_backend`` whose ledger has the schedules.
            scheduler: as ``celery beat --scheduler`` takes it; Celery's own if absent.
            variables: further ones of the processes' environment.
        """
        self._forget_facts()
        environment = self._environment(side, server, results) | {"BENCH_SCHEDULER": scheduler} | dict(variables or {})
        beats: list[Beat] = []
        try:
            for _ in range(count):
                beats.append(Beat(side, environment))
            for beat in beats:
                beat.wait_until_ready()
            yield beats
        finally:
            for beat in beats:
                beat.stop()
        for beat in beats:
            self._note(side, beat.facts())

    @contextmanager
    def caller(
        self, side: str, server: Server, *, results: bool | str = True, variables: Mapping[str, str] | None = None
    ) -> Iterator[Caller]:
        """A process of the side that calls functions of figures.

        Args:
            variables: further ones of its environment.
        """
        caller = Caller(side, self._environment(side, server, results) | dict(variables or {}))
        try:
            yield caller
        finally:
            caller.stop()

    def new_marks(self) -> Marks:
        """When jobs of :func:`benchmarks.applications.tasks.note` started: none so far."""
        return Marks.create(self.folder / "marks")

    @property
    def _facts(self) -> Path:
        return self.folder / "facts"

    def _forget_facts(self) -> None:
        shutil.rmtree(self._facts, ignore_errors=True)
        self._facts.mkdir()

    def _environment(self, side: str, server: Server, results: bool | str) -> dict[str, str]:
        keep = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
        return {name: os.environ[name] for name in keep if name in os.environ} | {
            "BENCH_REDIS": server.url,
            "BENCH_RESULTS": "yes" if results else "no",
            "BENCH_RESULT_BACKEND": results if isinstance(results, str) else f"{server.url}/1",
            "BENCH_MARKS": str(self.folder / "marks"),
            "BENCH_FACTS": str(self._facts),
            "BENCH_LOG": str(self.folder / f"{side}.log"),
            "REDIS_URL": f"{server.url}/0",
            "PENSTOCK_VAR": str(self.folder),
        }

    def _note(self, side: str, facts: dict[str, str]) -> None:
        known = self.ran.setdefault(side, {})
        for name, value in facts.items():
            if known.setdefault(name, value) != value:
                raise BenchmarkError(f"{side} ran with {name} {known[name]} and then with {value}")


class Sql(NamedTuple):
    """A database of a side: Celery's ``result_backend`` for it, and a way to look at it."""

    backend: str
    engine: Any


def _comparable(made_of: dict[str, str], *, has_own_backend: bool, pool: str) -> dict[str, str]:
    """Those that must be the same in the whole run, each under the name of what it tells."""
    if has_own_backend:
        del made_of["backend"]  # Another than in the rest of the run; the figure says which.
    if pool == CONFIGURED:
        made_of["configured pool"] = made_of.pop("pool")
    return made_of


class Side:
    """A process of one side; see :mod:`benchmarks.side`."""

    def __init__(self, side: str, role: str, environment: dict[str, str]) -> None:
        self.side = side
        self._log = Path(environment["BENCH_LOG"])
        command = [sys.executable, "-m", "benchmarks.side", side, role]
        self.started = time.monotonic()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if role == "caller" else log,
                stderr=log,
                text=True,
                bufsize=1,
            )

    def stop(self) -> None:
        """Ends it, kindly first."""
        try:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def failure(self, what: str) -> BenchmarkError:
        """An error with the end of the process's log."""
        return BenchmarkError(f"{self.side}: {what}\n{self._log.read_text(errors='replace')[-3000:]}")

    def check_origin(self, has_penstock: bool) -> None:
        """Raises unless penstock is loaded on our side, and on our side only."""
        if has_penstock is not (self.side == OURS):
            raise self.failure(f"penstock is {'' if has_penstock else 'not '}loaded in this process")


class Caller(Side):
    """Runs functions of figures in a process of its side."""

    def __init__(self, side: str, environment: dict[str, str]) -> None:
        super().__init__(side, "caller", environment)

    def call(self, function: Callable[..., T], **arguments: Any) -> T:
        """What the function returns there, called with the side's application."""
        assert_pipe = self.process.stdin, self.process.stdout
        stdin, stdout = assert_pipe
        if stdin is None or stdout is None:
            raise self.failure("no pipes")
        request = {"function": f"{function.__module__}:{function.__qualname__}", "arguments": arguments}
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise self.failure(f"ended while it ran {function.__qualname__}")
        answer = json.loads(line)
        if "error" in answer:
            raise self.failure(answer["error"])
        self.check_origin(answer["penstock"])
        result: T = answer["result"]
        return result


class Runner(Side):
    """A process of a side that goes on until it is stopped, and tells what it is made of once it is at work."""

    role: str

    def __init__(self, side: str, environment: dict[str, str]) -> None:
        super().__init__(side, self.role, environment)
        self._facts = Path(environment["BENCH_FACTS"])

    def wait_until_ready(self) -> None:
        """Returns once it is at work."""
        ready = self._facts / f"{self.process.pid}.json"
        wait_for(lambda: ready.exists() or self.process.poll() is not None, f"a {self.role} is ready", START_SECONDS)
        if not ready.exists():
            raise self.failure(f"the {self.role} ended at once")

    def rss(self) -> int:
        """Resident bytes of all its processes."""
        return sum(process.memory_info().rss for process in self.family())

    def cpu_us(self) -> float:
        """What all its processes have used of processors so far, user and system; to 10 ms for each."""
        times = [process.cpu_times() for process in self.family()]
        return sum(time.user + time.system for time in times) * 1e6

    def family(self) -> list[psutil.Process]:
        """Every process of it."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


class Worker(Runner):
    """A worker of a side."""

    role = "worker"

    def facts(self) -> dict[str, str]:
        """What it was made of, after its end; checked for every process that told."""
        told = facts.read(self._facts)
        for each in told.values():
            self.check_origin(each["penstock"])
        parent = told[self.process.pid]
        if len(told) < 2 and self.side == STOCK:
            raise self.failure("no child told what it had loaded")
        return {name: parent[name] for name in ("pool", "transport", "backend")}


class Beat(Runner):
    """Celery's beat of a side."""

    role = "beat"

    def facts(self) -> dict[str, str]:
        """What it was made of, after its end, under a name that says whose scheduler it is."""
        told = facts.read(self._facts)[self.process.pid]
        self.check_origin(told["penstock"])
        if not told["has_ended"]:
            raise self.failure("a beat has not told what it had loaded in the end")
        name = "scheduler" if told["scheduler"].partition(".")[0] in ("celery", "penstock") else "other scheduler"
        return {name: told["scheduler"]}


def turns(rounds: int) -> Iterator[str]:
    """Each side once per round, the other one first in the next: what warms up or drifts hits both alike."""
    for number in range(rounds):
        yield from SIDES if number % 2 == 0 else SIDES[::-1]


def percentile(values: list[float], percent: float) -> float:
    """The value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
