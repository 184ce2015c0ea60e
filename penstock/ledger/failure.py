"""Exceptions as the ledger keeps them, and the fingerprint by which failures are grouped."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from celery.exceptions import Reject, TimeLimitExceeded, WorkerLostError
from celery.utils.serialization import UnpickleableExceptionWrapper
from kombu.exceptions import DecodeError, EncodeError

from penstock.job import Reason
from penstock.ledger.rows import Failure
from penstock.retrying import Discard

CAUSES: dict[Reason, type[Exception]] = {
    Reason.CRASHED: WorkerLostError,
    Reason.REJECTED: Reject,
    Reason.UNREADABLE: DecodeError,
    Reason.UNSERIALISABLE: EncodeError,
}
"""What a job failed with that never came to raise anything itself; AsyncResult raises it."""
LONGEST_LINE, VALUE = 500, "#"
_VALUE = re.compile(
    r"""
      (?<!\w) (?: "[^"]*" | '[^']*' | `[^`]*` )  # what is quoted, but no apostrophe
    | \w+ :// \S+                               # a URL
    | [^\s@]+ @ [\w.-]+                          # an address for mail, a host with its user
    | (?: [A-Za-z]: )? [\\/] [\w.\\/-]+          # a path
    | \b [0-9a-fA-F]{8,} \b                      # a hash, which may happen to have no digit
    | [^\s()\[\]{}<>,;:=]* \d [^\s()\[\]{}<>,;=]*   # a number, an id, a time, a version, an address in memory
    """,
    re.VERBOSE,
)
# Several values in a row are one: a list is as long as it is.
_VALUES = re.compile(rf"[(\[{{]*{VALUE}(?:[\s,;:=()\[\]{{}}-]*{VALUE})*[)\]}}]*")
_FRAME = re.compile(r'^  File "(?P<file>[^"]*)", line \d+, in (?P<function>.*)$', re.MULTILINE)
TRACERS = {"tracing.py:traced": "trace.py:trace_task", "trace.py:__protected_call__": ""}
"""Our own tracer and Celery's two functions: an error is the same by either way."""


def describe(error: BaseException, exception: dict[str, Any], traceback: str | None) -> Failure:
    """``error`` for the ledger.

    Args:
        exception: Celery's form of it, already JSON.
        traceback: the formatted traceback of the worker.
    """
    module, kind = type(error).__module__, type(error).__qualname__
    try:
        message = str(error)
    except Exception as broken:
        message = f"(its __str__ raised {type(broken).__name__})"
    if isinstance(error, UnpickleableExceptionWrapper):
        # Celery has put it in place of what cannot be pickled; nobody has to know, who looks for his own exception.
        module, kind = error.exc_module, error.exc_cls_name
        exception = {"exc_type": kind, "exc_module": module, "exc_message": [message]}
    name = kind if module == "builtins" else f"{module}.{kind}"
    return Failure(
        type=name,
        message=message,
        exception=exception,
        traceback=traceback,
        fingerprint=fingerprint(name, traceback, message),
    )


def describe_cause(cause: Reason, message: str) -> Failure:
    """The failure of a job that nobody could run, for one of CAUSES."""
    kind = CAUSES[cause]
    name = f"{kind.__module__}.{kind.__qualname__}"
    exception = {"exc_type": kind.__qualname__, "exc_module": kind.__module__, "exc_message": [message]}
    return Failure(type=name, message=message, exception=exception, fingerprint=fingerprint(name, None, message))


def fingerprint(name: str, traceback: str | None, message: str = "") -> str:
    """Twelve digits that equal errors share: type, call path, and what of the message is the same each time.

    Neither a release that shifts lines, nor another folder, nor how deep a recursion was, nor a value in the message
    splits a group. Two errors that one function raises in different words are two groups.
    """
    frames = [f"{m['file'].rpartition('/')[2]}:{m['function']}" for m in _FRAME.finditer(traceback or "")]
    path = [TRACERS.get(frame, frame) for frame in frames]
    words = [name, *dict.fromkeys(filter(None, path)), wording(message)]
    return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).hexdigest()[:12]


def wording(message: str) -> str:
    """The first line of a message without its values: what is quoted, addresses, paths, and all that has a digit.

    A name that stands there without quotes stays, as nothing tells it from a word.
    """
    line = next((line for line in message.splitlines() if line.strip()), "")[:LONGEST_LINE]
    return _VALUES.sub(VALUE, " ".join(_VALUE.sub(VALUE, line).split()))


def reason_for(error: BaseException) -> Reason:
    """Why a job that ended with ``error`` failed."""
    if isinstance(error, WorkerLostError):
        return Reason.CRASHED
    if isinstance(error, Discard):
        return Reason.DISCARDED
    if isinstance(error, TimeLimitExceeded) or type(error).__name__ == "SoftTimeLimitExceeded":
        return Reason.TIMEOUT
    return Reason.ERROR
