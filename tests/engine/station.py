"""Where a test takes place: a Redis, workers, producers of both kinds, and what the bodies did."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from celery import Celery

import penstock
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from tests.engine import breaker_bodies, cancelled_bodies, coroutine_bodies, deciding_bodies, talking_bodies
from tests.engine.tasks import EFFECTS, declare
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.live import ROOT, Worker, wait_for

QUEUE = "celery"
LEASE_SECONDS = 5.0
POOLS = ("prefork", "processes")
"""Ours and, under our transport, Celery's."""
STOCK_TRANSPORT = "kombu.transport.redis:Transport"
Effect = dict[str, Any]


class Station:
    """A Redis of its own on loopback, and everybody who uses it."""

    def __init__(self, folder: Path, *, ledger: str = "", **config: str) -> None:
        """Args:
        ledger: address of a ledger for the results; without one there are none.
        config: settings of the Redis.
        """
        self.folder = folder
        self.ledger = ledger
        self.server = Server(folder / "redis", **config)
        self._effects = folder / "effects"
        self._numbers = itertools.count()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        self._effects.touch()
        self._stack.enter_context(self.server)
        self.redis: Any = self._stack.enter_context(self.server.client())
        self.keys = Keys()
        self.scripts = Scripts(self.redis, self.keys)
        self.app = penstock.adopt(self._app("ours"))
        self.stock = self._app("stock", broker_transport=STOCK_TRANSPORT)
        return self

    def __exit__(self, *_: object) -> None:
        for app in (self.app, self.stock):
            app.close()
        self._stack.close()

    def _app(self, name: str, **changes: Any) -> Celery:
        app = Celery(name, set_as_current=False)
        app.conf.update(self.config(**changes))
        declare(app)
        coroutine_bodies.declare(app)
        deciding_bodies.declare(app)
        breaker_bodies.declare(app)
        talking_bodies.declare(app)
        cancelled_bodies.declare(app)
        return app

    def adopted(self, **changes: Any) -> Celery:
        """A producer's app with other settings; to be closed."""
        return penstock.adopt(self._app("other", **changes))

    # -- workers and ways to the server -------------------------------------------------------------------------

    def config(self, **changes: Any) -> dict[str, Any]:
        """Celery's settings of everybody here."""
        options = {"lease_seconds": LEASE_SECONDS, **changes.pop("options", {})}
        return {
            "broker_url": self.server.url,
            "result_backend": f"penstock.ledger.backend:LedgerBackend+{self.ledger}" if self.ledger else None,
            "broker_transport_options": options,
            "broker_connection_retry_on_startup": True,
            **changes,
        }

    def worker(
        self,
        *options: str,
        app: str = "adopted",
        children: int = 1,
        environment: dict[str, str] | None = None,
        mingles: bool = False,
        **changes: Any,
    ) -> Worker:
        """A worker that is still to be entered; changes are Celery's settings.

        Args:
            mingles: whether it greets its neighbours, as Celery's workers do; that takes a second at each start.
        """
        number = next(self._numbers)
        variables = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        variables |= {
            "ENGINE_CONFIG": json.dumps(self.config(**changes)),
            EFFECTS: str(self._effects),
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }
        return Worker(
            variables,
            self.folder / f"worker{number}.log",
            "-n",
            f"w{number}@host",
            *(() if mingles else ("--without-mingle",)),
            *options,
            app=f"tests.engine.{app}",
            children=children,
        )

    def proxy(self) -> Proxy:
        """A way to the server that can be disturbed; still to be entered."""
        return Proxy(self.server.port)

    # -- jobs ---------------------------------------------------------------------------------------------------

    def send(self, task: str, *args: Any, app: Celery | None = None, **options: Any) -> str:
        """Submits a job, through our transport unless an app says else, and returns its id."""
        return str((app or self.app).tasks[f"engine.{task}"].apply_async(args, ignore_result=True, **options).id)

    def send_stock(self, task: str, *args: Any, **options: Any) -> str:
        """Submits a job as stock Celery does."""
        return self.send(task, *args, app=self.stock, **options)

    def push(self, raw: bytes, queue: str = QUEUE) -> None:
        """Puts anything on a queue."""
        self.redis.lpush(queue, raw)

    def gate(self, name: str) -> Path:
        """A file that is not there yet; a held body ends when it is touched."""
        return self.folder / f"{name}-{next(self._numbers)}"

    @staticmethod
    def children(worker: Worker, count: int = 1) -> list[int]:
        """Process ids of a worker's children; it is ready before they are."""
        return wait_for(lambda: pids if len(pids := worker.children) == count else [], f"there are {count} children")

    def hoard(
        self,
        worker: Worker,
        end: Path,
        waiting: int,
        children: int = 1,
        meanwhile: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> tuple[str, list[str]]:
        """A job that runs until there is a file, and others that its worker has claimed behind it.

        For a worker of ours. Its child claims several at once as soon as it has seen quick ones; after half a second
        what waits behind a long one goes back. Further children stand still afterwards.

        Args:
        meanwhile: called before the child claims them.
        options: of those that wait.
        """
        for id in [self.send("touch") for _ in range(80 * children)]:
            self.ended(id)
        wait_for(self.quiet, "the quick ones are settled")
        pids = self.children(worker, children)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        # An idle child's claim waits in the server for the first job: closed, so that it comes back with none.
        self.close_queue()
        running, *others = self.send("hold", str(end)), *(self.send("touch", **options) for _ in range(waiting))
        self.open_queue()
        meanwhile()
        os.kill(pids[0], signal.SIGCONT)
        self.started(running)
        return running, others

    def close_queue(self, queue: str = QUEUE) -> None:
        """Has nothing claimed from a queue."""
        gate = json.dumps({"paused": True, "by": "test", "at": 0, "note": ""})
        self.redis.hset(self.keys.gates, queue, gate)

    def open_queue(self, queue: str = QUEUE) -> None:
        """Has jobs claimed again, by whoever hears of it."""
        self.redis.hdel(self.keys.gates, queue)
        self.redis.lpush(self.keys.wake(queue), 1)

    # -- what happened ------------------------------------------------------------------------------------------

    def effects(self, id: str = "", event: str = "") -> list[Effect]:
        """What bodies did, in order; of one job, of one kind."""
        lines = [json.loads(line) for line in self._effects.read_text().splitlines()]
        return [line for line in lines if id in ("", line["id"]) and event in ("", line["event"])]

    def starts(self, id: str) -> list[Effect]:
        """Each beginning of a job's body."""
        return self.effects(id, "start")

    def ended(self, id: str, timeout: float = 20.0) -> Effect:
        """Waits for the end of a job's body."""
        return wait_for(lambda: self.effects(id, "end"), f"job {id} ends", timeout)[0]

    def started(self, id: str, times: int = 1, timeout: float = 20.0) -> Effect:
        """Waits for the so manyth beginning of a job's body."""
        wait_for(lambda: len(self.starts(id)) >= times, f"job {id} starts {times} times", timeout)
        return self.starts(id)[times - 1]

    def ready(self, queue: str = QUEUE) -> list[str]:
        """Ids of the jobs on a queue's list, first in line first."""
        return [json.loads(raw)["headers"]["id"] for raw in reversed(self.redis.lrange(queue, 0, -1))]

    def held(self, worker: str = "") -> int:
        """Claims in Redis, of all workers whose name begins so."""
        return sum(self.redis.hlen(key) for key in self.redis.scan_iter(f"penstock:inflight:{worker}*"))

    def parked(self, queue: str = QUEUE) -> int:
        """Messages that wait for their time."""
        return int(self.redis.zcard(self.keys.parked(queue)))

    def leases(self) -> list[str]:
        """Workers that are believed to live."""
        return [worker.decode() for worker in self.redis.zrange(self.keys.leases, 0, -1)]

    def quiet(self) -> bool:
        """Whether nothing waits and nothing is claimed."""
        return not self.redis.llen(QUEUE) and not self.held()

    def dead(self) -> list[dict[bytes, bytes]]:
        """Dead entries that no ledger has taken over."""
        entries = self.redis.lrange(self.keys.dead, 0, -1)
        return [self.redis.hgetall(self.keys.dead_entry(entry.decode())) for entry in entries]


def entered(*workers: Worker) -> ExitStack:
    """All of these workers, started at the same time, ready; they end with the stack."""
    stack = ExitStack()
    try:
        for worker in workers:
            stack.push(worker)
            worker.begin()
        for worker in workers:
            worker.await_ready()
        stack.callback(_tell_to_end, workers)
    except BaseException:
        stack.close()
        raise
    return stack


def _tell_to_end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        if worker.process is not None and worker.process.poll() is None:
            os.kill(worker.pid, signal.SIGTERM)
