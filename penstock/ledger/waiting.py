"""Celery's ways of waiting for results, ``AsyncResult.get()`` and those of groups, on the ledger.

Where the app's broker hears of ended jobs (``app.amqp.hearing``, see ``penstock.broker.hearing``), a waiter sleeps
until its job is announced. It looks at the ledger all the same at each ``interval``, as it does with other brokers:
the announcer may have died, and Redis may be away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from celery import states
from celery.exceptions import TimeoutError
from celery.result import ResultSet, result_from_tuple

from penstock.ledger import groups, queries
from penstock.ledger.meta import meta_of
from penstock.ledger.session import reading, writing

INTERVAL = 0.5
"""Celery's seconds between two looks."""
LONGEST = 1.0
"""Seconds after which a waiter looks at the latest."""
CONFIRMATION = 0.005
"""Seconds that Redis may take to confirm that a job is listened for, before it is looked at all the same."""
Meta = dict[str, Any]


class Ear(Protocol):
    """Hears of ended jobs."""

    def wait(self, seconds: float) -> set[str]:
        """Jobs at which it is time to look, as soon as there are some; none after ``seconds``."""


class Deaf:
    """In place of an ear."""

    def wait(self, seconds: float) -> set[str]:
        """Sleeps."""
        time.sleep(seconds)
        return set()


class Waiting:
    """For the bases of a result backend, before Celery's own."""

    supports_native_join = True
    app: Any
    _database: str
    _cache: Any

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float | None = INTERVAL,
        no_ack: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> Meta:
        """Waits until a job has ended; what AsyncResult reads.

        Raises:
            celery.exceptions.TimeoutError: it has not ended in time.
        """
        (meta,) = (meta for _, meta in self._as_they_end({task_id}, timeout, interval, on_interval))
        return meta

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float | None = INTERVAL,
        no_ack: bool = True,
        on_message: Callable[[Meta], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        propagate: bool = True,
    ) -> Any:
        """What ``AsyncResult.get()`` does in the end."""
        meta = self.wait_for(result.id, timeout, interval, no_ack, on_interval)
        if on_message is not None:
            on_message(meta)
        result._maybe_set_cache(meta)
        return result.maybe_throw(propagate=propagate, callback=callback)

    def iter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float | None = INTERVAL,
        no_ack: bool = True,
        on_message: Callable[[Meta], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """The members of a set of results in the order in which they end; sets among them come first, as they are."""
        members: dict[str, list[Any]] = {}
        for member in result.results or ():
            if isinstance(member, ResultSet):
                yield member.id, member.results
            else:
                members.setdefault(member.id, []).append(member)
        for id, meta in self.get_many(members, timeout, interval, no_ack, on_message, on_interval):
            for member in members[id]:
                member._maybe_set_cache(meta)
            yield id, meta

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float | None = INTERVAL,
        no_ack: bool = True,
        on_message: Callable[[Meta], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        max_iterations: int | None = None,
    ) -> Iterator[tuple[str, Meta]]:
        """Jobs in the order in which they end, with what AsyncResult reads.

        Args:
            max_iterations: how often to look; None: until all have ended.
        """
        for id, meta in self._as_they_end(set(task_ids), timeout, interval, on_interval, max_iterations):
            if on_message is not None:
                on_message(meta)
            yield id, meta

    def _as_they_end(
        self,
        ids: set[str],
        timeout: float | None,
        interval: float | None,
        on_interval: Callable[[], Any] | None,
        looks: int | None = None,
    ) -> Iterator[tuple[str, Meta]]:
        self._ensure_not_eager()  # type: ignore[attr-defined]
        deadline = None if timeout is None else time.monotonic() + timeout
        step = longest = min(INTERVAL if interval is None else interval, LONGEST)
        if len(ids) == 1 and timeout != 0 and looks is None and self._hearing is not None:
            # It may have been sent a moment ago: one look is enough, when it is listened for.
            found, step = self._at_hand(ids), min(CONFIRMATION, longest)
        else:
            # Most of many have ended when somebody asks. The others are looked at again when they are listened for.
            found = self._ended(ids)
        yield from found.items()
        waiting = ids - found.keys()
        looked = 1
        with self._ear(waiting) as ear:
            news: set[str] = set()
            while waiting and looked != looks:
                if on_interval is not None and not news:
                    on_interval()
                left = step if deadline is None else deadline - time.monotonic()
                if deadline is not None and left <= 0:
                    raise TimeoutError("The operation timed out.")
                news = ear.wait(min(step, left))
                found = self._ended(waiting & news if news else waiting)
                yield from found.items()
                waiting -= found.keys()
                looked, step = looked + 1, longest

    @property
    def _hearing(self) -> Any:
        return getattr(self.app.amqp, "hearing", None)

    def _ear(self, ids: set[str]) -> AbstractContextManager[Ear]:
        hearing = self._hearing if ids else None
        return hearing.ear(ids) if hearing is not None else nullcontext(Deaf())

    def _at_hand(self, ids: set[str]) -> dict[str, Meta]:
        """Those of these jobs of which it is known here that they have ended."""
        return {id: meta for id in ids if (meta := self._cache.get(id)) and meta["status"] in states.READY_STATES}

    def _ended(self, ids: set[str]) -> dict[str, Meta]:
        """Those of these jobs that have ended, in one query."""
        found = self._at_hand(ids)
        if missing := ids - found.keys():
            read = self._ensure_retryable(self._read_ended, missing)  # type: ignore[attr-defined]
            self._cache.update(read)
            found.update(read)
        return found

    def _read_ended(self, ids: set[str]) -> dict[str, Meta]:
        with reading(self._database) as connection:
            rows = queries.find_jobs(connection, list(ids))
        return {
            row.id: self.meta_from_decoded(meta_of(row))  # type: ignore[attr-defined]
            for row in rows
            if row.state.is_final
        }

    # -- saved groups -------------------------------------------------------------------------------------------

    def _save_group(self, group_id: str, result: Any) -> Any:
        with writing(self._database) as connection:
            groups.save_group(connection, group_id, result.as_tuple())
        return result

    def _restore_group(self, group_id: str) -> Meta | None:
        with reading(self._database) as connection:
            members = groups.find_group(connection, group_id)
        return {"result": result_from_tuple(members, app=self.app)} if members is not None else None

    def _delete_group(self, group_id: str) -> None:
        with writing(self._database) as connection:
            groups.delete_group(connection, group_id)
