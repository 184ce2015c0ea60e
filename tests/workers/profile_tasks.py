"""What the workers of ``profile_app`` run."""

import asyncio
import os
import time
from pathlib import Path

from celery import current_task
from celery.exceptions import SoftTimeLimitExceeded

from penstock import task

kept: list[bytearray] = []


@task()
def process() -> int:
    return os.getpid()


@task()
def hold(started: str, finish: str) -> int:
    """Says that it runs by making one file, and ends when the other one is there."""
    Path(started).touch()
    while not Path(finish).exists():
        time.sleep(0.02)
    return os.getpid()


@task()
async def meet(folder: str, many: int) -> int:
    """Waits until so many run at once; its process."""
    Path(folder, current_task.request.id).touch()
    while len(list(Path(folder).iterdir())) < many:
        await asyncio.sleep(0.02)
    return os.getpid()


@task()
def overrun() -> str:
    """Goes on for a minute, unless it is told to stop."""
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "told to stop"
    return "nobody minds"


@task(timeout=30)
def take_three_seconds() -> str:
    """Says itself how long it may take."""
    time.sleep(3)
    return "done"


@task()
def grow(mib: int) -> int:
    kept.append(bytearray(os.urandom(2**20) * mib))
    return os.getpid()
