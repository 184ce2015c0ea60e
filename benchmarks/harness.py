"""Servers and processes to measure, and how to measure them: one side at a time, in turns, medians.

Each side has a Redis server of its own, started here with the same options, and processes of its own, in which the
other side's code is not loaded; both are asserted, not assumed.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis

from benchmarks.marks import Marks

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
STOCK, OURS = SIDES = ("stock", "ours")
START_SECONDS, STOP_SECONDS, ANSWER_SECONDS = 30.0, 20.0, 120.0
DATABASE = os.environ.get("BENCH_DATABASE", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
"""A PostgreSQL on which databases may be made."""
SERVER_OPTIONS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    # A rewrite in the middle of one side's turn would be charged to that side.
    "auto-aof-rewrite-percentage": "0",
    "maxmemory-policy": "noeviction",
    "loglevel": "warning",
}


class BenchmarkError(Exception):
    """The run says nothing: something did not start, did not end, or was not what it claimed to be."""


@dataclass
class Bench:
    """What a figure measures with.

    Attributes:
        folder: a temporary one.
        quick: a tenth of the work, to see that it runs; its figures mean little.
        parked: jobs that the figure of parked jobs parks.
        rows: jobs in the ledger of the figure that asks it; None: as many as it takes to say something.
        keep: whether that ledger stays for the next run.
        ran: what the processes turned out to be made of, by side.
    """

    folder: Path
    quick: bool
    parked: int
    stack: ExitStack
    rows: int | None = None
    keep: bool = False
    ran: dict[str, dict[str, str]] = field(default_factory=dict)
    _servers: dict[str, Server] = field(default_factory=dict)

    def amount(self, full: int) -> int:
        """``full``, or a tenth in a quick run."""
        return full // 10 if self.quick else full

    def server(self, side: str) -> Server:
        """The side's server, emptied."""
        if side not in self._servers:
            self._servers[side] = self.stack.enter_context(running_server(self.folder / f"redis-{side}"))
            self._note(side, self._servers[side].facts())
        self._servers[side].client.flushall()
        return self._servers[side]

    def results_in_sql(self, side: str) -> str:
        """Celery's ``result_backend`` of the side for an empty database on PostgreSQL."""
        url = self.stack.enter_context(new_database())
        if side == STOCK:
            return f"db+{url}"
        # Here, because this module is loaded on the stock side as well, which must know nothing of it.
        schema = importlib.import_module("penstock.ledger.schema")
        schema.upgrade(url)
        return f"penstock.ledger.backend:LedgerBackend+{url}"

    @contextmanager
    def worker(self, side: str, server: Server, *, results: bool | str = True) -> Iterator[Worker]:
        """A worker of the side on the server, ready when entered.

        Args:
            results: whether they are kept, in Redis; or the ``result_backend`` that keeps them.
        """
        shutil.rmtree(self._facts, ignore_errors=True)
        self._facts.mkdir()
        worker = Worker(side, self._environment(side, server, results))
        try:
            worker.wait_until_ready()
            yield worker
        finally:
            worker.stop()
        facts = worker.facts()
        if isinstance(results, str):
            del facts["backend"]  # Another than in the rest of the run; the figure says which.
        self._note(side, facts)

    @contextmanager
    def caller(self, side: str, server: Server, *, results: bool | str = True) -> Iterator[Caller]:
        """A process of the side that calls functions of figures."""
        caller = Caller(side, self._environment(side, server, results))
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


@dataclass(frozen=True)
class Usage:
    """What a server has done since it started."""

    commands: int
    cpu_us: float
    bytes: int

    def __sub__(self, before: Usage) -> Usage:
        return Usage(self.commands - before.commands, self.cpu_us - before.cpu_us, self.bytes - before.bytes)


