"""Waiting for the ends of many jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from penstock.client.job import Job
from penstock.client.publishing import publisher
from penstock.results import pauses

R = TypeVar("R")


def as_ended(jobs: Iterable[Job[R]], timeout: float) -> Iterator[Job[R]]:
    """Jobs in the order in which they end, each with its row; ``job.result(0)`` then waits for nothing.

    Args:
        timeout: seconds for all of them.

    Raises:
        TimeoutError: some have not ended in time; they go on.
        LedgerUnavailable: the SQL database does not answer.
    """
    waiting = {job.id: job for job in jobs}
    yield from _ended(waiting, set(waiting))
    if not waiting:
        return
    with publisher().hearing.ear(waiting) as ear:
        for pause in pauses(timeout):
            news = ear.wait(pause)
            yield from _ended(waiting, news or set(waiting))
            if not waiting:
                return
    raise TimeoutError(f"{len(waiting)} of the jobs have not ended within {timeout:g} s; they go on")


def _ended(waiting: dict[str, Job[R]], ids: set[str]) -> list[Job[R]]:
    """Those of ``ids`` that have ended, which wait no more."""
    from penstock.ledger import queries
    from penstock.ledger.session import reading

    if not (asked := list(ids & waiting.keys())):
        return []
    with reading(publisher().settings.database_url) as connection:
        rows = [row for row in queries.find_jobs(connection, asked) if row.state.is_final]
    for row in rows:
        waiting[row.id].row = row
    return [waiting.pop(row.id) for row in sorted(rows, key=lambda row: row.updated_at)]
