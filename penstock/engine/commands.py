"""Remote control about jobs that run in children: Celery's commands see its requests as they are at that moment."""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

from celery.worker.control import Panel

LOOKING = ("active", "reserved", "query_task", "stats", "revoke", "terminate", "revoke_by_stamped_headers", "heartbeat")
CHANGING = ("time_limit", "rate_limit")
LISTENING = ("enable_events", "disable_events")


def install(parent: Any) -> None:
    """In the worker of this consumer; more than once does no harm."""
    for name in LOOKING:
        _wrap(name, before=lambda: parent.showing.refresh(whole=True), after=_leave_the_ledger)
    for name in CHANGING:
        _wrap(name, after=parent.tell_limits)
    for name in LISTENING:
        _wrap(name, after=parent.tell_events)


def _leave_the_ledger() -> None:
    """Closes what Celery opens to ask about a job that it revokes: a worker has one SQL connection, its keeper's."""
    session = sys.modules.get("penstock.ledger.session")
    if session is not None:
        session.close_all()


def _wrap(name: str, before: Any = None, after: Any = None) -> None:
    command = Panel.data[name]
    if hasattr(command, "looks"):
        return

    @wraps(command)
    def looking(state: Any, *args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before()
        answer = command(state, *args, **kwargs)
        if after is not None:
            after()
        return answer

    looking.looks = True  # type: ignore[attr-defined]
    Panel.data[name] = looking
