"""What a system is to the harness: how it is installed and started, when its queue is settled, and what it keeps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks import facts
from benchmarks.comparison.environment import Environment
from benchmarks.conditions import BenchmarkError
from benchmarks.harness import STOP_SECONDS
from benchmarks.servers import Server

Database = Literal["none", "empty", "ledger", "ledger in a file"]
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
ANSWER_SECONDS = 180.0


@dataclass(frozen=True)
class System:
    """One row of the comparison.

    Attributes:
        name: for ``--system``, and the key of its figures.
        title: for people.
        keeps: what it still has of a job that has ended: the fair comparison.
        settings: what was set, for people.
        environment: where it is installed.
        producer: arguments of the environment's program for a process that submits. In all arguments and variables
            ``{redis}`` and ``{database}`` are the addresses of the run.
        workers: the same for each worker process that is started; each may have children.
        pending: keys in Redis, or patterns of keys, that are there as long as a job waits or is held.
        open_rows: the same in SQL: a statement that counts.
        kept_rows: a statement that counts what is kept.
        database: what it needs of SQL.
        prepare: arguments of a process that makes its tables.
        variables: of the processes' environment.
        is_ours: it is Penstock: checked afterwards; every other one must not have loaded anything of it.
        fewest: jobs of one run at least: with fewer of them its start and end weigh too much.
        most: jobs of one run at most.
    """

    name: str
    title: str
    keeps: str
    settings: str
    environment: Environment
    producer: Sequence[str]
    workers: Sequence[Sequence[str]]
    pending: Sequence[str] = ()
    open_rows: str = ""
    kept_rows: str = ""
    database: Database = "none"
    prepare: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = False
    fewest: int = 1000
    most: int = 20_000

    @property
    def has_fenced_rows(self) -> bool:
        """Whether each job must have its row in the ledger afterwards."""
        return self.database in ("ledger", "ledger in a file")


class Deployment:
    """A system's processes around one Redis and one database."""

    def __init__(self, system: System, server: Server, database_url: str, folder: Path) -> None:
        self.system, self.server, self.database_url, self._folder = system, server, database_url, folder
        self._facts, self._log = folder / "facts", folder / f"{system.name}.log"
        shutil.rmtree(self._facts, ignore_errors=True)
        self._facts.mkdir()
        self._log.unlink(missing_ok=True)

    @property
    def marks(self) -> Path:
        """The file in which its jobs note when they start."""
        return self._folder / "marks"

    def prepare(self) -> None:
        """Makes its tables."""
        if self.system.prepare:
            process = self._start(self.system.prepare)
            if process.wait(ANSWER_SECONDS):
                raise self.failure("its tables could not be made")

    @contextmanager
    def producer(self) -> Iterator[Producer]:
        """A process that submits."""
        process = self._start(self.system.producer, has_pipes=True)
        try:
            yield Producer(self, process)
        finally:
            _end([process])

    @contextmanager
    def workers(self) -> Iterator[Workers]:
        """Its worker processes; what they were made of is checked when they have ended."""
        processes: list[subprocess.Popen[str]] = []
        try:
            for arguments in self.system.workers:
                processes.append(self._start(arguments))
            yield Workers(self, processes)
        finally:
            _end(processes)
        self._check_origin()

    def facts(self) -> list[dict[str, Any]]:
        """What each process that told is made of."""
        return [told for _, told in sorted(facts.read(self._facts).items())]

    def failure(self, what: str) -> BenchmarkError:
        """An error with the end of the log."""
        said = self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""
        return BenchmarkError(f"{self.system.name}: {what}\n{said}")

    def check(self, has_penstock: bool) -> None:
        """Raises unless Penstock is loaded in Penstock's own processes, and in no others."""
        if has_penstock is not self.system.is_ours:
            raise self.failure(f"penstock is {'' if has_penstock else 'not '}loaded in a process of it")

    def _check_origin(self) -> None:
        told = self.facts()
        # Node's cannot load it, and tell nothing.
        if not told and self.system.environment.program() != "node":
            raise self.failure("no worker told what it had loaded")
        for each in told:
            self.check(each["penstock"])

    def _start(self, arguments: Sequence[str], *, has_pipes: bool = False) -> subprocess.Popen[str]:
        command = [self.system.environment.program(), *map(self._filled, arguments)]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                env=self._variables(),
                cwd=self.system.environment.root,
                text=True,
                bufsize=1,
                stdin=subprocess.PIPE if has_pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if has_pipes else log,
                stderr=log,
            )

    def _variables(self) -> dict[str, str]:
        return {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "BENCH_REDIS": self.server.url,
            "BENCH_DATABASE_URL": self.database_url.replace("postgresql+psycopg://", "postgresql://"),
            "BENCH_RESULTS": "no",
            "BENCH_RESULT_BACKEND": "",
            "BENCH_MARKS": str(self.marks),
            "BENCH_FACTS": str(self._facts),
            "REDIS_URL": f"{self.server.url}/0",
            "PENSTOCK_VAR": str(self._folder),
            # Whenever Celery needs some configuration it looks for a `celeryconfig`, and would find this project's.
            "CELERY_CONFIG_MODULE": "benchmarks.applications.settings",
            **{name: self._filled(value) for name, value in self.system.variables.items()},
        }

    def _filled(self, word: str) -> str:
        """With the addresses of this run."""
        return word.format(redis=self.server.url, database=self.database_url)


class Producer:
    """A process that submits what it is asked for."""

    def __init__(self, deployment: Deployment, process: subprocess.Popen[str]) -> None:
        self._deployment, self._process = deployment, process

    def enqueue(self, first: int, jobs: int) -> float:
        """Seconds for so many, one after the other."""
        return float(self._ask("enqueue", first, jobs))

    def enqueue_many(self, first: int, jobs: int) -> float:
        """Seconds for so many by its quickest way."""
        return float(self._ask("enqueue_many", first, jobs))

    def trickle(self, first: int, jobs: int) -> list[float]:
        """When each was submitted, the next only after the last one has started."""
        calls: list[float] = self._ask("trickle", first, jobs)
        return calls

    def _ask(self, what: str, first: int, jobs: int) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise self._deployment.failure("no pipes")
        try:
            stdin.write(json.dumps({"do": what, "first": first, "jobs": jobs}) + "\n")
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._deployment.failure(f"its producer ended while it should {what}")
        answer = json.loads(line)
        if "error" in answer:
            raise self._deployment.failure(answer["error"])
        self._deployment.check(answer["penstock"])
        return answer["result"]


class Workers:
    """The worker processes of a system, with all their children."""

    def __init__(self, deployment: Deployment, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._deployment, self._processes = deployment, processes

    def check_alive(self) -> None:
        """Raises when one has ended."""
        for process in self._processes:
            if process.poll() is not None:
                raise BenchmarkError(f"a worker ended with {process.returncode}")

    def family(self) -> list[psutil.Process]:
        """Every process of them."""
        parents = [psutil.Process(process.pid) for process in self._processes]
        return [each for parent in parents for each in (parent, *parent.children(recursive=True))]


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Kindly first, with all that they have started."""
    families: list[psutil.Process] = []
    for process in processes:
        if process.poll() is None:
            families += psutil.Process(process.pid).children(recursive=True)
            if process.stdin is not None:
                process.stdin.close()
            process.terminate()
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for left in families:
        if left.is_running():
            left.kill()
