"""Plain Celery tasks, the same for both sides."""

import os
import time
from functools import cache

from celery import shared_task

from benchmarks.marks import Marks

SECONDS = float(os.environ.get("BENCH_SECONDS", "0"))
"""That each job waits as for somebody's answer."""


@shared_task
def note(slot: int) -> None:
    """Does nothing but note when it started, unless the run has it wait."""
    marks().note(slot)
    if SECONDS:
        time.sleep(SECONDS)


@shared_task
def nothing(value: int) -> int:
    """Returns what it was given."""
    return value


@shared_task
def send_welcome(user_id: int, template: str = "default") -> None:
    """A job as most jobs are: two small arguments. Nobody runs it here."""


@shared_task
def compute(slot: int, milliseconds: float) -> None:
    """Uses a processor for so long."""
    marks().note(slot)
    until = time.thread_time() + milliseconds / 1e3
    while time.thread_time() < until:
        pass


@shared_task
def wait(slot: int, seconds: float) -> None:
    """Waits as for somebody's answer."""
    marks().note(slot)
    time.sleep(seconds)


@cache
def marks() -> Marks:
    """Those of the run."""
    return Marks(os.environ["BENCH_MARKS"])
