"""What Celery sends when a body asks for a retry, or for another task in its place, is part of the job's outcome.

At Celery's `Task` class, so that tasks with a base of their own are included. Callbacks, chains and chords come by
``AMQP._retry_publish``, and errbacks by the result backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from inspect import signature
from typing import Any

from celery.app.task import Task
from celery.canvas import _chain, _chord, maybe_signature
from celery.exceptions import Ignore

from penstock.ledger.collecting import current, following_up
from penstock.message import ENQUEUED_AT, GOES_ON, TAGS
from penstock.retrying import Decision, Tries

_MARK, LIMIT = "follows_up", "override_max_retries"


def install() -> None:
    """Wraps ``Task.retry`` and ``Task.replace``; more than once does no harm, nor does it outside of a worker."""
    for name, wrapped in (("retry", _retrying), ("replace", partial(_following, is_replacing=True))):
        _wrap(name, wrapped)
    _wrap("on_replace", _marking)


def _wrap(name: str, wrapped: Callable[[Any], Any]) -> None:
    original = getattr(Task, name)
    if not hasattr(original, _MARK):
        replacement = wrapped(original)
        setattr(replacement, _MARK, True)
        setattr(Task, name, replacement)


def _retrying(original: Any) -> Any:
    """Celery's limit counts attempts, and a snooze is none; what a body has decided is not tried again."""
    send = _following(original)
    parameters = signature(original)

    @wraps(original)
    def retry(self: Task, *args: Any, **kwargs: Any) -> Any:
        given = parameters.bind_partial(self, *args, **kwargs)
        if isinstance(given.arguments.get("exc"), Decision):
            raise given.arguments["exc"]
        request, asked = self.request, given.arguments.get("max_retries")
        snoozes = Tries.of(request.retries, request.get).snoozes if request.retries else 0
        most = self.max_retries if asked is None else asked
        if not snoozes or most is None:
            return send(self, *args, **kwargs)
        given.arguments["max_retries"] = most + snoozes
        with keeping_limit(self):
            return send(*given.args, **given.kwargs)

    return retry


@contextmanager
def keeping_limit(task: Task) -> Iterator[None]:
    """Celery notes the limit of a retry at the task, where the next job finds it, which has snoozed less."""
    before = vars(task).get(LIMIT)
    try:
        yield
    finally:
        vars(task).pop(LIMIT, None)
        if before is not None:
            setattr(task, LIMIT, before)


def _following(original: Any, is_replacing: bool = False) -> Any:
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

    return send


def _marking(original: Any) -> Any:
    @wraps(original)
    def on_replace(self: Task, sig: Any) -> Any:
        if not self.request.is_eager:
            _mark_last(sig, self.request)
        return original(self, sig)

    return on_replace


def _mark_last(sig: Any, request: Any) -> None:
    """Says of the job that will have this one's id that it goes on, and since when: others may send its message."""
    if isinstance(sig, _chain):
        last = maybe_signature(sig.tasks[-1], app=sig.app)
        sig.tasks = [*sig.tasks[:-1], last]
        _mark_last(last, request)
    elif isinstance(sig, _chord):
        sig.body = maybe_signature(sig.body, app=sig.app)
        _mark_last(sig.body, request)
    else:
        own = {GOES_ON: request.id, ENQUEUED_AT: request.get(ENQUEUED_AT)}
        inherited = {TAGS: tags} if (tags := request.get(TAGS)) else {}
        sig.set(headers={**inherited, **(sig.options.get("headers") or {}), **own})
