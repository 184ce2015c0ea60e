"""Exceptions as the ledger keeps them, and the fingerprint by which failures are grouped."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from celery.exceptions import Reject, TimeLimitExceeded, WorkerLostError
from kombu.exceptions import DecodeError, EncodeError

from penstock.job import Reason
from penstock.ledger.rows import Failure

CAUSES: dict[Reason, type[Exception]] = {
    Reason.CRASHED: WorkerLostError,
    Reason.REJECTED: Reject,
    Reason.UNREADABLE: DecodeError,
    Reason.UNSERIALISABLE: EncodeError,
}
"""What a job failed with that never came to raise anything itself; AsyncResult raises it."""
_FRAME = re.compile(r'^  File "(?P<file>[^"]*)", line \d+, in (?P<function>.*)$', re.MULTILINE)


def describe(error: BaseException, exception: dict[str, Any], traceback: str | None) -> Failure:
    """``error`` for the ledger.

    Args:
        exception: Celery's form of it, already JSON.
        traceback: the formatted traceback of the worker.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as broken:
        message = f"(its __str__ raised {type(broken).__name__})"
    return Failure(
        type=name,
        message=message,
        exception=exception,
        traceback=traceback,
        fingerprint=fingerprint(name, traceback),
    )


def describe_cause(cause: Reason, message: str) -> Failure:
    """The failure of a job that nobody could run, for one of CAUSES."""
    kind = CAUSES[cause]
    name = f"{kind.__module__}.{kind.__qualname__}"
    exception = {"exc_type": kind.__qualname__, "exc_module": kind.__module__, "exc_message": [message]}
    return Failure(type=name, message=message, exception=exception, fingerprint=fingerprint(name, None))


def fingerprint(name: str, traceback: str | None) -> str:
    """Twelve digits that equal errors share: type and call path, without line numbers, folders and messages.

    Neither a new release that shifts lines nor a value in the message splits a group.
    """
    frames = [f"{m['file'].rpartition('/')[2]}:{m['function']}" for m in _FRAME.finditer(traceback or "")]
    return hashlib.sha256("\n".join([name, *frames]).encode()).hexdigest()[:12]


def reason_for(error: BaseException) -> Reason:
    """Why a job that ended with ``error`` failed."""
    if isinstance(error, WorkerLostError):
        return Reason.CRASHED
    if isinstance(error, TimeLimitExceeded) or type(error).__name__ == "SoftTimeLimitExceeded":
        return Reason.TIMEOUT
    return Reason.ERROR
