"""Attempts of tasks with a breaker, told to the keeper as they end.

By what the body raises, in the process that runs it: there the classes of exceptions are known, and nothing is asked of
tasks without a breaker.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from billiard.exceptions import TimeLimitExceeded
from celery.exceptions import Retry, TaskPredicate

from penstock.breaker import Breaker
from penstock.ledger.outlet import outlet
from penstock.ledger.values import claim_token
from penstock.retrying import Snooze, decision_in

_MARK = "tells_of_attempts"
CODE = ("run", __file__)
"""Name and file of what is put around a body here, by which its frames are found."""
FAULT_LENGTH = 200


class Attempt(NamedTuple):
    """One start of a job that has ended, as far as a breaker asks."""

    task: str
    claim: str
    """By which a probe is known."""
    failed: bool | None
    """None: there was none, and nothing was told of it before. A probe gives its turn to another job then."""
    fault: str
    """What it failed with."""


Tell = Callable[[Attempt], None]
_tell: Tell | None = None


def set_teller(tell: Tell | None) -> None:
    """Tells of attempts by this from now on, in this process and those that it forks."""
    global _tell
    _tell = tell


def breaker_of(task: Any) -> Breaker | None:
    """A task's breaker: of a declared one, or an attribute of a plain task of Celery's."""
    breaker = getattr(task, "breaker", None)
    return breaker if isinstance(breaker, Breaker) else None


def watch(app: Any) -> frozenset[str]:
    """Has the bodies of all tasks with a breaker watched; before Celery builds its tracers of them.

    Returns:
        Names of those whose successes count as well.
    """
    found = {task: breaker for task in app.tasks.values() if (breaker := breaker_of(task))}
    for task, breaker in found.items():
        if not hasattr(task.run, _MARK):
            task.run = _watched(task, breaker)
    return frozenset(task.name for task, breaker in found.items() if breaker.ratio is not None)


def _watched(task: Any, breaker: Breaker) -> Callable[..., Any]:
    body = task.run

    @wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            result = body(*args, **kwargs)
        except Exception as error:
            _note_error(task, breaker, error)
            raise
        _note(task, False, "")
        return result

    setattr(run, _MARK, True)
    return run


def _note_error(task: Any, breaker: Breaker, error: Exception) -> None:
    """Celery's answers, and what a body decides, are no failures, but for a retry because of one."""
    cause = error.exc if isinstance(error, Retry) and isinstance(error.exc, Exception) else error
    decision = decision_in(cause)
    if isinstance(decision, Snooze):
        return  # The body has put its work off, so it says nothing.
    if isinstance(cause, TimeLimitExceeded) and outlet() is not None:
        return  # The keeper counts it by its record, as it does where the limit has ended the process with the body.
    is_answer = isinstance(cause, TaskPredicate) or decision is not None
    _note(task, not is_answer and isinstance(cause, breaker.on), f"{type(cause).__name__}: {cause}"[:FAULT_LENGTH])


def _note(task: Any, failed: bool, fault: str) -> None:
    info = task.request.delivery_info or {}
    claim = claim_token(info.get("claimer"), info.get("token"))
    if _tell is not None and claim is not None:
        _tell(Attempt(task.name, claim, failed, fault if failed else ""))
