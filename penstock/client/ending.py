"""Waiting for the ends of many jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from penstock.client.ears import alistening
from penstock.client.job import Job
from penstock.client.looking import find_ended
from penstock.client.publishing import publisher
from penstock.results import pauses
from penstock.threads import in_a_thread

if TYPE_CHECKING:
    from penstock.ledger.rows import JobRow

R = TypeVar("R")


def as_ended(jobs: Iterable[Job[R]], timeout: float) -> AsEnded[R]:
    """Jobs in the order in which they end, each with its row; ``job.result(0)`` then waits for nothing.

    For ``for job in as_ended(jobs, 60)``, and in a coroutine ``async for job in as_ended(jobs, 60)``.

    Args:
        timeout: seconds for all of them, from the first one that is asked for.

    Raises:
        TimeoutError: some have not ended in time; they go on.
        LedgerUnavailable: the SQL database does not answer.
    """
    return AsEnded(jobs, timeout)


class AsEnded(Iterator[Job[R]], AsyncIterator[Job[R]], Generic[R]):
    """What :func:`as_ended` returns: to be iterated over once, in one of the two ways."""

    def __init__(self, jobs: Iterable[Job[R]], timeout: float) -> None:
        self._waiting = {job.id: job for job in jobs}
        self._timeout = timeout
        self._each: Generator[Job[R]] | None = None
        self._aeach: AsyncGenerator[Job[R]] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job[R]:
        self._each = self._each or self._ended()
        return next(self._each)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job[R]:
        self._aeach = self._aeach or self._aended()
        return await anext(self._aeach)

    def _ended(self) -> Generator[Job[R]]:
        yield from self._take(find_ended(self._waiting))
        if not self._waiting:
            return
        with publisher().hearing.ear(self._waiting) as ear:
            for pause in pauses(self._timeout):
                news = ear.wait(pause)
                yield from self._take(find_ended(self._still(news)))
                if not self._waiting:
                    return
        raise self._overdue()

    async def _aended(self) -> AsyncGenerator[Job[R]]:
        for job in self._take(await in_a_thread(find_ended, list(self._waiting))):
            yield job
        if not self._waiting:
            return
        async with alistening(list(self._waiting)) as ear:
            for pause in pauses(self._timeout):
                news = await ear.wait(pause)
                for job in self._take(await in_a_thread(find_ended, self._still(news))):
                    yield job
                if not self._waiting:
                    return
        raise self._overdue()

    def _still(self, news: set[str]) -> list[str]:
        """Those to look at: the ones that were heard of, or all that have not ended."""
        return list(news & self._waiting.keys() if news else self._waiting)

    def _take(self, rows: list[JobRow]) -> list[Job[R]]:
        """The jobs of these rows, which wait no more."""
        for row in rows:
            self._waiting[row.id].row = row
        return [self._waiting.pop(row.id) for row in rows]

    def _overdue(self) -> TimeoutError:
        count = f"{len(self._waiting)} of the jobs have"
        return TimeoutError(f"{count} not ended within {self._timeout:g} s; they go on")
