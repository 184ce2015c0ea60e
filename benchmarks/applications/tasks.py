"""Plain Celery tasks, the same for both sides."""

import os
from functools import cache

from celery import shared_task

from benchmarks.marks import Marks


@shared_task
def note(slot: int) -> None:
    """Does nothing but note when it started."""
    _marks().note(slot)


@shared_task
def nothing(value: int) -> int:
    """Returns what it was given."""
    return value


@shared_task
def send_welcome(user_id: int, template: str = "default") -> None:
    """A job as most jobs are: two small arguments. Nobody runs it here."""


@cache
def _marks() -> Marks:
    return Marks(os.environ["BENCH_MARKS"])
