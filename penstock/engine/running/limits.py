"""Soft time limits, and cancellations: an exception in the body, and nowhere else.

The zygote, or the worker, notes in the slot which job it means and sends the signal. By the time it arrives that job
may have ended, or be on its way into the books; an exception there would cost its outcome, or hit the next job.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.app import trace

from penstock import coroutines
from penstock.engine import attempts
from penstock.engine.place import IN_BODY
from penstock.engine.running import tracing
from penstock.engine.slots import Slot
from penstock.errors import JobCancelled

SIGNAL = signal.SIGUSR1
"""As Celery's prefork pool has it."""
OUTSIDE = (
    "celery.app.trace",
    "celery.utils.dispatch",
    "celery.backends.",
    "celery.loaders.",
    "penstock.ledger.",
    "penstock.engine.attempts",
    "penstock.engine.running.",
    "kombu.",
)
"""Modules that the tracer calls before and after a body."""
CALLING = "__protected_call__"
"""What Celery puts between the tracer and a body; a breaker puts :data:`penstock.engine.attempts.CODE` there."""
CELERYS = ("trace_task", trace.__file__)
"""Name and file of the tracer's code. Not the code itself: whoever watches an application wraps what makes it."""


def install(slot: Slot) -> None:
    """Has this process listen for soft time limits, and for cancellations."""

    def on_signal(_number: int, frame: FrameType | None) -> None:
        if slot.get("is_running") != IN_BODY or not is_in_body(frame):
            return  # Whoever means a cancellation sends the signal again.
        error = _meant(slot)
        if error is not None and not coroutines.interrupt(error, frame):
            raise error

    signal.signal(SIGNAL, on_signal)


def _meant(slot: Slot) -> BaseException | None:
    if slot.get("soft_target") == slot.get("number"):
        slot.put("soft_target", 0)
        limit: BaseException = SoftTimeLimitExceeded(slot.time("soft_limit"))
        return limit
    return JobCancelled() if slot.take_cancellation() else None


def is_in_body(frame: FrameType | None) -> bool:
    """Whether a frame is inside of a task's body, seen from the tracer that has called it."""
    inner: FrameType | None = None
    while frame is not None and _code(frame) not in TRACERS:
        # A breaker's frame is passed over while it runs the body; by itself it is about to tell of the attempt.
        if frame.f_code.co_name != CALLING and (inner is None or _code(frame) != attempts.CODE):
            inner = frame
        frame = frame.f_back
    if frame is None or not TRACERS[_code(frame)](frame.f_locals):
        return False
    # A body that is built in has no frame of its own.
    module = "" if inner is None else str(inner.f_globals.get("__name__", ""))
    return not module.startswith(OUTSIDE)


def _code(frame: FrameType) -> tuple[str, str]:
    return frame.f_code.co_name, frame.f_code.co_filename


def _is_before_outcome(local: dict[str, Any]) -> bool:
    """The tracer sets the state as soon as the body has returned, and its request before it begins."""
    return local.get("state") is None and local.get("task_request") is not None


TRACERS = {CELERYS: _is_before_outcome, tracing.CODE: tracing.is_before_outcome}
"""Whether a body runs, by the local variables of the tracer that runs it."""
