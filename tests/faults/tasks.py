"""What the workers of both sides run. Every body says when it starts and when it ends, in a file outside the system."""

from __future__ import annotations

import functools
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, signals

from tests.faults.effects import CHILD, COMMITTED, END, HELD, RETRIED, START, WORKER, note

PATIENCE = 180.0
"""Seconds after which a waiting body or a held process gives up: nothing of a run may live for ever."""
BEFORE_COMMIT, AFTER_COMMIT = "before-commit", "after-commit"
HOLD = "FAULTS_HOLD"
"""Environment variable with a folder; a file of a step's name in it holds every process that reaches the step."""
OLD = "FAULTS_OLD"
"""Environment variable; set in workers of the old version, which do not know the newest task."""


def declare(app: Celery) -> None:
    """Puts the tasks on ``app`` and makes its workers say what they are."""
    app.task(name="faults.work", bind=True)(_told(_work))
    app.task(name="faults.until", bind=True)(_told(_until))
    app.task(name="faults.crash", bind=True)(_told(_crash))
    app.task(name="faults.retry", bind=True, max_retries=3)(_told(_retry))
    if not os.environ.get(OLD):
        app.task(name="faults.newest", bind=True)(_told(_work))
    signals.worker_ready.connect(_describe_worker, weak=False)
    signals.worker_process_init.connect(_describe_child, weak=False)


def _told(body: Callable[..., None]) -> Callable[..., str]:
    """The body between its two lines; the attempt's own name is the result, so that a result names its attempt."""

    @functools.wraps(body)
    def run(task: Any, *args: Any) -> str:
        attempt = uuid.uuid4().hex[:12]
        note(START, job=task.request.id, attempt=attempt, retries=task.request.retries)
        body(task, *args)
        note(END, job=task.request.id, attempt=attempt)
        return attempt

    return run


def _work(task: Any, seconds: float = 0.0) -> None:
    time.sleep(seconds)


def _until(task: Any, path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _crash(task: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _retry(task: Any) -> None:
    if task.request.retries == 0:
        note(RETRIED, job=task.request.id)
        raise task.retry(countdown=0.1)


def hold_at_commit(backend: Any) -> None:
    """Lets a run stop a process right before, or right after, ``backend`` has stored a success."""
    store = backend.mark_as_done

    def mark_as_done(self: Any, task_id: str, *args: Any, **kwargs: Any) -> Any:
        _hold(BEFORE_COMMIT, task_id)
        stored = store(self, task_id, *args, **kwargs)
        note(COMMITTED, job=task_id)
        _hold(AFTER_COMMIT, task_id)
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
        acks_late=bool(sender.app.conf.task_acks_late),
        ours=_modules_of_ours(),
    )


def _describe_child(**_: Any) -> None:
    note(CHILD, ours=_modules_of_ours())


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _modules_of_ours() -> list[str]:
    import sys

    return sorted(name for name, module in sys.modules.items() if name.split(".")[0] == "penstock" and module)[:5]
