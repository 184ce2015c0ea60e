"""What a job's message says beside its arguments, and where it goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from penstock import message
from penstock.broker.keys import step_of
from penstock.client.publishing import Destination
from penstock.expiry import expiry
from penstock.message import Template
from penstock.task import Options, Task

HARD_LIMIT_GRACE = 5.0
"""Seconds between a task's timeout, which its body may catch, and the end of its process."""


def way(
    task: Task[..., Any], options: Options, now: datetime, *, in_outbox: bool, schedule: str | None = None
) -> tuple[Destination, Template]:
    """Where jobs go that are submitted now, and what their messages have in common."""
    due = options.at or (now + timedelta(seconds=options.delay) if options.delay else None)
    expires = now + timedelta(seconds=options.expires) if options.expires else None
    of_expiry = None
    if options.schedule_timeout is not None:
        expires, of_expiry = expiry(max(due or now, now), options.schedule_timeout, expires)
    template = Template(
        task=task.name,
        queue=options.queue,
        priority=options.priority,
        now=now,
        eta=due,
        expires=expires,
        of_expiry=of_expiry,
        time_limits=time_limits(options),
        lineage=_lineage(),
        in_outbox=in_outbox,
        schedule=schedule,
        tags=options.tags,
    )
    return Destination(options.queue, step_of(options.priority), due), template


def new_ids(count: int) -> Iterator[str]:
    """Random UUIDs, version 4, from one reading of the system's random numbers."""
    digits = os.urandom(16 * count).hex()
    for start in range(0, 32 * count, 32):
        each = digits[start : start + 32]
        variant = "89ab"[int(each[16], 16) & 3]
        yield f"{each[:8]}-{each[8:12]}-4{each[13:16]}-{variant}{each[17:20]}-{each[20:]}"


def time_limits(options: Options) -> tuple[float | None, float | None]:
    """(hard, soft) limits in seconds for a task's timeout."""
    if options.timeout is None:
        return None, None
    return options.timeout + HARD_LIMIT_GRACE, options.timeout


def _lineage() -> message.Lineage:
    """Names the submitting job when this runs inside one; without Celery in the process there is none."""
    celery = sys.modules.get("celery")
    current = celery.current_task if celery else None
    request = getattr(current, "request", None)
    if request is None or not request.id:
        return message.Lineage()
    return message.Lineage(parent=request.id, root=request.root_id or request.id)
