"""Submitting ended jobs anew."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Connection

from penstock.app import PenstockApp, TaskTwin
from penstock.checks import require_redis
from penstock.errors import BrokerUnavailable, LedgerUnavailable, PenstockError
from penstock.ledger import queries
from penstock.ledger.failed import RETRY
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading, writing
from penstock.message import REPLAY_OF, TAGS
from penstock.operations.jobs.lookup import find_job


@dataclass(frozen=True)
class Retried:
    """A job that was submitted anew."""

    job: str
    """The id of the old one."""
    new: str


@dataclass(frozen=True)
class Edited:
    """Arguments in place of a job's own. What is None stays as it was."""

    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None

    @property
    def names(self) -> list[str]:
        """What is not as it was."""
        return [name for name in ("args", "kwargs") if getattr(self, name) is not None]


def retry(app: PenstockApp, given: Sequence[str], *, actor: str) -> Generator[Retried, None, None]:
    """Submits ended jobs anew, yields each as it is submitted, and notes it in the audit of the old one.

    Args:
        given: ids, or beginnings of ids that no other job has.

    Raises:
        PenstockError: one of them cannot be retried, and nothing was submitted.
        BrokerUnavailable: Redis did not take a job; those that were yielded are submitted.
    """
    yield from _retry(app, _find_each_once(app, given), actor, {})


def retry_edited(app: PenstockApp, given: str, edited: Edited, *, actor: str) -> Retried:
    """Submits one ended job anew with other arguments. The audit says which of them were edited.

    Raises:
        PenstockError: it cannot be retried, or the arguments do not fit its task; nothing was submitted.
        BrokerUnavailable: Redis did not take it.
    """
    (row,) = _find_each_once(app, [given])
    if not has_arguments(row) and len(edited.names) < len(fields(Edited)):
        raise PenstockError(f"{row.id}: the ledger has not its arguments; give both the positional and the named ones")
    row = replace(row, **{name: getattr(edited, name) for name in edited.names})
    (retried,) = _retry(app, [row], actor, {"edited": edited.names} if edited.names else {})
    return retried


def _retry(
    app: PenstockApp, rows: Sequence[JobRow], actor: str, details: dict[str, Any]
) -> Generator[Retried, None, None]:
    app.loader.import_default_modules()
    problems = [problem for row in rows if (problem := problem_of(app, row, is_edited=bool(details)))]
    if problems:
        raise PenstockError("\n".join(["nothing was submitted:", *(f"  - {problem}" for problem in problems)]))
    require_redis(app.settings)
    for row in rows:
        new = str(uuid.uuid4())
        submit(app, row, new, actor=actor, details=details)
        yield Retried(row.id, new)


def _find_each_once(app: PenstockApp, given: Sequence[str]) -> list[JobRow]:
    with reading(app.settings.database_url) as connection:
        found = [find_job(connection, id) for id in given]
    return list({row.id: row for row in found}.values())


def problem_of(app: PenstockApp, row: JobRow, *, is_edited: bool = False) -> str | None:
    """Why a job cannot be retried.

    Args:
        is_edited: its arguments are not its own.
    """
    if not row.state.is_final:
        return f"{row.id} has not ended, it is {row.state}; wait for it, or cancel it first"
    if row.queue is None and row.args is None:
        return f"{row.id} was cancelled before a worker saw its message; retry it when it has left its queue"
    task = app.tasks.get(row.task)
    if task is None:
        return f"{row.id}: this app has no task {row.task}; use the app that has it (celery -A …)"
    if not has_arguments(row):
        return f"{row.id}: the ledger has not its arguments, which were not JSON; submit it where they are known"
    why = misfit(task, row.args, row.kwargs)
    if why is None:
        return None
    if is_edited:
        return f"{row.id}: these arguments do not fit its task ({why})"
    return f"{row.id}: its arguments no longer fit its task ({why}); submit it with others"


def has_arguments(row: JobRow) -> bool:
    """Whether the recorder could keep the arguments, and not only their text."""
    if not isinstance(row.args, list) or not isinstance(row.kwargs, dict):
        return False
    is_text = set(row.kwargs) == {"unserialisable"} and len(row.args) == 1 and isinstance(row.args[0], str)
    return not is_text


def misfit(task: Any, args: Any, kwargs: Any) -> str | None:
    """Why the task does not take the arguments; its parameters may have changed since."""
    try:
        if isinstance(task, TaskTwin):
            task.declared.read(tuple(args), kwargs)
        elif task.typing:
            task.__header__(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return None


def submit(
    app: PenstockApp,
    row: JobRow,
    new: str,
    *,
    actor: str,
    details: dict[str, Any],
    is_wanted: Callable[[Connection], bool] = lambda _: True,
) -> bool:
    """Sends a job's call under a new id.

    The audit's row is committed after the message is out: a send that fails leaves no trace of a job.

    Args:
        is_wanted: asked inside of the transaction, before anything is done in it.

    Returns:
        False when it is not wanted, and was not sent.
    """
    sent = False
    try:
        with writing(app.settings.database_url) as connection:
            if not is_wanted(connection):
                return False
            queries.add_audit(connection, actor=actor, action=RETRY, job_id=row.id, details={"new": new, **details})
            _send(app, row, new)
            sent = True
    except LedgerUnavailable as error:
        if sent:
            raise LedgerUnavailable(
                f"{row.id} is retried as {new}, but the audit could not be written: {error}"
            ) from error
        raise
    return True


def _send(app: PenstockApp, row: JobRow, new: str) -> None:
    # What the row does not know stays as the task declares it.
    known = {"queue": row.queue, "priority": row.priority}
    options: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
    headers: dict[str, Any] = {REPLAY_OF: row.id, **({TAGS: list(row.tags)} if row.tags else {})}
    try:
        app.tasks[row.task].apply_async(row.args, row.kwargs, task_id=new, headers=headers, **options)
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerUnavailable(
            f"Redis did not take the retry of {row.id} ({error}); repeat the command for it"
        ) from error
