"""Submitting many jobs."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from penstock.client.bulk import Chunk, Intake, Part
from penstock.client.job import Job
from penstock.client.publishing import publisher
from penstock.client.sending import Parcel, begin_for_loop, fate
from penstock.client.signals import announced
from penstock.client.transactions import keep
from penstock.errors import ArgumentError, BrokerUnavailable
from penstock.outbox import current_outbox, outbox
from penstock.task import BoundCall
from penstock.threads import noted

if TYPE_CHECKING:
    from penstock.client.gathering import Request
    from penstock.outbox import AnySession

R = TypeVar("R")
T = TypeVar("T")
CHUNK = 1000
TURN_SECONDS = 0.002
"""How long messages are made before a loop gets its turn."""


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
    _require_sensible(chunk)
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


async def aenqueue_many(
    calls: Iterable[BoundCall[R]] | AsyncIterable[BoundCall[R]],
    *,
    chunk: int = CHUNK,
    session: AnySession | None = None,
) -> list[Job[R]]:
    """As :func:`enqueue_many`, from coroutines: the loop goes on while messages are made and while Redis has them.

    Args:
        calls: taken in the loop's thread; also of an asynchronous generator.
        chunk: how many calls are checked and sent together.
        session: SQLAlchemy's, also one that has to be awaited.

    Returns:
        A job for each call, in the order of the calls.

    Raises:
        ArgumentError: as :func:`enqueue_many`.
        BrokerUnavailable: likewise.
        OutboxError: likewise.
        CancelledError: with a note that says which calls were accepted.
    """
    _require_sensible(chunk)
    if session is not None:
        async with outbox(session):
            return await aenqueue_many(calls, chunk=chunk)
    jobs: list[Job[R]] = []
    bulk = _AsyncBulk()
    with noted(bulk.give_up):
        try:
            async for taken in _chunks(calls, chunk):
                jobs += await bulk.submit(taken)
        except Exception:
            await bulk.settle()
            raise
        await bulk.settle()
    return jobs


def _require_sensible(chunk: int) -> None:
    if chunk < 1:
        raise ValueError(f"chunk={chunk}: at least 1")


async def _chunks(
    calls: Iterable[BoundCall[R]] | AsyncIterable[BoundCall[R]], size: int
) -> AsyncIterator[list[BoundCall[R]]]:
    if not isinstance(calls, AsyncIterable):
        waiting = iter(calls)
        while taken := list(islice(waiting, size)):
            yield taken
        return
    taken = []
    async for call in calls:
        taken.append(call)
        if len(taken) == size:
            yield taken
            taken = []
    if taken:
        yield taken


class _Bulk:
    """Submits chunk after chunk; the next one is built while Redis takes the last."""

    def __init__(self) -> None:
        self._intake = Intake(current_outbox())
        self._sending: tuple[Callable[[], None], Part] | None = None
        """What is on its way, and how to wait for it."""

    def submit(self, calls: list[BoundCall[R]]) -> list[Job[R]]:
        """Checks a chunk, waits for what is on its way, and sends the chunk."""
        chunk = Chunk(calls, self._intake.taken, self._intake.block)
        try:
            chunk.build()
        except ArgumentError as error:
            self.settle()
            raise ArgumentError(f"{error}; {self._intake}") from None
        self._intake.taken += len(calls)
        begin: Callable[..., Callable[[], None]] = publisher().begin_quietly if chunk.is_quiet else publisher().begin
        if self._intake.block is not None:
            begin = partial(keep, self._intake.block)
        for part in chunk.parts():
            # One at a time, so that jobs for one destination stay in the order of their calls.
            self.settle()
            self._sending = self._reporting(partial(begin, part.destination, part.jobs)), part
        return chunk.jobs

    def settle(self) -> None:
        """Waits for what is on its way."""
        if self._sending is None:
            return
        (wait, part), self._sending = self._sending, None
        self._reporting(wait)
        self._intake.accept(part)

    def _reporting(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except BrokerUnavailable as error:
            raise BrokerUnavailable(f"{error}; {self._intake}") from error


class _AsyncBulk:
    """The same for coroutines."""

    def __init__(self) -> None:
        self._intake = Intake(current_outbox())
        self._sending: tuple[Request[Parcel, None], Callable[[], None] | None, Part] | None = None
        """What is on its way, and what then sends the signal of it."""

    async def submit(self, calls: list[BoundCall[R]]) -> list[Job[R]]:
        """Checks a chunk, waits for what is on its way, and sends the chunk."""
        import asyncio

        chunk = Chunk(calls, self._intake.taken, self._intake.block)
        try:
            while not chunk.build(TURN_SECONDS):
                await asyncio.sleep(0)
        except ArgumentError as error:
            await self.settle()
            raise ArgumentError(f"{error}; {self._intake}") from None
        self._intake.taken += len(calls)
        for part in chunk.parts():
            await self.settle()
            self._begin(part, is_quiet=chunk.is_quiet)
        return chunk.jobs

    def _begin(self, part: Part, *, is_quiet: bool) -> None:
        if self._intake.block is not None:
            keep(self._intake.block, part.destination, part.jobs)
            self._intake.accept(part)
            return
        messages, tell = (part.jobs, None) if is_quiet else announced(part.jobs)
        self._sending = begin_for_loop(Parcel(publisher(), part.destination, messages)), tell, part

    async def settle(self) -> None:
        """Awaits what is on its way."""
        if self._sending is None:
            return
        request, tell, part = self._sending
        try:
            await request.answer
        except BrokerUnavailable as error:
            self._sending = None
            raise BrokerUnavailable(f"{error}; {self._intake}") from error
        self._sending = None
        self._intake.accept(part)
        if tell is not None:
            tell()

    def give_up(self) -> str:
        """Waits for nothing any more; what became of the calls."""
        return f"{self._intake}; {fate(self._sending[0])}" if self._sending else str(self._intake)
