"""Events and log lines of a child: handed to the keeper, who publishes and writes them in batches."""

from __future__ import annotations

import json
import time
from typing import Any

from celery.app.trace import LOG_SUCCESS

from penstock.engine.running.desk import Desk, Desks
from penstock.engine.running.handing import TELL, Handing
from penstock.message import PLAIN


class Announcer:
    """In place of Celery's event dispatcher."""

    def __init__(self, handing: Handing, desks: Desks, *, logs: bool) -> None:
        """Args:
        logs: whether anybody reads what is logged of jobs at level INFO.
        """
        self._handing = handing
        self._desks = desks
        self.enabled = False
        self.logs = logs

    @property
    def desk(self) -> Desk:
        """Of the job that runs here."""
        return self._desks.current

    def send(self, type: str, **fields: Any) -> None:
        """Celery's; buffered until the next flush."""
        if self.enabled:
            self.desk.events.append((type, time.time(), {name: _plain(value) for name, value in fields.items()}))

    def started(self, task: Any) -> None:
        """A job of the task starts; counted also where nobody asks for events."""
        self.desk.started.append(str(task))

    def log_success(self, args: Any, result: Any, runtime: float | None) -> None:
        """Celery's line for a job that has succeeded.

        Args:
            args: of Celery's tracer: the task's name, the job's id, its request …
        """
        if self.logs:
            name, id, request = args[0], args[1], args[2]
            told = {"id": id, "name": request.get("shadow") or name, "return_value": result, "runtime": runtime}
            self.desk.lines.append((time.time(), LOG_SUCCESS % told))

    def flush(self) -> None:
        """Hands over what has come."""
        desk = self.desk
        if desk.events or desk.lines or desk.started:
            events = tuple((desk.token, *event) for event in desk.events)
            self._handing.put((TELL, (), events, tuple(desk.lines), tuple(desk.started)))
            desk.events, desk.lines, desk.started = [], [], []


def _plain(value: Any) -> Any:
    """As the ring takes it: values of JSON, and no types derived from them."""
    if type(value) in PLAIN or type(value) is float:
        return value
    return json.loads(json.dumps(value, default=str))
