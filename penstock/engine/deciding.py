"""What a body decides about its own job by raising it, told to Celery in its own words.

At ``TraceInfo``, through which every tracer passes that has seen a body raise, and no other: it costs a job that
succeeds nothing, and holds for declared tasks as for Celery's, in all pools.

    Discard   a failure like any other; the result backend knows its reason
    Cancel    an Ignore that says why, for whoever records the end
    Snooze    a Retry that does not count
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import signals, states
from celery.app.trace import TraceInfo
from celery.exceptions import Ignore, Reject, Retry

from penstock.engine.following import keeping_limit
from penstock.job import Reason
from penstock.ledger.backend import REASON, LedgerBackend
from penstock.message import SNOOZES
from penstock.retrying import Cancel, Snooze, Tries

logger = logging.getLogger(__name__)
_MARK = "hears_decisions"


def install() -> None:
    """Wraps ``TraceInfo.handle_error_state``; more than once does no harm."""
    original = TraceInfo.handle_error_state
    if not hasattr(original, _MARK):
        wrapped = _hearing(original)
        setattr(wrapped, _MARK, True)
        TraceInfo.handle_error_state = wrapped


def _hearing(original: Callable[..., Any]) -> Any:
    @wraps(original)
    def handle_error_state(
        self: TraceInfo, task: Any, req: Any, eager: bool = False, call_errbacks: bool = True
    ) -> Any:
        # A call in the caller's own process has no later, and nobody who would record its end.
        if self.state == states.FAILURE and not eager:
            if isinstance(self.retval, Snooze):
                return _snooze(original, self, task, req)
            if isinstance(self.retval, Cancel):
                return _cancel(self, task, req)
        return original(self, task, req, eager=eager, call_errbacks=call_errbacks)

    return handle_error_state


def _snooze(original: Callable[..., Any], info: TraceInfo, task: Any, req: Any) -> Any:
    """Sends the job's next message, which is part of the outcome as that of a retry is: a crash keeps both or neither.

    The number of retries goes up, because the ledger tells a job's attempts apart by it, and so does that of snoozes.
    """
    req.update({REASON: Reason.SNOOZED})
    snoozes = Tries.of(req.retries, req.get).snoozes + 1
    try:
        with keeping_limit(task):
            headers = {**(req.headers or {}), SNOOZES: snoozes}
            task.retry(eta=info.retval.due, max_retries=req.retries + 1, headers=headers)
    except Retry as retry:
        info.state, info.retval = states.RETRY, retry
        return original(info, task, req, call_errbacks=False)
    except Reject as refused:
        # Without a ledger the message was to go out at once, and the broker has not taken it. Celery drops a job then.
        info.state, info.retval = states.REJECTED, Reject(refused.reason, requeue=True)
        return _raised(info.retval)


def _cancel(info: TraceInfo, task: Any, req: Any) -> Any:
    cancel = info.retval
    logger.info("Task %s[%s] cancelled by its body: %s", task.name, req.id, cancel)
    info.state, info.retval = states.IGNORED, Ignore(cancel)
    if not isinstance(task.backend, LedgerBackend):
        task.backend.mark_as_revoked(req.id, str(cancel), request=req, store_result=not task.ignore_result)
    signals.task_revoked.send(sender=task, request=req, terminated=False, signum=None, expired=False)
    return _raised(info.retval)


def _raised(error: Exception) -> ExceptionInfo:
    """As Celery's tracer has it when a body has raised this."""
    try:
        raise error
    except (Ignore, Reject):
        return ExceptionInfo(internal=True)
