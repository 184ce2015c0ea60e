"""What the row of a job is made of: all of it when it is new, and what a record changes of one that is there.

Values are such as every driver takes: text that fits and that no database refuses, JSON as text, times with their zone.
"""

from __future__ import annotations

from typing import Any

from penstock.errors import UnserialisableResult
from penstock.job import State
from penstock.ledger.delivery import UNKNOWN_TASK
from penstock.ledger.encoding import encoded
from penstock.ledger.recording.fence import Found, is_new_attempt, pair_after, target
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, Failure, clip
from penstock.ledger.tables import ID_LENGTH, jobs, plain

Columns = dict[str, Any]
COLUMNS = tuple(column.name for column in jobs.c)
NO_FAILURE: Columns = dict.fromkeys(Failure.COLUMNS)


def new_row(record: Record) -> Columns:
    """The row of a job that has none; columns that are missing are empty."""
    return {
        "id": fit(record.delivery.id),
        **_described(record.delivery),
        "worker": fit(record.delivery.worker),
        **_changed(record),
        "started_at": _started_at(record),
        "attempts": int(is_new_attempt(None, record)),
    }


def changes(found: Found, record: Record) -> Columns:
    """What the record changes of the row that it was allowed to change."""
    changed = _changed(record)
    if is_new_attempt(found, record):
        changed["attempts"] = found.attempts + 1
    if (started_at := _started_at(record)) is not None:
        changed["started_at"] = started_at
    if record.delivery.worker is not None:
        changed["worker"] = fit(record.delivery.worker)
    if knows_better(found, record.delivery):
        changed |= _described(record.delivery)
    return changed


def completed(delivery: Delivery) -> Columns:
    """What a message says of its job, for a row whose writer knew no more than the id."""
    return _described(delivery)


def knows_better(found: Found, delivery: Delivery) -> bool:
    """Whether the message says more than the row: that knows only the id, or the task that this one has replaced."""
    if delivery.queue is None or delivery.task == UNKNOWN_TASK:
        return False
    return found.queue is None or found.task != fit(delivery.task)


def _described(delivery: Delivery) -> Columns:
    args, kwargs = _arguments(delivery)
    return {
        "task": fit(delivery.task),
        "queue": fit(delivery.queue),
        "priority": delivery.priority,
        "args": args,
        "kwargs": kwargs,
        "enqueued_at": delivery.enqueued_at,
        "parent_id": fit(delivery.parent_id),
        "root_id": fit(delivery.root_id),
        "group_id": fit(delivery.group_id),
        "replay_of": fit(delivery.replay_of),
        "schedule": fit(delivery.schedule),
    }


def _arguments(delivery: Delivery) -> tuple[str | None, str | None]:
    """Those that JSON has no form for are kept as their text."""
    try:
        return encoded(delivery.args), encoded(delivery.kwargs)
    except UnserialisableResult:
        shown = delivery.with_arguments_as_text()
        return encoded(shown.args), encoded(shown.kwargs)


def _changed(record: Record) -> Columns:
    state = target(record)
    outcome = record.outcome
    retries, deliveries = pair_after(record)
    waits = state not in (State.RUNNING, State.BLOCKED) and not state.is_final
    changed: Columns = {
        "state": state.value,
        "reason": outcome.reason.value if outcome and outcome.reason else None,
        "retries": retries,
        "deliveries": deliveries,
        "token": None if waits or state is State.BLOCKED else fit(record.delivery.token),
        "eta": (outcome.due if outcome else None) or record.delivery.eta,
        "finished_at": record.at if state.is_final else None,
        "updated_at": record.at,
    }
    if record.progress is not None:
        changed["progress"] = record.progress
    if record.step is Step.END:
        changed |= _ended(record)
    return changed


def _ended(record: Record) -> Columns:
    assert record.outcome is not None, "an END has an outcome"
    ended: Columns = {"result": encoded(record.outcome.result)}
    failure = record.outcome.failure
    if failure is not None:
        ended |= {
            "error_type": fit(failure.type),
            "error_message": plain(failure.message),
            "exception": encoded(failure.exception),
            "error_traceback": plain(failure.traceback) if failure.traceback is not None else None,
            "error_fingerprint": failure.fingerprint,
        }
    elif record.outcome.state is State.SUCCEEDED:
        ended |= NO_FAILURE
    return ended


def _started_at(record: Record) -> Any:
    if record.step in (Step.START, Step.RUNNING):
        return record.started_at or record.at
    return record.started_at if record.step is Step.END else None


def fit(value: str | None) -> str | None:
    """``value`` as a short column takes it; nearly every one is so already."""
    if value is None or (len(value) <= ID_LENGTH and value.isascii() and "\x00" not in value):
        return value
    return clip(value)
