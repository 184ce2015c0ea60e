"""An engine at work: its application in this process, its workers in others, and what they let us see."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import kombu.transport
import pytest
import redis
from celery import Celery
from celery.events import EventReceiver
from celery.signals import before_task_publish
from celery.utils.nodenames import default_nodename, host_format

from tests.celery_promises import notes
from tests.celery_promises.engines import Engine
from tests.live import ROOT, Worker, wait_for

Value = TypeVar("Value")
DATABASES_EACH = 3
CHILDREN = 3
# What an adopted application changes in this process must not reach the stock one, and the other way round.
STOCK_ALIASES = {
    "redis": "kombu.transport.redis:Transport",
    "rediss": "kombu.transport.redis:Transport",
    "sentinel": "kombu.transport.redis:SentinelTransport",
}


@contextmanager
def transports(aliases: dict[str, str], resolved: dict[str | None, type | None]) -> Iterator[None]:
    """kombu's two tables, from a URL's scheme to a class, as one engine finds them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kombu.transport, "_transport_cache", resolved)
        for alias, path in aliases.items():
            patch.setitem(kombu.transport.TRANSPORT_ALIASES, alias, path)
        yield


class System:
    """One engine with a worker for everything, ``main``, and one with a single child, ``lane``.

    Only ``lane`` listens to task_received.
    """

    def __init__(self, engine: Engine, server: str, place: int, folder: Path) -> None:
        """``server`` is the address of a Redis without database number, of which three are used from ``place`` on."""
        self.engine = engine
        self.folder = folder
        first = place * DATABASES_EACH
        self.broker_url, self.results_url, self.notes_url = (f"{server}/{first + i}" for i in range(DATABASES_EACH))
        self.broker = redis.Redis.from_url(self.broker_url, decode_responses=True)
        self.results = redis.Redis.from_url(self.results_url, decode_responses=True)
        self.notes = redis.Redis.from_url(self.notes_url, decode_responses=True)
        self.app = self._application()
        self.main = f"main@{engine.name}"
        self.lane = f"lane@{engine.name}"
        self._opened = ExitStack()
        self._events: list[dict[str, Any]] = []
        self._scenarios: dict[Callable[[System], Any], Any] = {}

    def __enter__(self) -> "System":
        with ExitStack() as opened:
            opened.enter_context(self._listening())
            first, second = (
                self._worker(self.main, CHILDREN, "-E", "-Q", "celery,side,everyone"),
                self._worker(
                    self.lane,
                    1,
                    *("-E", "-Q", "lane,everyone", "--prefetch-multiplier", "4"),
                    environment={"PROMISES_RECEIVED": "1"},
                ),
            )
            first.start()
            second.start()
            # When the first one does not come up, nobody else ends this one.
            opened.callback(second.stop, signal.SIGKILL)
            self.worker = opened.enter_context(first)
            self.lane_worker = opened.enter_context(second)
            opened.callback(self._end_workers_at_once)
            with self.current():
                self._wait_until_heard(self.main)
                self._wait_until_heard(self.lane)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        self.app.close()

    @contextmanager
    def current(self) -> Iterator["System"]:
        """Makes the application the one that tasks called here belong to, over the transport that is its own."""
        with transports(self._aliases, self._resolved), pytest.MonkeyPatch.context() as patch:
            if not self.engine.uses_penstock:
                patch.setattr(before_task_publish, "receivers", [])
            self.app.set_current()
            yield self

    def once(self, scenario: "Callable[[System], Value]") -> Value:
        """What this scenario gave when it was first played: several promises may look at the same one."""
        if scenario not in self._scenarios:
            self._scenarios[scenario] = scenario(self)
        found: Value = self._scenarios[scenario]
        return found

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Applies the task of jobs.py with this name."""
        return self.task(name).apply_async(args, **options)

    def task(self, name: str) -> Any:
        """The task of jobs.py with this name, in this engine's application."""
        return self.app.tasks[f"tests.celery_promises.jobs.{name}"]

    def noted(self, key: str, count: int = 1, timeout: float = 15) -> list[Any]:
        """What tasks wrote under ``key``, once there are ``count`` notes."""

        def enough() -> list[Any]:
            found = notes.read(self.notes, key)
            return found if len(found) >= count else []

        return wait_for(enough, f"{count} notes on {key}, not {notes.read(self.notes, key)}", timeout)

    def notes_on(self, key: str) -> list[Any]:
        """What tasks wrote under ``key`` until now."""
        return notes.read(self.notes, key)

    def release(self, key: str, times: int = 1) -> None:
        """Lets tasks that hold on ``key`` end."""
        notes.release(self.notes, key, times)

    def signal(self, key: str, name: str, timeout: float = 15) -> dict[str, Any]:
        """The fields of the first such signal that a worker sent about ``key``, a task's id or a worker's name."""

        def sent() -> list[dict[str, Any]]:
            return [fields for kind, fields in notes.read(self.notes, f"signals:{key}") if kind == name]

        return wait_for(sent, f"signal {name} about {key}", timeout)[0]

    def signals(self, key: str) -> list[str]:
        """Names of the signals about ``key`` until now."""
        return [kind for kind, _ in notes.read(self.notes, f"signals:{key}")]

    def event(self, kind: str, timeout: float = 15, **fields: Any) -> dict[str, Any]:
        """The first event of this kind with these fields."""

        def came() -> list[dict[str, Any]]:
            return [event for event in self.events() if event["type"] == kind and fields.items() <= event.items()]

        return wait_for(came, f"event {kind} {fields}", timeout)[0]

    def events(self, task_id: str | None = None) -> list[dict[str, Any]]:
        """All events, or those of a task, until now."""
        return [event for event in list(self._events) if task_id is None or event.get("uuid") == task_id]

    def inspect(self, what: str, *args: Any, worker: str | None = None, **options: Any) -> Any:
        """What this worker, ``main`` unless told otherwise, answers to an inspect command."""
        name = worker or self.main
        replies = getattr(self.app.control.inspect([name], timeout=10, limit=1), what)(*args, **options)
        assert replies is not None, f"{name} does not answer {what}"
        return replies[name]

    def control(self, command: str, worker: str | None = None, **arguments: Any) -> Any:
        """What this worker, ``main`` unless told otherwise, answers to a control command."""
        name = worker or self.main
        replies = self.app.control.broadcast(command, arguments, destination=[name], reply=True, timeout=10, limit=1)
        assert replies, f"{name} does not answer {command}"
        return replies[0][name]

    @contextmanager
    def worker_beside(
        self,
        *options: str,
        children: int = 1,
        name: str = "",
        mingle: bool = False,
        events: bool = True,
        silent: bool = False,
        settings: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Iterator["Extra"]:
        """Another worker, with a queue of its own unless the options name some.

        Args:
            options: of `celery worker`.
            children: how many processes it has.
            name: its node name, of which Celery expands `%h` and the like.
            mingle: whether it asks the others what they know when it starts.
            events: whether it sends events about tasks.
            silent: that the options keep it from printing that it is ready.
            settings: Celery's settings of this worker alone.
            environment: more environment variables.
        """
        name = name or f"extra{uuid.uuid4().hex[:6]}@{self.engine.name}"
        queue = f"queue_{uuid.uuid4().hex[:6]}"
        chosen = options if {"-Q", "-X"} & set(options) else ("-Q", queue, *options)
        chosen = (*chosen, *(["-E"] if events else []), *([] if mingle else ["--without-mingle"]))
        more = (environment or {}) | {"PROMISES_SETTINGS": json.dumps(settings or {})}
        with self._worker(name, children, *chosen, silent=silent, environment=more) as worker:
            node = host_format(default_nodename(name))
            self._wait_until_heard(node)
            yield Extra(node, queue, worker)

    def command(self, *words: str, ok: bool = True) -> str:
        """What `celery -A … WORDS` prints."""
        done = subprocess.run(
            [sys.executable, "-m", self.engine.command, "-A", self.engine.module, *words],
            env=self._environment(notes=False),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not ok, done.stdout + done.stderr
        return done.stdout

    def depth(self, queue: str) -> int:
        """How many messages of this queue wait in its lists, over all priorities."""
        names = [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]
        return sum(int(self.broker.llen(name)) for name in names)

    def keeps(self, text: str) -> bool:
        """True while this text is anywhere in the broker."""
        return any(text in str(value) for value in self._everything())

    def push_raw(self, queue: str, message: str | dict[str, Any]) -> None:
        """Puts something into a queue's list without asking anybody."""
        self.broker.lpush(queue, message if isinstance(message, str) else json.dumps(message))

    def _everything(self) -> list[object]:
        readers: dict[str, Callable[[str], object]] = {
            "list": lambda name: self.broker.lrange(name, 0, -1),
            "hash": lambda name: self.broker.hgetall(name),
            "zset": lambda name: self.broker.zrange(name, 0, -1),
            "set": lambda name: self.broker.smembers(name),
            "string": lambda name: self.broker.get(name),
        }
        found = [(name, str(self.broker.type(name))) for name in self.broker.scan_iter()]
        return [readers[kind](name) for name, kind in found if kind in readers and not name.startswith("_kombu")]

    def _wait_until_heard(self, name: str) -> None:
        """A worker says that it is ready a moment before it listens to remote control."""
        ask = self.app.control.inspect([name], timeout=1, limit=1)
        wait_for(ask.ping, f"{name} answers", 40)

    def _end_workers_at_once(self) -> None:
        """So that nobody waits for one after the other."""
        for worker in (self.worker, self.lane_worker):
            if worker.process is not None and worker.process.poll() is None:
                worker.process.terminate()

    def _worker(
        self,
        name: str,
        children: int,
        *options: str,
        silent: bool = False,
        environment: dict[str, str] | None = None,
    ) -> "StartedEarly":
        return StartedEarly(
            self.engine.command,
            silent,
            self._environment() | (environment or {}),
            self.folder / f"{name}.log",
            "-n",
            name,
            "-I",
            "tests.celery_promises.listeners",
            # Whoever names a pool means it: Celery looks for the first one to find out whether to patch for greenlets.
            *(() if "-P" in options else self.engine.options),
            *options,
            app=self.engine.module,
            children=children,
        )

    def _environment(self, notes: bool = True) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        ours = {"PROMISES_BROKER": self.broker_url, "PROMISES_RESULTS": self.results_url, "PYTHONPATH": str(ROOT)}
        return kept | ours | ({"PROMISES_NOTES": self.notes_url} if notes else {})

    def _application(self) -> Celery:
        self._resolved: dict[str | None, type | None] = {}
        with transports(STOCK_ALIASES, self._resolved), pytest.MonkeyPatch.context() as patch:
            patch.setenv("PROMISES_BROKER", self.broker_url)
            patch.setenv("PROMISES_RESULTS", self.results_url)
            sys.modules.pop(self.engine.module, None)
            app: Celery = importlib.import_module(self.engine.module).app
            app.loader.import_default_modules()
            app.finalize()
            self._aliases = {alias: kombu.transport.TRANSPORT_ALIASES[alias] for alias in STOCK_ALIASES}
        return app

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Collects all events in a thread."""
        stop, connected = threading.Event(), threading.Event()

        def listen() -> None:
            with self.app.connection_for_read() as connection:
                receiver = EventReceiver(connection, handlers={"*": self._events.append}, app=self.app)
                with receiver.consumer_context(wakeup=False) as (its_own, _channel, _consumers):
                    while not stop.is_set():
                        with suppress(TimeoutError):
                            its_own.drain_events(timeout=0.1)
                        connected.set()

        thread = threading.Thread(target=listen, daemon=True)
        with self.current():
            thread.start()
            assert connected.wait(10)
        yield
        stop.set()
        thread.join(10)


class Extra:
    """A worker that a test has for itself."""

    def __init__(self, name: str, queue: str, worker: Worker) -> None:
        self.name = name
        self.queue = queue
        self.worker = worker

    @property
    def ended(self) -> bool:
        """True once its process is gone."""
        assert self.worker.process is not None
        return self.worker.process.poll() is not None

    def send(self, kind: signal.Signals) -> None:
        """Sends a signal to the parent."""
        os.kill(self.worker.pid, kind)


class StartedEarly(Worker):
    """A worker that may be started before it is entered, so that several start at once."""

    def __init__(self, command: str, silent: bool, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._command[self._command.index("celery")] = command
        self._silent = silent

    def _is_ready(self) -> bool:
        return self._silent or super()._is_ready()

    def start(self) -> None:
        output = self._log.open("wb")
        self.process = subprocess.Popen(
            self._command, env=self._environment, cwd=self._folder, stdout=output, stderr=subprocess.STDOUT
        )
        output.close()

    def __enter__(self) -> "StartedEarly":
        if self.process is None:
            self.start()
        try:
            wait_for(lambda: self._is_ready() or self._has_ended(), f"the worker is ready: {self.log}", 40)
            assert self._is_ready(), self.log
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self
