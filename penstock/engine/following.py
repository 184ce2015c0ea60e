"""What Celery sends when a body asks for a retry, or for another task in its place, is part of the job's outcome.

At Celery's `Task` class, so that tasks with a base of their own are included. Callbacks, chains and chords come by
``AMQP._retry_publish``, and errbacks by the result backend.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from celery.app.task import Task
from celery.exceptions import Ignore

from penstock.ledger.collecting import current, following_up

_MARK = "follows_up"


def install() -> None:
    """Wraps ``Task.retry`` and ``Task.replace``; more than once does no harm, nor does it outside of a worker."""
    for name, is_replacing in (("retry", False), ("replace", True)):
        original = getattr(Task, name)
        if not hasattr(original, _MARK):
            setattr(Task, name, _following(original, is_replacing))


def _following(original: Any, is_replacing: bool) -> Any:
    @wraps(original)
    def send(self: Task, *args: Any, **kwargs: Any) -> Any:
        if self.request.is_eager:
            return original(self, *args, **kwargs)
        with following_up(is_replacing=is_replacing):
            try:
                return original(self, *args, **kwargs)
            except Ignore:
                # What was sent may be a group or a chain, whose last job alone will have this one's id.
                if is_replacing and (collection := current()) is not None:
                    collection.replaced = True
                raise

    setattr(send, _MARK, True)
    return send
