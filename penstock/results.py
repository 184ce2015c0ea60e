"""What a job gives whoever has waited for it: its value, or its failure as an exception."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import JobFailed, RemoteError

if TYPE_CHECKING:
    from penstock.ledger.rows import JobRow

CONFIRMATION = 0.005
"""Seconds that Redis may take to confirm that a job is listened for, before it is looked at all the same."""
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between two looks at the ledger; an announcement comes between them, if Redis and a keeper are there."""


def pauses(timeout: float) -> Iterator[float]:
    """How long to listen before the next look; ends when ``timeout`` seconds are over."""
    deadline = time.monotonic() + timeout
    pause, following = CONFIRMATION, FIRST_PAUSE
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause, following = following, min(following * 2, LAST_PAUSE)


def failure_of(row: JobRow) -> JobFailed:
    """The exception for a job that has ended without a result; its cause is the error of the job's body."""
    what = f"{row.error_type}: {row.error_message}" if row.error_type else row.reason or "no reason is known"
    failed = JobFailed(
        f"job {row.id} of {row.task} {row.state}: {what}",
        id=row.id,
        state=row.state.value,
        reason=row.reason.value if row.reason else None,
        error_type=row.error_type,
        error_message=row.error_message,
        traceback=row.error_traceback,
    )
    if row.error_type:
        failed.__cause__ = _rebuilt(row.exception) or RemoteError(row.error_type, row.error_message or "")
    return failed


def _rebuilt(form: Any) -> Exception | None:
    """The exception of which Celery wrote down module, class and arguments; None if it cannot be made here.

    A row is data, and anyone may have written it: what it names is made only if it is an exception class of a module
    that this process has loaded by itself. Nothing is imported, not even by a module that loads its parts when asked.
    """
    if not isinstance(form, Mapping):
        return None
    found: Any = sys.modules.get(str(form.get("exc_module")))
    for name in str(form.get("exc_type")).split("."):
        found = getattr(found, "__dict__", {}).get(name)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        return None
    arguments = form.get("exc_message")
    try:
        return found(*arguments) if isinstance(arguments, list) else found(arguments)
    except Exception:
        return None  # It wants other arguments than those it was left with.
