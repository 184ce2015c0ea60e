"""Bodies that say when their jobs start again, or that they do not, as the workers of these tests run them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from celery import Celery, current_task

from penstock import Cancel, Discard, Retry, Snooze, current_job, task
from penstock.app import TaskTwin
from tests.engine.tasks import await_file, note

ALWAYS = Retry(attempts=2, base=0.01)
LONG = 300.0


class Limited(Exception):
    """Has a rule of its own."""


class Told(Exception):
    """Says itself when to come back."""

    retry_after = 0.01


RULED = Retry(
    attempts=1, on=(ConnectionError,), never=(ConnectionResetError,), rules={Limited: Retry(attempts=3, base=0.01)}
)


def declare(app: Celery) -> None:
    """Puts the tasks on the app."""
    for declared in BODIES:
        app.register_task(TaskTwin(declared))
    options = {"bind": True, "autoretry_for": (Exception,), "max_retries": 1, "retry_kwargs": {"countdown": 0}}
    app.task(name="engine.plainly", **options)(plainly)


def decide(what: str, reason: str) -> None:
    """Raises what is asked for, from a depth and from within other errors, as a library might."""
    if what == "die" and current_task.request.retries:
        return
    try:
        try:
            raise KeyError("inside")
        finally:
            if what == "die" and not current_task.request.delivery_info["deliveries"]:
                os.kill(os.getpid(), signal.SIGKILL)
    except KeyError as error:
        decision = {"discard": Discard, "cancel": Cancel}.get(what)
        raise (decision(reason) if decision else Snooze(0)) from error


@task(queue="celery", name="engine.decides", retry=ALWAYS)
def decides(what: str, reason: str) -> None:
    note("start", current_task)
    decide(what, reason)


@task(queue="celery", name="engine.adecides", retry=ALWAYS)
async def adecides(what: str, reason: str) -> None:
    note("start", current_task)
    async with asyncio.TaskGroup() as group:
        await group.create_task(_adecide(what, reason))


async def _adecide(what: str, reason: str) -> None:
    await asyncio.sleep(0)
    decide(what, reason)


@task(queue="celery", name="engine.turns", retry=ALWAYS)
def turns(*words: str) -> int:
    """Ends each of its starts by the next word."""
    note("start", current_task)
    _turn(words)
    return _attempt()


@task(queue="celery", name="engine.aturns", retry=ALWAYS)
async def aturns(*words: str) -> int:
    note("start", current_task)
    await asyncio.sleep(0)
    _turn(words)
    return _attempt()


def _turn(words: tuple[str, ...]) -> None:
    start = current_task.request.retries
    match words[start] if start < len(words) else "return":
        case "snooze":
            raise Snooze(0.01)
        case "long":
            raise Snooze(LONG)
        case "fail":
            raise ValueError(f"start {start}")
        case "limit":
            raise Limited(f"start {start}")
        case "lose":
            raise ConnectionError(f"start {start}")
        case "never":
            raise ConnectionResetError(f"start {start}")
        case "tell":
            raise Told


def _attempt() -> int:
    job = current_job()
    assert job is not None
    return job.attempt


@task(queue="celery", name="engine.ruled", retry=RULED)
def ruled(*words: str) -> None:
    note("start", current_task)
    _turn(words)


@task(queue="celery", name="engine.told", retry=Retry(attempts=3, base=LONG, on=(Told,)))
def told(*words: str) -> int:
    note("start", current_task)
    _turn(words)
    return _attempt()


HURRIED = Retry(attempts=99, backoff="constant", base=0.4, jitter=False, deadline=1)


@task(queue="celery", name="engine.hurried", retry=HURRIED)
def hurried(*words: str) -> None:
    """Fails until its deadline is over, after what the words say."""
    note("start", current_task)
    _turn(words)
    raise ValueError("not yet")


@task(queue="celery", name="engine.patient", schedule_timeout=1, retry=Retry(attempts=4, base=0.5, jitter=False))
def patient(*words: str, gate: str | None = None) -> int:
    """May wait for a worker for a second before each of its starts. Runs at first until there is a file."""
    note("start", current_task)
    if gate:
        await_file(gate)
    _turn(words)
    return _attempt()


def plainly(task: Any, *words: str) -> int:
    """A task of Celery's, which is tried again once whatever happens."""
    note("start", task)
    start = task.request.retries
    match words[start] if start < len(words) else "return":
        case "snooze":
            raise Snooze(0.01)
        case "fail":
            raise ValueError(f"start {start}")
        case "discard":
            raise Discard("nothing to do")
        case "cancel":
            raise Cancel("not wanted")
    return start


BODIES = (decides, adecides, turns, aturns, ruled, told, hurried, patient)
