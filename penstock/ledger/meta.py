"""A job's row in the form that Celery's AsyncResult reads."""

from __future__ import annotations

from typing import Any

from celery import states

from penstock.job import Reason, State
from penstock.ledger.rows import JobRow

CELERY_STATES = {
    State.QUEUED: states.PENDING,
    State.SCHEDULED: states.RETRY,
    State.BLOCKED: states.PENDING,
    State.RUNNING: states.STARTED,
    State.SUCCEEDED: states.SUCCESS,
    State.FAILED: states.FAILURE,
    State.CANCELLED: states.REVOKED,
}


def meta_of(row: JobRow) -> dict[str, Any]:
    """The row; its exception is still as JSON."""
    status, result = CELERY_STATES[row.state], row.result
    if row.state is State.RUNNING and row.progress:
        status, result = row.progress["state"], row.progress["meta"]
    elif row.state is State.CANCELLED:
        why = row.error_message if row.reason is Reason.BODY else row.reason
        result = {"exc_type": "TaskRevokedError", "exc_module": "celery.exceptions", "exc_message": [str(why)]}
    elif row.exception is not None and status in states.EXCEPTION_STATES:
        result = row.exception
    elif row.state is State.FAILED and not isinstance(result, dict):
        result = {"exc_type": "Reject", "exc_module": "celery.exceptions", "exc_message": [str(row.reason)]}
    return {
        "task_id": row.id,
        "status": status,
        "result": result,
        "traceback": row.error_traceback,
        "date_done": row.finished_at,
        "name": row.task,
        "args": row.args,
        "kwargs": row.kwargs,
        "worker": row.worker,
        "retries": row.retries,
        "queue": row.queue,
        "parent_id": row.parent_id,
        "group_id": row.group_id,
        "children": [],
    }
