"""What the workers of these tests run. Each body says in a file, outside of the system, that it starts and ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import Reject

from penstock import Snooze

EFFECTS = "ENGINE_EFFECTS"
"""Environment variable with the file."""
PATIENCE = 60.0
"""Seconds after which a waiting body or a daemon gives up: nothing may outlive its test by more."""


def declare(app: Celery) -> None:
    """Puts the tasks on the app."""
    newest = os.environ.get("ENGINE_NEWEST")
    for body in (touch, hold, die, leave, daemon, reject):
        app.task(name=f"engine.{body.__name__}", bind=True)(body)
    for body in (again, rest, collect, nothing, nap, grow):
        app.task(name=f"engine.{body.__name__}", bind=True)(body)
    app.task(name="engine.early", bind=True, acks_late=False)(hold)
    if newest:
        app.task(name="engine.newest", bind=True)(touch)


def note(event: str, task: Any, **facts: Any) -> None:
    """Appends a line; one write, so that lines of several processes do not mix."""
    info = task.request.delivery_info or {}
    line = {
        "event": event,
        "id": task.request.id,
        "pid": os.getpid(),
        "worker": task.request.hostname,
        "at": time.time(),
        "deliveries": info.get("deliveries"),
        "redelivered": info.get("redelivered"),
        **facts,
    }
    with Path(os.environ[EFFECTS]).open("ab", buffering=0) as effects:
        effects.write(json.dumps(line).encode() + b"\n")


def touch(task: Any, value: Any = None) -> Any:
    """Does nothing else."""
    note("start", task)
    note("end", task)
    return value


def nothing(_task: Any) -> None:
    """Leaves no trace but its outcome."""


def nap(_task: Any, seconds: float) -> int:
    """Its process."""
    time.sleep(seconds)
    return os.getpid()


_KEPT: list[bytes] = []


def grow(task: Any, mebibytes: int, path: str) -> None:
    """Takes memory for good, at its first delivery, and runs until there is a file."""
    note("start", task)
    if not task.request.delivery_info["deliveries"]:
        _KEPT.append(b"x" * (mebibytes << 20))
        await_file(path)
    note("end", task)


def hold(task: Any, path: str) -> None:
    """Runs until there is a file."""
    note("start", task)
    await_file(path)
    note("end", task)


def die(task: Any, times: int) -> None:
    """Kills its process at the first deliveries."""
    note("start", task)
    if task.request.delivery_info["deliveries"] < times:
        os.kill(os.getpid(), signal.SIGKILL)
    note("end", task)


def leave(task: Any, times: int) -> None:
    """Ends its process at the first deliveries."""
    note("start", task)
    if task.request.delivery_info["deliveries"] < times:
        sys.exit(3)
    note("end", task)


def daemon(task: Any, path: str) -> None:
    """Leaves a process behind that inherits everything, then runs until there is a file."""
    note("start", task)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(PATIENCE)
        os._exit(0)
    note("daemon", task, daemon=pid)
    await_file(path)


def reject(task: Any) -> None:
    """Does not want its job at the first delivery."""
    note("start", task)
    if not task.request.delivery_info["redelivered"]:
        raise Reject("not now", requeue=True)
    note("end", task)


def again(task: Any) -> None:
    """Asks for one retry, at once."""
    note("start", task, retries=task.request.retries)
    if not task.request.retries:
        raise task.retry(countdown=0)
    note("end", task)


def rest(task: Any) -> None:
    """Snoozes once."""
    note("start", task, retries=task.request.retries)
    if not task.request.retries:
        raise Snooze(0)
    note("end", task)


def collect(task: Any, values: Any) -> Any:
    """The body of a chord."""
    note("start", task)
    note("end", task, values=values)
    return values


def await_file(path: str) -> None:
    """Runs until there is a file."""
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
