"""Bodies that are cancelled, as the workers of these tests run them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from celery import Celery, current_task

from penstock import Retry, current_job, task
from penstock.app import TaskTwin
from penstock.errors import JobCancelled
from tests.engine.tasks import PATIENCE, note


def declare(app: Celery) -> None:
    """Puts the tasks on the app."""
    for declared in (attentive, careful, unmoved, unheeding, failing):
        app.register_task(TaskTwin(declared))


def _until(path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


@task(queue="celery", name="engine.attentive")
def attentive() -> str:
    """Looks whether it is cancelled, and is not disturbed otherwise: it catches what is raised."""
    note("start", current_task)
    job = current_job()
    assert job is not None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            while not job.is_cancelled and time.monotonic() < deadline:
                time.sleep(0.02)
            break
        except JobCancelled:
            continue
    note("end", current_task)
    return "half of it"


@task(queue="celery", name="engine.careful", retry=Retry(attempts=5, base=0.01, on=(Exception,)))
def careful(path: str) -> None:
    """Catches every ``Exception``, and cleans up."""
    note("start", current_task)
    try:
        try:
            _until(path)
        except Exception:
            note("swallowed", current_task)
    finally:
        note("cleaned", current_task)
    note("end", current_task)


@task(queue="celery", name="engine.unmoved")
def unmoved(path: str) -> None:
    """Goes on until there is a file, whatever is asked of it."""
    note("start", current_task)
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists() and time.monotonic() < deadline:
        try:
            _until(path)
        except JobCancelled:
            note("heard", current_task)
    note("end", current_task)


@task(queue="celery", name="engine.unheeding")
async def unheeding(path: str) -> None:
    """The same, where it waits."""
    note("start", current_task)
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists() and time.monotonic() < deadline:
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            note("heard", current_task)
    note("end", current_task)


@task(queue="celery", name="engine.failing", retry=Retry(attempts=5, base=60, cap=60, on=(Exception,)))
def failing() -> None:
    """Waits for its retry for a minute."""
    note("start", current_task)
    raise ConnectionError("not now")
