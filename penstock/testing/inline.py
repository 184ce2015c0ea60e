"""Runs jobs where they are enqueued."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from penstock.job import State

if TYPE_CHECKING:
    from penstock.testing.bench import Bench
    from penstock.testing.watching import Sent


class Inline:
    """Of one block. A body that enqueues has its job run inside of it, in whichever thread that happens."""

    def __init__(self, bench: Bench, *, raises: bool) -> None:
        self._bench = bench
        self._raises = raises
        self._waiting: ContextVar[list[str]] = ContextVar("penstock_waiting")
        """Jobs that follow from the one that runs here, and are run after its claim is settled."""

    def take(self, sent: list[Sent]) -> None:
        """Jobs are on their queues."""
        ids = [each.id for each in sent]
        if self._bench.is_following:
            self._waiting.get().extend(ids)
        else:
            self._run(ids)

    def finish(self) -> None:
        """Runs what transactions have committed in the meantime."""
        committed: list[str] = []
        mark = self._waiting.set(committed)
        try:
            with self._bench.following():
                self._bench.fetch(everything=True)
        finally:
            self._waiting.reset(mark)
        self._run(committed)

    def _run(self, ids: list[str]) -> None:
        first = len(self._bench.attempts)
        waiting = list(ids)
        mark = self._waiting.set(waiting)
        try:
            for id in waiting:  # It grows meanwhile.
                while self._run_once(id):
                    pass
        finally:
            self._waiting.reset(mark)
        if self._raises:
            self._raise(waiting, first)

    def _run_once(self, id: str) -> bool:
        """Runs one attempt of a job; whether it has asked for another."""
        self._bench.promote(everything=True)
        has_run = self._bench.run_job(id)
        last = next((attempt for attempt in reversed(self._bench.attempts) if attempt.id == id), None)
        return has_run and last is not None and last.state in (State.SCHEDULED, State.QUEUED)

    def _raise(self, ids: list[str], first: int) -> None:
        for attempt in self._bench.attempts[first:]:
            if attempt.id in ids and attempt.state is State.FAILED and attempt.error is not None:
                raise attempt.error
