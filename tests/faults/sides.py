"""The two sides: their applications, their workers and producers as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from tests.faults.deaths import Deaths, is_alive
from tests.live import ROOT

OUR_PARTS = {"keeper": "penstock-keeper", "zygote": "penstock-zygote", "child": "penstock-child"}
"""The processes of our workers, by the names that they give themselves."""
WORKER_PARTS, BEAT_PARTS = ("pool", "consumer", "transport", "backend"), ("scheduler", "transport")
DEATH_SECONDS = 5.0


@dataclass(frozen=True)
class Side:
    """A way to run the same tasks."""

    name: str
    app: str
    config: dict[str, Any] = field(default_factory=dict, hash=False)
    pool: str = "celery.concurrency.prefork:TaskPool"
    consumer: str = "celery.worker.consumer.consumer:Consumer"
    transport: str = "kombu.transport.redis:Transport"
    backend: str = "celery.backends.redis:RedisBackend"
    scheduler: str = "celery.beat:PersistentScheduler"

    @property
    def is_ours(self) -> bool:
        """Whether penstock is in it."""
        return self.app == "our"

    def on_sql(self) -> Side:
        """The same with its results in a database: stock Celery's own backend for that; ours has no other."""
        return self if self.is_ours else replace(self, backend="celery.backends.database:DatabaseBackend")

    def check(self, portrait: dict[str, Any], parts: Sequence[str] = WORKER_PARTS) -> None:
        """Raises AssertionError unless a worker, or a beat, is made as this side's are."""
        for part in parts:
            assert portrait[part] == getattr(self, part), f"{self.name}: its {part} is {portrait[part]}"
        assert bool(portrait["ours"]) == self.is_ours, f"{self.name}: modules {portrait['ours']}"


STOCK = Side("stock", "stock", {"task_acks_late": False})
LATE = Side("stock, acks late", "stock", {"task_acks_late": True})
OURS = Side(
    "ours",
    "our",
    pool="penstock.engine.pool:Pool",
    consumer="penstock.engine.parent:Parent",
    transport="penstock.broker.transport:Transport",
    backend="penstock.ledger.backend:LedgerBackend",
    scheduler="penstock.scheduler.beat:Scheduler",
)
SIDES = (STOCK, LATE, OURS)


class Worker:
    """`celery worker` with all its processes. It is ready when its line in the effect file says so."""

    def __init__(
        self, side: Side, name: str, environment: dict[str, str], log: Path, deaths: Deaths, options: Sequence[str]
    ) -> None:
        self.name = name
        self._deaths = deaths
        self.log = log
        self.process = _command(side, environment, log, "worker", "-l", "INFO", "-n", name, *options)

    @property
    def parent(self) -> int:
        """Process id of Celery's main process."""
        return self.process.pid

    @property
    def everyone(self) -> list[int]:
        """The parent and all that descend from it."""
        try:
            descendants = psutil.Process(self.parent).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [self.parent, *(process.pid for process in descendants)]

    @property
    def keeper(self) -> int | None:
        """Process id of our keeper; a stock worker has none."""
        return next(iter(self._named("keeper")), None)

    @property
    def zygote(self) -> int | None:
        """Process id of what forks our children; a stock worker has none."""
        return next(iter(self._named("zygote")), None)

    @property
    def children(self) -> list[int]:
        """Process ids of the pool."""
        ours = self._named("child")
        return ours or [pid for pid in self.everyone if pid != self.parent and _name(pid) not in OUR_PARTS.values()]

    def _named(self, part: str) -> list[int]:
        return [pid for pid in self.everyone if _name(pid) == OUR_PARTS[part]]

    @property
    def memory(self) -> int:
        """Bytes of the parent's resident memory."""
        return int(psutil.Process(self.parent).memory_info().rss)

    def freeze(self) -> None:
        """SIGSTOP of everyone."""
        self.freeze_only(self.everyone)

    def freeze_only(self, pids: Sequence[int]) -> None:
        """SIGSTOP of some of its processes."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, pids: Sequence[int]) -> None:
        """SIGCONT of those that are still there."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> float:
        """kill -9 of everyone at once, as when the host is gone. Returns when."""
        return self._kill(self.everyone)

    def kill_parent(self) -> float:
        """kill -9 of the main process alone."""
        return self._kill([self.parent])

    def kill_children(self) -> float:
        """kill -9 of the pool's processes."""
        return self._kill(self.children)

    def kill_keeper(self) -> float:
        """kill -9 of the keeper alone."""
        assert self.keeper is not None
        return self._kill([self.keeper])

    def kill_zygote(self) -> float:
        """kill -9 of the zygote alone; the kernel ends its children."""
        assert self.zygote is not None
        return self._kill([self.zygote])

    def stop(self) -> None:
        """SIGTERM: Celery's warm shutdown. Does not wait."""
        self.process.send_signal(signal.SIGTERM)

    def stop_group(self) -> None:
        """SIGTERM to every process of the worker, as service managers and terminals do it. Does not wait."""
        os.killpg(self.parent, signal.SIGTERM)

    @property
    def has_ended(self) -> bool:
        """Whether the main process is gone."""
        return self.process.poll() is not None

    def _kill(self, pids: list[int]) -> float:
        everyone, children = self.everyone, self.children
        dragged_along = everyone if self.parent in pids else children if self.zygote in pids else ()
        self._deaths.watch(everyone)
        struck = self._deaths.kill(pids, dragged_along)
        if self.parent in pids:
            self.process.wait()
        # The kernel ends these for us, one after the other.
        bound_to_die = children if dragged_along else ()
        deadline = time.monotonic() + DEATH_SECONDS
        while any(map(is_alive, bound_to_die)) and time.monotonic() < deadline:
            time.sleep(0.005)
        return struck


class Beat:
    """`celery beat`. It has begun when its line in the effect file says so."""

    def __init__(self, side: Side, environment: dict[str, str], log: Path, deaths: Deaths, schedule: Path) -> None:
        self._deaths = deaths
        self.log = log
        self.process = _command(side, environment, log, "beat", "-l", "INFO", "-s", str(schedule))

    def kill(self) -> None:
        """kill -9."""
        self._deaths.kill([self.process.pid])
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, on which stock Celery writes its file. Does not wait."""
        self.process.send_signal(signal.SIGTERM)

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None


def _command(side: Side, environment: dict[str, str], log: Path, *words: str) -> subprocess.Popen[bytes]:
    """Celery's command on the side's application, which is imported by name."""
    with log.open("ab") as output:  # All that a failure leaves to read.
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.command", side.app, *words],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class Producer:
    """A process that enqueues; asked and answered line by line."""

    def __init__(self, side: Side, environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.producer", side.app],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        with suppress(OSError):
            self._process.kill()
            self._process.communicate()


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
