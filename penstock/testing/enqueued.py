"""A job that was submitted, as a test sees it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from penstock.client import Job
from penstock.errors import ArgumentError
from penstock.task import Task, declared_task

if TYPE_CHECKING:
    from penstock.testing.watching import Sent

R = TypeVar("R")


class CeleryTask(Protocol):
    """A task of Celery's, ``@shared_task`` or ``@app.task``."""

    @property
    def name(self) -> str:
        """Its name."""


AnyTask = Task[..., Any] | CeleryTask | str
"""A task, or its name."""


@dataclass(frozen=True, kw_only=True)
class Enqueued(Generic[R]):
    """A job that was submitted in this test.

    Attributes:
        id: of the job.
        task: the task's name.
        args: positional arguments, with the types of the task's annotations.
        kwargs: arguments by name, likewise.
        arguments: all of them by the names of the task's parameters, defaults among them.
        queue: where it waits.
        priority: 0 (first) to 9 (last).
        due: when it may start; None: at once.
        expires: when it is cancelled unless it has started; None: never.
        tags: words to find it by.
        schedule: name of the schedule that has started it, if one has.
        is_committed: False: it is in a transaction that nobody has committed so far.
    """

    id: str
    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    arguments: Mapping[str, Any] = field(repr=False)
    queue: str
    priority: int = 0
    due: datetime | None = None
    expires: datetime | None = None
    tags: tuple[str, ...] = ()
    schedule: str | None = None
    is_committed: bool = True

    @property
    def job(self) -> Job[R]:
        """Its handle: ``job.result(0)`` after a drain."""
        return Job(self.id, self.task, self.queue)


def name_of(task: AnyTask) -> str:
    """The name of a task."""
    return task if isinstance(task, str) else task.name


def enqueued_of(sent: Sent, known: Mapping[str, Any], *, is_committed: bool) -> Enqueued[Any]:
    """A message as a test sees it.

    Args:
        known: Celery's tasks by name, for those that are not declared with ``@task``.
    """
    from penstock.broker import envelope
    from penstock.ledger.values import as_time
    from penstock.message import TAGS
    from penstock.tags import of_header

    headers = sent.payload["headers"]
    args, kwargs = _arguments(envelope.body(sent.payload))
    declared, signature = declared_task(sent.task), None
    if declared is not None:
        signature = declared.signature
        with suppress(ArgumentError):
            args, kwargs = declared.read(args, kwargs)
    elif (task := known.get(sent.task)) is not None:
        signature = _signature(task.run)
    return Enqueued(
        id=sent.id,
        task=sent.task,
        args=args,
        kwargs=kwargs,
        arguments=_by_name(signature, args, kwargs),
        queue=sent.queue,
        priority=sent.payload["properties"].get("priority") or 0,
        due=sent.due,
        expires=as_time(headers.get("expires")),
        tags=of_header(headers.get(TAGS)),
        schedule=sent.schedule,
        is_committed=is_committed,
    )


def _arguments(body: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Of a message's body; a message of somebody else's may have none."""
    try:
        args, kwargs, _ = body
        return tuple(args), dict(kwargs)
    except (TypeError, ValueError):
        return (), {}


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _by_name(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the names of the parameters; those that do not fit by their positions."""
    if signature is not None:
        with suppress(TypeError):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            found = dict(bound.arguments)
            for parameter in signature.parameters.values():
                if parameter.kind is parameter.VAR_KEYWORD:
                    found |= found.pop(parameter.name, {})
            return found
    return {str(position): value for position, value in enumerate(args)} | kwargs
