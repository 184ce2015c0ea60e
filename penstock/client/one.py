"""Submitting one job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from penstock import message
from penstock.client.job import Job
from penstock.client.publishing import Outgoing, publisher
from penstock.client.templates import new_ids, way
from penstock.client.threads import in_a_thread
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
    sender, block = publisher(), current_outbox()
    if (conversion := declared.conversion) is not None:
        args, kwargs = conversion.encode(args, kwargs)
    arguments = message.check(declared.name, args, kwargs, sender.settings.max_argument_bytes)
    destination, template = way(declared, options, datetime.now(UTC), in_outbox=block is not None)
    (id,) = new_ids(1)
    outgoing = [Outgoing(id, template, arguments)]
    if block is None:
        sender.publish(destination, outgoing)
    else:
        keep(block, destination, outgoing)
    return Job(id, declared.name, options.queue)


async def asend(
    declared: Task[..., R], options: Options, args: Any, kwargs: Any, session: AnySession | None = None
) -> Job[R]:
    """:func:`send` for coroutines. A thread waits for Redis; a session stays in the one that it belongs to."""
    if session is not None:
        async with outbox(session):
            return send(declared, options, args, kwargs)
    if current_outbox() is not None:
        return send(declared, options, args, kwargs)
    return await in_a_thread(send, declared, options, args, kwargs)
