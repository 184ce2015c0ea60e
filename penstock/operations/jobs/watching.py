"""Watching jobs: news of several of them as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from penstock import client
from penstock.app import PenstockApp
from penstock.client import Job
from penstock.client.publishing import publisher
from penstock.errors import JobNotFound
from penstock.ledger.session import reading
from penstock.log import cursor_of
from penstock.operations.jobs.lookup import find_job
from penstock.operations.wording import is_uuid
from penstock.watching import News, Watch

STRANGE_SECONDS = 5.0
"""For so long nobody need know a job: a worker has claimed it, and it has no row yet."""


def jobs_of(app: PenstockApp, given: Sequence[str]) -> list[Job[Any]]:
    """The jobs with these ids, or the beginnings of ids; one that has just been submitted need not be known yet.

    Raises:
        JobNotFound: there is none, or there are several.
    """
    # Whatever app this is, the client shall ask its servers.
    client.configure(app.settings)
    return [Job(id, "?") for id in dict.fromkeys(_whole_id(app, each) for each in given)]


def require_known(job: Job[Any]) -> None:
    """Asks the ledger, the outbox and Redis.

    Raises:
        JobNotFound: none of them knows it.
    """
    if job.refresh().state is None:
        raise _nobodys(job.id)


def _whole_id(app: PenstockApp, given: str) -> str:
    with reading(app.settings.database_url) as connection:
        try:
            return find_job(connection, given).id
        except JobNotFound:
            if not is_uuid(given) and Job(given, "?").refresh().state is None:
                raise
    return given


def watch_jobs(app: PenstockApp, jobs: Sequence[Job[Any]], after: str | None = None) -> Iterator[tuple[Job[Any], News]]:
    """News of these jobs until all have ended, each with its job, whose row is that of the moment.

    Args:
        after: the cursor behind which the log of a single job is wanted.

    Raises:
        ArgumentError: the cursor is none.
        JobNotFound: nobody knows one of them.
    """
    watches = [_Watching(Watch(app.settings.database_url, job, cursor_of(after), None), job) for job in jobs]
    with publisher().hearing.ear([job.id for job in jobs]) as ear:
        while watches:
            now = time.monotonic()
            for each in [each for each in watches if each.due <= now]:
                if (news := each.watch.look()) is not None:
                    yield each.job, news
                each.check(news)
                if not each.goes_on():
                    watches.remove(each)
            soonest = min((each.due for each in watches), default=0.0)
            for id in ear.wait(max(soonest - time.monotonic(), 0.0)):
                for each in watches:
                    if each.job.id == id:
                        each.due = 0.0


class _Watching:
    """One of several."""

    def __init__(self, watch: Watch, job: Job[Any]) -> None:
        self.watch = watch
        self.job = job
        self._pauses = watch.pauses()
        self.due = time.monotonic() + next(self._pauses)
        self._strange_until: float | None = time.monotonic() + STRANGE_SECONDS

    def goes_on(self) -> bool:
        """Whether it is to be looked at again, and when."""
        pause = next(self._pauses, None)
        self.due = time.monotonic() + (pause or 0.0)
        return pause is not None

    def check(self, news: News | None) -> None:
        """Gives up a job that nobody knows."""
        if self._strange_until is None:
            return
        if self.job.state is not None or (news is not None and news.starts):
            self._strange_until = None
        elif time.monotonic() > self._strange_until:
            raise _nobodys(self.job.id)


def _nobodys(id: str) -> JobNotFound:
    return JobNotFound(
        f"nobody knows a job {id}: it was never enqueued here, or a stock producer sent it and it still waits; "
        "`queues list` and `queues peek` show what waits"
    )
