"""Bodies that depend on a service, which is down while there is a file; their tasks have breakers."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from celery import Celery, current_task

from penstock import Retry, Snooze, task
from penstock.app import TaskTwin
from penstock.breaker import Breaker
from tests.engine.tasks import PATIENCE, await_file, hold, note

QUICK = Breaker(failures=5, window=30, pause=1, on=(ConnectionError,))
PATIENT = Breaker(failures=3, window=30, pause=600)


def declare(app: Celery) -> None:
    """Puts the tasks on the app."""
    for declared in BODIES:
        app.register_task(TaskTwin(declared))
    app.task(name="engine.fragile", bind=True, breaker=QUICK)(fragile)
    app.task(name="engine.kept", bind=True, breaker=PATIENT)(hold)


def fragile(the_task: Any, down: str) -> None:
    """Of a plain task of Celery's."""
    note("start", the_task)
    if Path(down).exists():
        raise ConnectionError("the service is down")
    note("end", the_task)


@task(queue="celery", name="engine.depend", breaker=QUICK)
def depend(down: str) -> None:
    """Once."""
    fragile(current_task, down)


@task(queue="celery", name="engine.insist", breaker=QUICK, retry=Retry(attempts=50, base=0.05, cap=0.1))
def insist(down: str) -> None:
    """Again and again."""
    fragile(current_task, down)


@task(queue="celery", name="engine.err", breaker=QUICK)
def err(_: str) -> None:
    """In a way that says nothing of the service."""
    note("start", current_task)
    raise ValueError("not the service's fault")


@task(queue="celery", name="engine.perish", breaker=PATIENT)
def perish() -> None:
    """With its process."""
    note("start", current_task)
    os.kill(os.getpid(), signal.SIGKILL)


@task(queue="celery", name="engine.share", breaker=Breaker(ratio=0.5, minimum=10, window=30, pause=600))
def share(down: str) -> None:
    """Sometimes."""
    fragile(current_task, down)


@task(queue="celery", name="engine.doze", breaker=PATIENT)
def doze(times: int) -> None:
    """Puts its work off so many times."""
    note("start", current_task, retries=current_task.request.retries)
    if current_task.request.retries < times:
        raise Snooze(0)
    note("end", current_task)


@task(queue="celery", name="engine.linger", breaker=PATIENT)
async def linger() -> None:
    """For ever."""
    await asyncio.sleep(PATIENCE)


class Slow(Exception):
    """Takes until there is a file to say what it is."""

    def __str__(self) -> str:
        await_file(self.args[0])
        return "slow"


@task(queue="celery", name="engine.mumble", breaker=PATIENT)
def mumble(path: str) -> None:
    """Fails in a way that is slow to tell of."""
    note("start", current_task)
    raise Slow(path)


BODIES = (depend, insist, err, perish, share, doze, linger, mumble)
