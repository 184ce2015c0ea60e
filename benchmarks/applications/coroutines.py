"""The same body as a coroutine, for our children that run many. The stock side never imports this."""

from __future__ import annotations

import asyncio

from benchmarks.applications.tasks import SECONDS, marks
from penstock import task


@task(queue="celery", name="benchmarks.applications.coroutines.note")
async def note(slot: int) -> None:
    """Does nothing but note when it started, unless the run has it wait."""
    marks().note(slot)
    if SECONDS:
        await asyncio.sleep(SECONDS)
