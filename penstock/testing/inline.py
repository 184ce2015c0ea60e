"""Runs jobs where they are enqueued."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

from penstock.client import sending
from penstock.client.gathering import Gathering
from penstock.client.publishing import MOST_JOBS
from penstock.job import State
from penstock.testing.draining import insist_on_a_free_ledger

if TYPE_CHECKING:
    from penstock.client.gathering import Request
    from penstock.testing.bench import Bench
    from penstock.testing.watching import Sent, Watch

Sends = Gathering[sending.Parcel, BaseException | None]


class Inline:
    """Of one block. A body that enqueues has its job run inside of it, in whichever thread that happens."""

    def __init__(self, bench: Bench, watch: Watch, *, raises: bool) -> None:
        self._bench = bench
        self._watch = watch
        self._raises = raises
        self._waiting: ContextVar[list[str]] = ContextVar("penstock_waiting")
        """Jobs that follow from the one that runs here, and are run after its claim is settled."""
        self._sends = SendsByDepth()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Until the end of the block coroutines send in a way that lets the jobs send on."""
        former, sending.sends = sending.sends, self._sends  # type: ignore[assignment]
        try:
            yield
        finally:
            sending.sends = former

    def take(self, sent: list[Sent]) -> None:
        """Jobs are on their queues."""
        ids = [each.id for each in sent]
        if self._bench.recording.is_following:
            self._waiting.get().extend(ids)
        else:
            self._run(ids)

    def finish(self) -> None:
        """Runs what transactions have committed in the meantime, and those of the jobs that it runs."""
        while committed := self._fetch_committed():
            self._run(committed)

    def _fetch_committed(self) -> list[str]:
        committed: list[str] = []
        mark = self._waiting.set(committed)
        try:
            with self._bench.recording.following():
                self._bench.fetch(everything=True)
        finally:
            self._waiting.reset(mark)
        return committed

    def _run(self, ids: list[str]) -> None:
        insist_on_a_free_ledger(self._bench, self._watch)
        first = len(self._bench.notes.attempts)
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
        last = self._bench.notes.last_of(id)
        return has_run and last is not None and last.state in (State.SCHEDULED, State.QUEUED)

    def _raise(self, ids: list[str], first: int) -> None:
        for attempt in self._bench.notes.attempts[first:]:
            if attempt.id in ids and attempt.state is State.FAILED and attempt.error is not None:
                raise attempt.error


class SendsByDepth:
    """Sends for coroutines while jobs run in the thread that sends them.

    A body that awaits ``aenqueue`` keeps that thread, so that what it sends needs another one: one for each depth.
    Nobody waits for a lower depth than its own, so that no two wait for each other.
    """

    def __init__(self) -> None:
        self._depth = ContextVar("penstock_depth", default=0)
        self._by_depth: dict[int, Sends] = {}

    def put(self, parcel: sending.Parcel) -> Request[sending.Parcel, BaseException | None]:
        """Has a parcel sent, as :meth:`Gathering.put` does."""
        return self._here().put(parcel)

    def was_begun(self, request: Request[sending.Parcel, BaseException | None]) -> bool:
        """As :meth:`Gathering.was_begun`; to be asked where the request was put."""
        return self._here().was_begun(request)

    def _here(self) -> Sends:
        depth = self._depth.get()
        if depth not in self._by_depth:
            made = Gathering("penstock-sending", partial(self._carry_out, depth + 1), threads=1, most=MOST_JOBS)
            self._by_depth.setdefault(depth, made)
        return self._by_depth[depth]

    def _carry_out(self, depth: int, parcels: list[sending.Parcel]) -> list[BaseException | None]:
        self._depth.set(depth)  # Of this thread, whose jobs are all as deep.
        return [_send(parcel) for parcel in parcels]


def _send(parcel: sending.Parcel) -> BaseException | None:
    """Sends a parcel alone, for the errors of its jobs are of nobody else; what has prevented it, or has come of it."""
    try:
        (error,) = sending.carry_out([parcel])
    except BaseException as raised:
        # A body may exit, or fail the test; whoever awaits it has to hear of that, and the thread goes on.
        return raised
    return error
