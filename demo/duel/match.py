"""What happens when: the load, the faults, the contest of filled queues, and the time to come to rest."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from demo.duel.command import STOCK
from demo.duel.faults import LOAD_ENDS, MINUTE, STEPS, WORKER
from demo.duel.judge import judge
from demo.duel.record import FILLED, FILLED_PREFIX, QUEUE
from demo.duel.side import KILLED, NotReady, Side

TICK = 0.25
SHORT, MIDDLE, LONG = 0.03, 0.3, 2.0
"""How long jobs of the load take, in seconds: most are short, and each second has two of the middle and a long one."""
FILLED_JOBS = 1000
"""Jobs of the contest, in a duel of a minute."""
CONTEST_SECONDS = 20.0
"""How long a side's contest lasts at most: what is left over then is not counted."""
LEASE = 15.0
"""How long after a kill the jobs of the dead may take to come back, here."""
QUIET, EXTRA = 3.0, 40.0
"""Seconds without anything new after which a side is at rest; and those that are added at most until both are."""
POLL = 0.03
SERVE_TRIES = 4


class Interrupted(Exception):
    """The match was called off."""


class Match:
    """Both sides' minute. :meth:`play` takes that long; everything else may be read meanwhile."""

    def __init__(self, sides: Sequence[Side], seconds: float) -> None:
        self.sides, self.seconds = sides, seconds
        self.phase = "the load begins"
        self.begun = time.monotonic()
        self.load_before = os.getloadavg()[0]
        self.jobs = tuple(rhythm(self._scaled(LOAD_ENDS)))
        self.filled = round(FILLED_JOBS * seconds / MINUTE)
        self._over = threading.Event()

    @property
    def elapsed(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.begun

    def call_off(self) -> None:
        """Makes :meth:`play` end soon."""
        self._over.set()

    def play(self) -> None:
        """All of it.

        Raises:
            Interrupted: it was called off.
            NotReady: a side does not do what it is told.
        """
        self.begun = time.monotonic()
        with ThreadPoolExecutor(2 * len(self.sides)) as pool:
            loads = [pool.submit(self._send, side) for side in self.sides]
            self.phase = "load and faults"
            for step in STEPS:
                self._until(self._scaled(step.at))
                _results([pool.submit(step.act, side, step.fault) for side in self.sides])
            _results(loads)
            self.phase = "the queues are filled"
            _results([pool.submit(self._fill, side) for side in self.sides])
        self._rest(self.elapsed + self._scaled(4))
        for side in self.sides:
            self.phase = f"{titled(side.name)} works off {self.filled:,} jobs"
            side.rate = self._contest(side)
        self.phase = "both come to rest"
        self._rest(max(self.seconds, self._returned_at()) + EXTRA)
        self.phase = "over"

    # -- inside -------------------------------------------------------------------------------------------------

    def _scaled(self, seconds: float) -> float:
        return seconds * self.seconds / MINUTE

    def _send(self, side: Side) -> None:
        for number, jobs in enumerate(self.jobs):
            self._until(number * TICK)
            side.producer.ask(do="send", seconds=jobs, queue=QUEUE)

    def _fill(self, side: Side) -> None:
        side.producer.ask(do="send", seconds=[0.0] * self.filled, queue=FILLED, prefix=FILLED_PREFIX)

    def _contest(self, side: Side) -> float:
        """One of its workers is given the filled queue; jobs per second from the first start to the last row."""
        self._serve(side)
        store, over = side.store(), time.monotonic() + CONTEST_SECONDS
        while (done := store.filled()) < self.filled and time.monotonic() < over:
            self._wait(POLL)
        last = time.monotonic()
        store.close()
        side.record.look()
        starts = [effect.at for effect in side.record.evidence().effects if effect.job.startswith(FILLED_PREFIX)]
        return done / (last - min(starts)) if starts else 0.0

    def _serve(self, side: Side) -> None:
        """Asks until the worker answers: it may be new, and the machine busy."""
        for _ in range(SERVE_TRIES):
            if side.producer.ask(do="serve", queue=FILLED, worker=f"{KILLED}@duel"):
                return
            self._wait(0)
        raise NotReady(f"{side.name}: {KILLED} does not take another queue")

    def _rest(self, latest: float) -> None:
        """Until both sides are at rest, or so many seconds have passed since the beginning."""
        while self.elapsed < latest and not all(self._is_at_rest(side) for side in self.sides):
            self._wait(0.2)

    def _is_at_rest(self, side: Side) -> bool:
        verdict = judge(side.record.evidence())
        if not (verdict.lost or verdict.unrecorded or verdict.open):
            return True
        quiet = time.monotonic() - side.record.changed > QUIET
        return quiet and not verdict.open and self.elapsed > self._returned_at()

    def _returned_at(self) -> float:
        """When the jobs of the killed worker have to be back."""
        kills = (step.at for step in STEPS if step.fault == WORKER and step.act is Side.kill_worker)
        return self._scaled(next(kills)) + LEASE + LONG

    def _until(self, at: float) -> None:
        self._wait(at - self.elapsed)

    def _wait(self, seconds: float) -> None:
        if self._over.wait(max(0.0, seconds)):
            raise Interrupted


def rhythm(seconds: float) -> Iterator[list[float]]:
    """How long the jobs take that each side gets at each tick: the same for both."""
    for number in range(int(seconds / TICK)):
        beat = number % 4
        yield [SHORT] * 5 + [LONG if beat == 0 else SHORT if beat == 2 else MIDDLE]


def titled(side: str) -> str:
    """A side's name for people."""
    return "stock Celery" if side == STOCK else "Penstock"


def _results(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()
