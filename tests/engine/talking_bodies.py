"""Bodies that say how far they are, and log, as the workers of these tests run them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.utils.log import get_task_logger

from penstock import Retry, current_job, task
from penstock.app import TaskTwin
from penstock.engine.reporting.reporter import PAUSE_SECONDS
from penstock.task import RunningJob
from tests.engine.tasks import PATIENCE

logger = logging.getLogger("shop.orders")
task_logger = get_task_logger("shop.tasks")
HOSTILE = "nul \x00, half \ud800, bell \x07, \x1b[2J\x1b]0;owned\x07 <script>alert(1)</script> password=hunter2"


def declare(app: Celery) -> None:
    """Puts the tasks on the app."""
    for declared in BODIES:
        app.register_task(TaskTwin(declared))
    app.task(name="engine.celerys", bind=True)(celerys)


def this_job() -> RunningJob:
    """The job that runs."""
    job = current_job()
    assert job is not None
    return job


@task(queue="celery", name="engine.tell")
def tell(lines: int, path: str = "", text: str = "line %s", mark: str = "") -> None:
    """Logs, says after each line how far it is, and then runs until there is a file; makes another at its end."""
    job = this_job()
    for number in range(1, lines + 1):
        logger.info(text, number)
        job.progress(number, lines, f"at {number}")
    deadline = time.monotonic() + PATIENCE
    while path and not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if mark:
        Path(mark).touch()


@task(queue="celery", name="engine.flood")
def flood(lines: int) -> None:
    """Logs so many lines, which the worker's own log, by far the slower one, is spared."""
    own = [handler for handler in logging.root.handlers if isinstance(handler, logging.StreamHandler)]
    levels = [handler.level for handler in own]
    for handler in own:
        handler.setLevel(logging.ERROR)
    for number in range(1, lines + 1):
        logger.info("line %s", number)
    for handler, level in zip(own, levels, strict=True):
        handler.setLevel(level)


@task(queue="celery", name="engine.talk")
async def talk(number: int) -> None:
    """Logs and reports beside others."""
    for step in range(1, 6):
        logger.info("%s says %s", number, step)
        this_job().progress(step, 5, f"{number} at {step}")
        await asyncio.sleep(number % 7 / 500)
    await asyncio.create_task(_aside(number))


async def _aside(number: int) -> None:
    await asyncio.sleep(0)
    logger.info("%s says %s", number, "aside")


@task(queue="celery", name="engine.log_all")
def log_all() -> None:
    """One line by each kind of logger and of each level."""
    logging.getLogger("anything.at.all").info("by any logger")
    task_logger.warning("by celery's logger for tasks")
    print("printed")
    logger.debug("a detail")
    try:
        raise LookupError("not here")
    except LookupError:
        logger.exception("it went wrong")


@task(queue="celery", name="engine.hostile")
def hostile() -> None:
    """What nobody should be able to do harm by."""
    logger.warning(HOSTILE)
    logger.warning("x" * 10_000_000)
    this_job().progress(1, 2, HOSTILE)


@task(queue="celery", name="engine.nonsense")
def nonsense() -> str:
    """Says what cannot be."""
    job = this_job()
    job.progress(1, 4)
    for done, total in ((float("nan"), None), (-1, None), (5, 3), ("2", None), (True, None)):
        job.progress(done, total)  # type: ignore[arg-type]
    return "done"


@task(queue="celery", name="engine.second_time", retry=Retry(attempts=2, base=0.01))
def second_time() -> None:
    """Fails at first."""
    job = this_job()
    logger.info("attempt %s", job.attempt)
    job.progress(job.attempt, 10)
    if job.attempt == 1:
        raise ConnectionError("not yet")


@task(queue="celery", name="engine.with_threads")
def with_threads() -> None:
    """Has two threads say something: one with its context and one without."""
    context = contextvars.copy_context()
    for line, run in (("with context", context.run), ("without", lambda call, *args: call(*args))):
        thread = threading.Thread(target=run, args=(logger.info, line))
        thread.start()
        thread.join()


@task(queue="celery", name="engine.forking")
def forking(speaks: bool) -> None:
    """Has a process say something that it has forked, and which lives for long enough to hand that over."""
    if speaks:
        logger.info("before")
    if not (pid := os.fork()):
        logger.info("in the other process")
        this_job().progress(9, 9)
        time.sleep(4 * PAUSE_SECONDS)
        os._exit(0)
    os.waitpid(pid, 0)
    if speaks:
        logger.info("after")


def celerys(_task: Any) -> int:
    """A task of Celery's own that says how far it is."""
    logger.info("it runs")
    job = this_job()
    job.progress(3, 4, "nearly")
    return job.attempt


BODIES = (tell, flood, talk, log_all, hostile, nonsense, second_time, with_threads, forking)
