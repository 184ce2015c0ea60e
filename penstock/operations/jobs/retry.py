"""Submitting ended jobs anew."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from penstock.app import PenstockApp, TaskTwin
from penstock.checks import require_redis
from penstock.errors import BrokerUnavailable, LedgerUnavailable, PenstockError
from penstock.ledger import queries
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading, writing
from penstock.message import REPLAY_OF
from penstock.operations.jobs.lookup import find_job


@dataclass(frozen=True)
class Retried:
    """A job that was submitted anew."""

    job: str
    """The id of the old one."""
    new: str


def retry(app: PenstockApp, given: Sequence[str], *, actor: str) -> Generator[Retried, None, None]:
    """Submits ended jobs anew, yields each as it is submitted, and notes it in the audit of the old one.

    Args:
        given: ids, or beginnings of ids that no other job has.

    Raises:
        PenstockError: one of them cannot be retried, and nothing was submitted.
        BrokerUnavailable: Redis did not take a job; those that were yielded are submitted.
    """
    app.loader.import_default_modules()
    rows = _find_each_once(app, given)
    problems = [problem for row in rows if (problem := _problem(app, row))]
    if problems:
        raise PenstockError("\n".join(["nothing was submitted:", *(f"  - {problem}" for problem in problems)]))
    require_redis(app.settings)
    for row in rows:
        new = str(uuid.uuid4())
        _submit(app, row, new, actor)
        yield Retried(row.id, new)


def _find_each_once(app: PenstockApp, given: Sequence[str]) -> list[JobRow]:
    with reading(app.settings.database_url) as connection:
        found = [find_job(connection, id) for id in given]
    return list({row.id: row for row in found}.values())


def _problem(app: PenstockApp, row: JobRow) -> str | None:
    """Why a job cannot be retried."""
    if not row.state.is_final:
        return f"{row.id} has not ended, it is {row.state}; wait for it, or cancel it first"
    if row.queue is None and row.args is None:
        return f"{row.id} was cancelled before a worker saw its message; retry it when it has left its queue"
    task = app.tasks.get(row.task)
    if task is None:
        return f"{row.id}: this app has no task {row.task}; use the app that has it (celery -A …)"
    if not isinstance(row.args, list) or not isinstance(row.kwargs, dict) or _is_text_only(row):
        return f"{row.id}: the ledger has not its arguments, which were not JSON; submit it where they are known"
    return _misfit(task, row)


def _is_text_only(row: JobRow) -> bool:
    """Whether the recorder could keep only the text of the arguments."""
    return set(row.kwargs) == {"unserialisable"} and len(row.args) == 1 and isinstance(row.args[0], str)


def _misfit(task: Any, row: JobRow) -> str | None:
    """Whether the task's parameters have changed since."""
    try:
        if isinstance(task, TaskTwin):
            task.declared.check_arguments(tuple(row.args), row.kwargs)
        elif task.typing:
            task.__header__(*row.args, **row.kwargs)
    except TypeError as error:
        return f"{row.id}: its arguments no longer fit its task ({error}); submit it with others"
    return None


def _submit(app: PenstockApp, row: JobRow, new: str, actor: str) -> None:
    """The audit's row is committed after the message is out: a send that fails leaves no trace of a job."""
    sent = False
    try:
        with writing(app.settings.database_url) as connection:
            queries.add_audit(connection, actor=actor, action="retry", job_id=row.id, details={"new": new})
            _send(app, row, new)
            sent = True
    except LedgerUnavailable as error:
        if sent:
            raise LedgerUnavailable(
                f"{row.id} is retried as {new}, but the audit could not be written: {error}"
            ) from error
        raise


def _send(app: PenstockApp, row: JobRow, new: str) -> None:
    # What the row does not know stays as the task declares it.
    known = {"queue": row.queue, "priority": row.priority}
    options: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
    headers = {REPLAY_OF: row.id}
    try:
        app.tasks[row.task].apply_async(row.args, row.kwargs, task_id=new, headers=headers, **options)
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerUnavailable(
            f"Redis did not take the retry of {row.id} ({error}); repeat the command for it"
        ) from error
