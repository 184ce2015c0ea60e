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
    from penstock.progress import Progress

R = TypeVar("R")


def as_ended(jobs: Iterable[Job[R]], timeout: float) -> AsEnded[R]:
    """Jobs in the order in which they end, each with its row and progress; ``job.result(0)`` then waits for nothing.

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
        # They do not know this object, or a loop that is left early would listen until the garbage is collected.
        waiting = _Waiting(jobs, timeout)
        self._each = _ended(waiting)
        self._aeach = _aended(waiting)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job[R]:
        return next(self._each)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job[R]:
        return await anext(self._aeach)


class _Waiting(Generic[R]):
    """Jobs that have not ended so far."""

    def __init__(self, jobs: Iterable[Job[R]], timeout: float) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.timeout = timeout

    def asked(self, news: set[str]) -> list[str]:
        """Those to look at: the ones that were heard of, or all."""
        return list(news & self.jobs.keys() if news else self.jobs)

    def take(self, ended: list[tuple[JobRow, Progress | None]]) -> list[Job[R]]:
        """The jobs of these rows, which wait no more."""
        for row, progress in ended:
            self.jobs[row.id].row, self.jobs[row.id].progress = row, progress
        return [self.jobs.pop(row.id) for row, _ in ended]

    def overdue(self) -> TimeoutError:
        """For whoever waits no longer."""
        return TimeoutError(f"{len(self.jobs)} of the jobs have not ended within {self.timeout:g} s; they go on")


def _ended(waiting: _Waiting[R]) -> Generator[Job[R]]:
    yield from waiting.take(find_ended(waiting.jobs))
    if not waiting.jobs:
        return
    with publisher().hearing.ear(waiting.jobs) as ear:
        for pause in pauses(waiting.timeout):
            news = ear.wait(pause)
            yield from waiting.take(find_ended(waiting.asked(news)))
            if not waiting.jobs:
                return
    raise waiting.overdue()


async def _aended(waiting: _Waiting[R]) -> AsyncGenerator[Job[R]]:
    for job in waiting.take(await in_a_thread(find_ended, list(waiting.jobs))):
        yield job
    if not waiting.jobs:
        return
    async with alistening(list(waiting.jobs)) as ear:
        for pause in pauses(waiting.timeout):
            news = await ear.wait(pause)
            for job in waiting.take(await in_a_thread(find_ended, waiting.asked(news))):
                yield job
            if not waiting.jobs:
                return
    raise waiting.overdue()
