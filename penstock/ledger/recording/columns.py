"""What the row of a job is made of: all of it when it is new, and what a record changes of one that is there.

Values are such as every driver takes: text that fits and that no database refuses, JSON as text, times with their zone.
"""

from __future__ import annotations

from typing import Any, overload

from penstock import tags
from penstock.errors import UnserialisableResult
from penstock.job import State
from penstock.ledger.encoding import encoded
from penstock.ledger.recording.fence import Found, is_new_attempt, is_waiting_again, pair_after, target
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, Failure, clip
from penstock.ledger.tables import ID_LENGTH, plain
from penstock.ledger.values import UNKNOWN_TASK

Changes = dict[str, Any]
"""Values by their columns."""
Row = tuple[Any, ...]
"""Values in the order of COLUMNS; the first is the id."""
COLUMNS = (
    "id",
    "task",
    "queue",
    "worker",
    "token",
    "parent_id",
    "root_id",
    "group_id",
    "replay_of",
    "schedule",
    "state",
    "reason",
    "retries",
    "deliveries",
    "attempts",
    "priority",
    "tags",
    "args",
    "kwargs",
    "result",
    "progress",
    *Failure.COLUMNS,
    "enqueued_at",
    "eta",
    "started_at",
    "finished_at",
    "updated_at",
)
NO_FAILURE: Row = (None,) * len(Failure.COLUMNS)


def new_row(record: Record) -> Row:
    """The row of a job that has none."""
    delivery, outcome = record.delivery, record.outcome
    state = target(record)
    waits = is_waiting_again(record)
    retries, deliveries = pair_after(record) if waits else (delivery.retries, delivery.deliveries)
    has_ended = record.step is Step.END and outcome is not None
    return (
        *_texts(delivery, waits or state is State.BLOCKED),
        state.value,
        outcome.reason.value if outcome and outcome.reason else None,
        retries,
        deliveries,
        int(is_new_attempt(None, record)),
        delivery.priority,
        tags.to_text(delivery.tags),
        *_arguments(delivery),
        encoded(outcome.result) if outcome and has_ended else None,
        record.progress,
        *(_failed(outcome.failure) if outcome and has_ended and outcome.failure else NO_FAILURE),
        delivery.enqueued_at,
        (outcome.due if outcome else None) or delivery.eta,
        _started_at(record),
        record.at if state.is_final else None,
        record.at,
    )


def _texts(delivery: Delivery, has_no_token: bool) -> Row:
    """The short texts, each as its column takes it. When all of them together fit, each one does."""
    texts = (
        delivery.id,
        delivery.task,
        delivery.queue,
        delivery.worker,
        None if has_no_token else delivery.token,
        delivery.parent_id,
        delivery.root_id,
        delivery.group_id,
        delivery.replay_of,
        delivery.schedule,
    )
    together = "".join(filter(None, texts))
    if len(together) <= ID_LENGTH and together.isascii() and "\x00" not in together:
        return texts
    return tuple(fit(text) if text is not None else None for text in texts)


def changes(found: Found, record: Record) -> Changes:
    """What the record changes of the row that it was allowed to change."""
    changed = _changed(record)
    if record.step is Step.BACK:
        return changed | {"attempts": found.attempts - 1, "started_at": None, "worker": None}
    if is_new_attempt(found, record):
        changed["attempts"] = found.attempts + 1
    if (started_at := _started_at(record)) is not None:
        changed["started_at"] = started_at
    if record.delivery.worker is not None:
        changed["worker"] = fit(record.delivery.worker)
    if knows_better(found, record.delivery):
        changed |= completed(record.delivery)
    return changed


def completed(delivery: Delivery) -> Changes:
    """What a message says of its job, for a row that knew less."""
    args, kwargs = _arguments(delivery)
    # Tags stay when the task is replaced by one that has none.
    own = {"tags": tags.to_text(delivery.tags)} if delivery.tags else {}
    return own | {
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


def knows_better(found: Found, delivery: Delivery) -> bool:
    """Whether the message says more than the row: that knows only the id, or the task that this one has replaced."""
    if delivery.queue is None or delivery.task == UNKNOWN_TASK:
        return False
    return found.queue is None or found.task != fit(delivery.task)


def _arguments(delivery: Delivery) -> tuple[str | None, str | None]:
    """Those that JSON has no form for are kept as their text."""
    try:
        return encoded(delivery.args), encoded(delivery.kwargs)
    except UnserialisableResult:
        shown = delivery.with_arguments_as_text()
        return encoded(shown.args), encoded(shown.kwargs)


def _changed(record: Record) -> Changes:
    state = target(record)
    outcome = record.outcome
    retries, deliveries = pair_after(record)
    waits = state not in (State.RUNNING, State.BLOCKED) and not state.is_final
    changed: Changes = {
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


def _ended(record: Record) -> Changes:
    assert record.outcome is not None, "an END has an outcome"
    ended: Changes = {"result": encoded(record.outcome.result)}
    if record.outcome.failure is not None:
        ended |= zip(Failure.COLUMNS, _failed(record.outcome.failure), strict=True)
    elif record.outcome.state is State.SUCCEEDED:
        ended |= zip(Failure.COLUMNS, NO_FAILURE, strict=True)
    return ended


def _failed(failure: Failure) -> Row:
    return (
        fit(failure.type),
        plain(failure.message),
        encoded(failure.exception),
        plain(failure.traceback) if failure.traceback is not None else None,
        failure.fingerprint,
    )


def _started_at(record: Record) -> Any:
    if record.step in (Step.START, Step.RUNNING):
        return record.started_at or record.at
    return record.started_at if record.step is Step.END else None


@overload
def fit(value: str) -> str: ...


@overload
def fit(value: str | None) -> str | None: ...


def fit(value: str | None) -> str | None:
    """``value`` as a short column takes it; nearly every one is so already."""
    if value is None or (len(value) <= ID_LENGTH and value.isascii() and "\x00" not in value):
        return value
    return clip(value)
