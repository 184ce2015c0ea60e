"""What a child has to know of a task before it runs a job of it; looked up once, and again when somebody changes it."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals
from celery.app import trace
from celery.worker.strategy import default as default_strategy

from penstock.engine.request import CELERYS, OURS
from penstock.engine.running.tracing import quick_tracer
from penstock.ledger.backend import LedgerBackend

DEFAULT_STRATEGY = "celery.worker.strategy:default"


class TaskDuties:
    """Of one task."""

    __slots__ = ("hard_limit", "is_plain", "name", "on_the_books", "quick_trace", "sends_events", "soft_limit", "task")

    def __init__(
        self, task: Any, *, soft_limit: float | None, hard_limit: float | None, logs_success: bool = False
    ) -> None:
        """Args:
        soft_limit: of the pool, in seconds, for tasks that have none.
        hard_limit: the same.
        logs_success: as of :func:`build_tracers`.
        """
        self.task = task
        self.name: str = task.name
        self.quick_trace = quick_tracer(task, task.app, logs_success=logs_success)
        self.soft_limit: float = task.soft_time_limit or soft_limit or 0.0
        self.hard_limit: float = task.time_limit or hard_limit or 0.0
        self.on_the_books = isinstance(task.backend, LedgerBackend)
        self.sends_events: bool = task.send_events
        self.is_plain = bool(
            task.acks_late
            and task.Request in (CELERYS, OURS)
            and task.Strategy in (DEFAULT_STRATEGY, default_strategy)
            and not task.rate_limit
            and not task.track_started
            and not signals.task_received.receivers
        )


def build_tracers(app: Any, hostname: str, logs_success: bool) -> None:
    """Celery's tracer for each task of the app.

    Args:
        logs_success: whether the tracer logs that a job succeeded; otherwise somebody else does, who need not wait.
    """
    level = trace.logger.level
    if not logs_success:
        # The tracer asks once, when it is built; what it logs of failures and retries it asks for each time.
        trace.logger.setLevel(logging.WARNING)
    try:
        for name, task in app.tasks.items():
            task.__trace__ = trace.build_tracer(name, task, app.loader, hostname, app=app)
    finally:
        trace.logger.setLevel(level)
