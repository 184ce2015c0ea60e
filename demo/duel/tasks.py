"""What the workers of both sides run: bodies that say when they start and when they end. Imports nothing of ours."""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import Any

from celery import Celery, signals

from demo.duel.effects import END, START, WORKER, note

WORK = "duel.work"


def declare(app: Celery) -> None:
    """Puts the task on ``app`` and makes its workers say what they are."""
    app.task(name=WORK, bind=True)(work)
    signals.worker_ready.connect(_describe, weak=False)


def work(task: Any, seconds: float = 0.0) -> str:
    """Takes so long, and returns the attempt's own name."""
    attempt = uuid.uuid4().hex[:12]
    note(START, job=task.request.id, attempt=attempt, seconds=seconds)
    if seconds:
        time.sleep(seconds)
    note(END, job=task.request.id, attempt=attempt)
    return attempt


def _describe(sender: Any, **_: Any) -> None:
    facts = {
        "pool": _name(sender.controller.pool_cls),
        "transport": _name(type(sender.connection.transport)),
        "backend": _name(type(sender.app.backend)),
        "acks_late": bool(sender.app.conf.task_acks_late),
        "ours": sorted(name for name, module in sys.modules.items() if module and name.split(".")[0] == "penstock")[:3],
    }
    note(WORKER, portrait=json.dumps(facts))


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
