"""Submitting many jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from penstock import message
from penstock.client.job import Job
from penstock.client.publishing import Destination, Outgoing, publisher
from penstock.client.signals import listened_signals
from penstock.client.templates import new_ids, way
from penstock.client.transactions import keep
from penstock.errors import ArgumentError, BrokerUnavailable
from penstock.message import Template
from penstock.outbox import current_outbox, outbox
from penstock.task import BoundCall

if TYPE_CHECKING:
    from penstock.outbox import AnySession

R = TypeVar("R")
T = TypeVar("T")
CHUNK = 1000
MAX_CALL_BYTES = 4_000_000
"""Bytes that one call of ``enqueue_many`` to Redis carries, or a single job that is larger."""


def enqueue_many(
    calls: Iterable[BoundCall[R]], *, chunk: int = CHUNK, session: AnySession | None = None
) -> list[Job[R]]:
    """Submits many jobs: ``enqueue_many(send_welcome.bind(user) for user in users)``.

    Calls are taken from the iterable chunk by chunk. A chunk is checked as a whole before any of it is sent, and its
    jobs for one queue, priority and due time reach Redis in one round trip, or several if they are large, in the order
    of the calls.

    Args:
        calls: of any tasks, made by ``bind``.
        chunk: how many calls are checked and sent together; Redis serves nobody else for a few milliseconds meanwhile.
        session: SQLAlchemy's, of the ledger's database: the jobs exist if and only if its transaction commits. For one
            that has to be awaited, call this inside of ``async with penstock.outbox(session)``.

    Returns:
        A job for each call, in the order of the calls.

    Raises:
        ArgumentError: of the call whose position it names; nothing of its chunk was sent, but the chunks before were.
        BrokerUnavailable: Redis did not take a chunk; its sentence says which calls were accepted.
        OutboxError: the session cannot take the jobs.
    """
    if chunk < 1:
        raise ValueError(f"chunk={chunk}: at least 1")
    if session is not None:
        with outbox(session):
            return enqueue_many(calls, chunk=chunk)
    waiting = iter(calls)
    jobs: list[Job[R]] = []
    bulk = _Bulk()
    try:
        while taken := list(islice(waiting, chunk)):
            jobs += bulk.submit(taken)
    finally:
        bulk.settle()
    return jobs


class _Bulk:
    """Submits chunk after chunk; the next one is built while Redis takes the last."""

    def __init__(self) -> None:
        self._block = current_outbox()
        self._taken = self._accepted = 0
        """Calls of the chunks that were begun, and of those that Redis has taken."""
        self._partly: list[str] = []
        """Queues whose jobs Redis has taken of the chunk in between."""
        self._sending: tuple[Callable[[], None], str, int] | None = None
        """What is on its way: how to wait for it, its queue, and the calls that are accepted with its chunk."""

    def submit(self, calls: list[BoundCall[R]]) -> list[Job[R]]:
        """Checks a chunk, waits for what is on its way, and sends the chunk."""
        is_quiet = self._block is None and listened_signals() is None
        try:
            jobs, groups = self._build(calls, is_quiet)
        except ArgumentError as error:
            self.settle()
            raise ArgumentError(f"{error}; {self._so_far()}") from None
        self._taken += len(calls)
        parts = [(destination, part) for destination, group in groups.items() for part in _parts(group)]
        begin: Callable[..., Callable[[], None]] = publisher().begin_quietly if is_quiet else publisher().begin
        if self._block is not None:
            begin = partial(keep, self._block)
        for number, (destination, part) in enumerate(parts, 1):
            # One at a time, so that jobs for one destination stay in the order of their calls.
            self.settle()
            wait = self._reporting(partial(begin, destination, part))
            self._sending = wait, destination.queue, self._taken if number == len(parts) else 0
        return jobs

    def settle(self) -> None:
        """Waits for what is on its way."""
        if self._sending is None:
            return
        (wait, queue, accepted), self._sending = self._sending, None
        self._reporting(wait)
        self._partly.append(queue)
        if accepted:
            self._accepted, self._partly = accepted, []

    def _build(self, calls: list[BoundCall[R]], is_quiet: bool) -> tuple[list[Job[R]], dict[Destination, list[Any]]]:
        """The jobs, and what goes where: messages, or what they are made of if somebody may want to change them."""
        limit, now = publisher().settings.max_argument_bytes, datetime.now(UTC)
        # By identity, as most calls of a chunk share one object, whose hash would cost more than the call.
        ways: dict[tuple[int, int], tuple[Template, list[Any]]] = {}
        groups: dict[Destination, list[Any]] = {}
        jobs: list[Job[R]] = []
        last, conversion = None, None
        for job_id, (task, options, args, kwargs) in zip(new_ids(len(calls)), calls, strict=True):
            try:
                task.check_arguments(args, kwargs)
                if task is not last:
                    last, conversion = task, task.conversion
                if conversion is not None:
                    args, kwargs = conversion.encode(args, kwargs)
                arguments = message.check(task.name, args, kwargs, limit)
            except ArgumentError as error:
                raise ArgumentError(f"call {self._taken + len(jobs) + 1:,}: {error}") from None
            key = id(task), id(options)
            if key not in ways:
                destination, template = way(task, options, now, in_outbox=self._block is not None)
                ways[key] = template, groups.setdefault(destination, [])
            template, group = ways[key]
            # What is made at once leaves no objects behind through which the garbage collector would go.
            group.append(
                (job_id, template.unsealed(job_id, arguments)) if is_quiet else Outgoing(job_id, template, arguments)
            )
            jobs.append(Job(job_id, task.name, options.queue))
        return jobs, groups

    def _reporting(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except BrokerUnavailable as error:
            raise BrokerUnavailable(f"{error}; {self._so_far()}") from error

    def _so_far(self) -> str:
        done = "accepted" if self._block is None else "put into the session's transaction"
        whole = f"calls 1 to {self._accepted:,} were {done}" if self._accepted else f"none was {done}"
        return (
            f"{whole}, and some of the next chunk, for {', '.join(dict.fromkeys(self._partly))}"
            if self._partly
            else whole
        )


def _parts(group: list[Any]) -> Iterator[list[Any]]:
    """A group in calls that hold Redis up for some milliseconds each, however large the arguments are."""
    part: list[Any] = []
    size = 0
    for each in group:
        length = len(each[1]) if len(each) == 2 else len(each.arguments.text)
        if part and size + length > MAX_CALL_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    yield part
