"""Submitting one job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from penstock import message
from penstock.client.job import Job
from penstock.client.publishing import Destination, Outgoing, publisher
from penstock.client.sending import Parcel, begin_for_loop, settle_for_loop
from penstock.client.signals import announced
from penstock.client.templates import new_ids, way
from penstock.client.transactions import keep
from penstock.outbox import Outbox, current_outbox, outbox
from penstock.task import BoundCall, Options, Task

if TYPE_CHECKING:
    from penstock.outbox import AnySession

R = TypeVar("R")


def put_scheduled(block: Outbox, call: BoundCall[Any], schedule: str) -> None:
    """Puts a job that a schedule starts into a transaction. Its arguments are JSON already, as the schedule is.

    Raises:
        ArgumentError: the arguments do not fit, or are not JSON.
    """
    task, options, args, kwargs = call
    task.read(args, kwargs)
    arguments = message.check(task.name, args, kwargs, publisher().settings.max_argument_bytes)
    destination, template = way(task, options, datetime.now(UTC), in_outbox=True, schedule=schedule)
    (id,) = new_ids(1)
    keep(block, destination, [Outgoing(id, template, arguments)])


def send(declared: Task[..., R], options: Options, args: Any, kwargs: Any, session: AnySession | None = None) -> Job[R]:
    """Submits one job of a declared task; what ``Task.enqueue`` calls."""
    if session is not None:
        with outbox(session):
            return send(declared, options, args, kwargs)
    block = current_outbox()
    destination, outgoing = _prepared(declared, options, args, kwargs, in_outbox=block is not None)
    if block is None:
        publisher().publish(destination, [outgoing])
    else:
        keep(block, destination, [outgoing])
    return Job(outgoing.id, declared.name, options.queue)


async def asend(
    declared: Task[..., R], options: Options, args: Any, kwargs: Any, session: AnySession | None = None
) -> Job[R]:
    """:func:`send` for coroutines. A thread waits for Redis; a session stays in the one that it belongs to.

    The message is made in the caller's own thread and context, which know the job and the trace that it belongs to.
    """
    if session is not None:
        async with outbox(session):
            return send(declared, options, args, kwargs)
    if current_outbox() is not None:
        return send(declared, options, args, kwargs)
    destination, outgoing = _prepared(declared, options, args, kwargs, in_outbox=False)
    messages, tell = announced([outgoing])
    await settle_for_loop(begin_for_loop(Parcel(publisher(), destination, messages)))
    if tell is not None:
        tell()
    return Job(outgoing.id, declared.name, options.queue)


def _prepared(
    declared: Task[..., Any], options: Options, args: Any, kwargs: Any, *, in_outbox: bool
) -> tuple[Destination, Outgoing]:
    if (conversion := declared.conversion) is not None:
        args, kwargs = conversion.encode(args, kwargs)
    arguments = message.check(declared.name, args, kwargs, publisher().settings.max_argument_bytes)
    destination, template = way(declared, options, datetime.now(UTC), in_outbox=in_outbox)
    (id,) = new_ids(1)
    return destination, Outgoing(id, template, arguments)
