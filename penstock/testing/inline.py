"""Runs jobs where they are enqueued."""

from __future__ import annotations

from collections import deque
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
        self._following: deque[str] = deque()
        """Jobs that follow from one that has just ended: they run after its claim is settled."""

    def take(self, sent: list[Sent]) -> None:
        """Jobs are on their queues."""
        ids = [each.id for each in sent]
        if self._bench.is_publishing:
            self._following += ids
        else:
            self._run(ids)

    def finish(self) -> None:
        """Runs what was committed in the meantime."""
        self._bench.is_publishing = True  # They are told of one by one, and run here.
        try:
            self._bench.fetch(everything=True)
        finally:
            self._bench.is_publishing = False
        self._run([])

    def _run(self, ids: list[str]) -> None:
        waiting, self._following = deque([*ids, *self._following]), deque()
        first = len(self._bench.attempts)
        done = list[str]()
        while waiting:
            id = waiting.popleft()
            done.append(id)
            while self._run_once(id):
                pass
            waiting += self._following
            self._following.clear()
        if self._raises:
            self._raise(done, first)

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
