"""What the workers of both sides run. Every body says when it starts and when it ends, in a file outside the system."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, signals

from tests.faults import timetable
from tests.faults.effects import BEAT, CHILD, COMMITTED, END, HELD, RETRIED, START, TICK, WORKER, note

PATIENCE = 180.0
"""Seconds after which a waiting body or a held process gives up: nothing of a run may live for ever."""
BEFORE_COMMIT, AFTER_CLAIM = "before-commit", "after-claim"
HOLD = "FAULTS_HOLD"
"""Environment variable with a folder; a file of a step's name in it holds every process that reaches the step."""
OLD = "FAULTS_OLD"
"""Environment variable; set in workers of the old version, which do not know the newest task."""


def declare(app: Celery) -> None:
    """Puts the tasks on ``app`` and makes its workers and beats say what they are."""
    app.task(name="faults.work", bind=True)(_told(_work))
    app.task(name="faults.until", bind=True)(_told(_until))
    app.task(name="faults.crash", bind=True)(_told(_crash))
    app.task(name="faults.retry", bind=True, max_retries=3)(_told(_retry))
    app.task(name="faults.join", bind=True)(_told(_join))
    app.task(name="faults.bulky", bind=True)(_told(_bulky))
    app.task(name="faults.nul", bind=True)(_told(_nul))
    app.task(name="faults.nul_error", bind=True)(_told(_nul_error))
    app.task(name="faults.unserialisable", bind=True)(_told(_unserialisable))
    app.task(name="faults.unpicklable", bind=True)(_told(_unpicklable))
    app.task(name=timetable.TASK, bind=True)(_told(_tick))
    if not os.environ.get(OLD):
        app.task(name="faults.newest", bind=True)(_told(_work))
    signals.worker_ready.connect(_describe_worker, weak=False)
    signals.worker_process_init.connect(_describe_child, weak=False)
    signals.beat_init.connect(_describe_beat, weak=False)


def _told(body: Callable[..., Any]) -> Callable[..., Any]:
    """The body between its two lines. The result begins with the attempt's own name, so that it says whose it is."""

    @functools.wraps(body)
    def run(task: Any, *args: Any) -> Any:
        attempt = uuid.uuid4().hex[:12]
        note(START, job=task.request.id, attempt=attempt, retries=task.request.retries)
        rest = body(task, *args)
        note(END, job=task.request.id, attempt=attempt)
        return attempt + rest if isinstance(rest, str) else rest or attempt

    return run


def _work(task: Any, seconds: float = 0.0) -> None:
    time.sleep(seconds)


def _until(task: Any, path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _crash(task: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _retry(task: Any, path: str = "") -> None:
    if path:
        _until(task, path)
    if task.request.retries == 0:
        note(RETRIED, job=task.request.id)
        raise task.retry(countdown=0.1)


def _tick(task: Any, schedule: str) -> None:
    note(TICK, job=task.request.id, schedule=schedule)


def _join(task: Any, results: list[str], parts: int) -> None:
    assert len(results) == parts, f"{len(results)} results of {parts} parts"


def _bulky(task: Any, size: int) -> str:
    """Bytes that nobody can press together."""
    return os.urandom(size // 2).hex()


def _nul(task: Any) -> str:
    return "\0and more"


def _nul_error(task: Any) -> None:
    raise ValueError("before\0after")


def _unserialisable(task: Any) -> object:
    return object()


class _Unpicklable(Exception):
    """Neither its argument nor itself goes through a pipe."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


def _unpicklable(task: Any) -> None:
    raise _Unpicklable(threading.Lock())


def hold_before_commit(backend: Any) -> None:
    """Lets a run stop a process right before ``backend`` is given a success to store."""
    store = backend.mark_as_done

    def mark_as_done(self: Any, task_id: str, *args: Any, **kwargs: Any) -> Any:
        _hold(BEFORE_COMMIT, task_id)
        return store(self, task_id, *args, **kwargs)

    backend.mark_as_done = mark_as_done


def hold_after_claim(child: Any) -> None:
    """Lets a run stop one of our children right after it has received what it has claimed, with nothing started.

    Args:
        child: the module of the children, which reads each message by this function.
    """
    read = child.opened

    def opened(claimed: Any, *args: Any) -> Any:
        job = read(claimed, *args)
        _hold(AFTER_CLAIM, job.headers.get("id"))
        return job

    child.opened = opened


def note_commits(backend: Any) -> None:
    """Notes when ``backend``, which returns after it has stored it, has stored a success."""
    store = backend.mark_as_done

    def mark_as_done(self: Any, task_id: str, *args: Any, **kwargs: Any) -> Any:
        stored = store(self, task_id, *args, **kwargs)
        note(COMMITTED, job=task_id)
        return stored

    backend.mark_as_done = mark_as_done


def _hold(step: str, job: str) -> None:
    marker = Path(os.environ[HOLD]) / step
    if marker.exists():
        note(HELD, job=job, step=step)
        deadline = time.monotonic() + PATIENCE
        while marker.exists() and time.monotonic() < deadline:
            time.sleep(0.02)


def _describe_worker(sender: Any, **_: Any) -> None:
    controller = sender.controller
    note(
        WORKER,
        pool=_name(controller.pool_cls),
        consumer=_name(type(sender)),
        transport=_name(type(sender.connection.transport)),
        backend=_name(type(sender.app.backend)),
        store=str(sender.app.conf.result_backend).split("://")[0].split("+", 1)[-1].split("+")[0],
        acks_late=bool(sender.app.conf.task_acks_late),
        ours=_modules_of_ours(),
    )


def _describe_child(**_: Any) -> None:
    note(CHILD, ours=_modules_of_ours())


def _describe_beat(sender: Any, **_: Any) -> None:
    note(
        BEAT,
        scheduler=_name(type(sender.scheduler)),
        transport=_name(type(sender.app.connection_for_write().transport)),
        ours=_modules_of_ours(),
    )


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _modules_of_ours() -> list[str]:
    import sys

    return sorted(name for name, module in sys.modules.items() if name.split(".")[0] == "penstock" and module)[:5]