class Server:
    """A running Redis."""

    def __init__(self, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}"
        self.client = redis.Redis(host="127.0.0.1", port=port)

    def usage(self) -> Usage:
        """Commands without this one; CPU of all its threads, user and system; bytes in both directions."""
        info = self.client.info("everything")
        return Usage(
            commands=sum(value["calls"] for name, value in info.items() if name.startswith("cmdstat_"))
            - info.get("cmdstat_info", {}).get("calls", 0),
            cpu_us=(info["used_cpu_user"] + info["used_cpu_sys"]) * 1e6,
            bytes=info["total_net_input_bytes"] + info["total_net_output_bytes"],
        )

    def memory(self) -> int:
        """Bytes in use."""
        return int(self.client.info("memory")["used_memory"])

    def facts(self) -> dict[str, str]:
        """Version and durability."""
        info = self.client.info("everything")
        sync = self.client.config_get("appendfsync")["appendfsync"]
        aof = f"AOF {sync}" if info["aof_enabled"] else "no AOF"
        return {"server": f"{info.get('server_name', 'redis')} {info['redis_version']}, {aof}"}


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """A Redis on a free port of the loopback."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise BenchmarkError("there is no redis-server on the PATH; install Redis 7 or Valkey 8")
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [word for name, value in SERVER_OPTIONS.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(
        [program, "--port", str(port), "--dir", str(folder), *options], stdout=subprocess.DEVNULL
    )
    server = Server(port)
    try:
        wait_for(lambda: _answers(server.client), "Redis answers", START_SECONDS)
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@contextmanager
def new_database() -> Iterator[str]:
    """Address of an empty database on PostgreSQL, which is removed at the end."""
    from sqlalchemy import create_engine, exc, make_url, text

    name = f"penstock_benchmark_{os.urandom(4).hex()}"
    engine = create_engine(DATABASE, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            try:
                yield make_url(DATABASE).set(database=name).render_as_string(hide_password=False)
            finally:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    except exc.OperationalError as error:
        raise BenchmarkError(f"no PostgreSQL to measure with; name one in BENCH_DATABASE ({error.orig})") from error
    finally:
        engine.dispose()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


class Side:
    """A process of one side; see :mod:`benchmarks.side`."""

    def __init__(self, side: str, role: str, environment: dict[str, str]) -> None:
        self.side = side
        self._log = Path(environment["BENCH_LOG"])
        command = [sys.executable, "-m", "benchmarks.side", side, role]
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


class Worker(Side):
    """A worker of a side."""

    def __init__(self, side: str, environment: dict[str, str]) -> None:
        super().__init__(side, "worker", environment)
        self._facts = Path(environment["BENCH_FACTS"])

    def wait_until_ready(self) -> None:
        """Returns once it consumes."""
        ready = self._facts / f"{self.process.pid}.json"
        wait_for(lambda: ready.exists() or self.process.poll() is not None, "a worker is ready", START_SECONDS)
        if not ready.exists():
            raise self.failure("the worker ended at once")

    def facts(self) -> dict[str, str]:
        """What it was made of, after its end; checked for every process that told."""
        told = {file.stem: json.loads(file.read_text()) for file in self._facts.glob("*.json")}
        for facts in told.values():
            self.check_origin(facts["penstock"])
        parent = told[str(self.process.pid)]
        if len(told) < 2:
            raise self.failure("no child told what it had loaded")
        return {name: parent[name] for name in ("pool", "transport", "backend")}

    def rss(self) -> int:
        """Resident bytes of all its processes."""
        return sum(process.memory_info().rss for process in self._family())

    def cpu_us(self) -> float:
        """What all its processes have used of processors so far, user and system; to 10 ms for each."""
        times = [process.cpu_times() for process in self._family()]
        return sum(time.user + time.system for time in times) * 1e6

    def _family(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


def turns(rounds: int) -> Iterator[str]:
    """Each side once per round, the other one first in the next: what warms up or drifts hits both alike."""
    for number in range(rounds):
        yield from SIDES if number % 2 == 0 else SIDES[::-1]


def wait_for(condition: Callable[[], T], what: str, timeout: float) -> T:
    """The first truthy value of ``condition``."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)
    return value


def percentile(values: list[float], percent: float) -> float:
    """The value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
