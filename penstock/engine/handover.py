"""Jobs hand over what became of them together with their result, by the way that Celery's pool has for that anyway.

So nobody but the keeper needs a connection to SQL, whichever pool runs the jobs, and a job's process may die at any
moment after its result has left it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from billiard.einfo import ExceptionInfo

from penstock.ledger.collecting import collecting

RAISED = 2
"""In place of Celery's 0 or 1 for a failure: the tracer raised after it had recorded an outcome."""


class Keeper(Protocol):
    """Takes the records; see ``penstock.engine.link``."""

    def record_words(self, words: str) -> None:
        """Has a record written."""


def traced(
    trace: Callable[..., Any], name: str, uuid: str, request: Any, *rest: Any
) -> tuple[int, Any, Any, list[str]]:
    """Runs a job by Celery's tracer and returns what that does, and the words of its records."""
    with collecting(uuid, request) as collection:
        try:
            failed, result, runtime = trace(name, uuid, request, *rest)
        except Exception:
            if not collection.records:
                raise
            failed, result, runtime = RAISED, ExceptionInfo(), None
    return failed, result, runtime, collection.words()


class Handover:
    """A pool's ``apply_async`` for jobs that hand over their records."""

    def __init__(self, apply_async: Callable[..., Any], keeper: Keeper) -> None:
        self._apply_async = apply_async
        self._keeper = keeper

    def __call__(
        self,
        target: Callable[..., Any],
        args: Any = (),
        *rest: Any,
        callback: Callable[..., Any],
        error_callback: Callable[..., Any],
        **options: Any,
    ) -> Any:
        """Celery's, for one of its tracers."""

        def on_done(told: Any, **extra: Any) -> Any:
            if not isinstance(told, tuple):
                return callback(told, **extra)  # An error of the pool's own.
            failed, result, runtime, records = told
            # Before Celery answers the message: a claim ends after what was recorded of it before.
            for words in records:
                self._keeper.record_words(words)
            if failed == RAISED:
                return error_callback(result)
            return callback((failed, result, runtime), **extra)

        return self._apply_async(
            traced, (target, *args), *rest, callback=on_done, error_callback=error_callback, **options
        )
