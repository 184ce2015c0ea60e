"""Settles claims in batches: whatever has come while the last batch was on its way."""

from __future__ import annotations

import logging
import time
from collections import deque

from penstock.broker.scripts import REFUSED, Settlement
from penstock.engine.keeping import Duty, Ward
from penstock.engine.keeping.books import Place, Plains

logger = logging.getLogger("penstock.keeper")

BATCH = 500
NOTHING_TO_DO = 3600.0
PAUSE_SECONDS = 0.004
"""Between two batches. What comes after a pause is settled at once; under load batches grow by themselves."""


class Settle(Duty):
    """Performs as soon as there is something; keeps it until Redis has it."""

    def __init__(self, ward: Ward) -> None:
        super().__init__(ward)
        self._settlements: deque[tuple[int | Place, Settlement]] = deque()
        self._done: deque[Plains] = deque()
        self._claimed: deque[tuple[str, str]] = deque()
        self._retiring: list[str] = []
        self._settled = 0.0

    def add(self, whose: int | Place, settlement: Settlement) -> None:
        """Takes a settlement, and the number by which the worker hears of it, or the place where it was handed over."""
        self._settlements.append((whose, settlement))
        self.due = self._settled + PAUSE_SECONDS

    def add_done(self, plains: Plains) -> None:
        """Takes jobs that are done with; their claims end together."""
        self._done.append(plains)
        self.due = self._settled + PAUSE_SECONDS

    def add_claimed(self, jobs: list[list[str]]) -> None:
        """Takes (queue, job id) pairs that are not waiting any more."""
        self._claimed.extend((queue, id) for queue, id in jobs)
        self.due = self._settled + PAUSE_SECONDS

    def retire(self, worker: str) -> None:
        """Takes an incarnation that holds nothing more: whatever Redis still shows under its name goes back."""
        self._retiring.append(worker)
        self.due = self._settled + PAUSE_SECONDS

    def perform(self) -> float:
        """Settles all there is; the worker hears of each."""
        # First what has left the index: a settlement may put a job back into one.
        while self._claimed:
            jobs = [self._claimed[i] for i in range(min(len(self._claimed), BATCH))]
            self.ward.scripts.unindex(jobs)
            for _ in jobs:
                self._claimed.popleft()
        while self._done:
            together = self._of_one_claimer()
            self._end(together)
            for plains in together:
                self._done.remove(plains)
        while self._settlements:
            batch = [self._settlements[i] for i in range(min(len(self._settlements), BATCH))]
            answers = self.ward.scripts.settle(settlement for _, settlement in batch)
            for _ in batch:
                self._settlements.popleft()
            self._answer(batch, answers)
        while self._retiring:  # After its last settlements, or these would come too late.
            worker = self._retiring[0]
            self.ward.scripts.retire(worker, counted=False, crash_limit=self.ward.crash_limit)
            self.ward.workers = [kept for kept in self.ward.workers if kept != worker]
            self._retiring.pop(0)
        self._settled = time.monotonic()
        return NOTHING_TO_DO

    def _of_one_claimer(self) -> list[Plains]:
        """Those that one call ends: of the same claimer on the same queue."""
        first, together, size = self._done[0], [], 0
        for plains in self._done:
            if (plains.claimer, plains.queue) == (first.claimer, first.queue):
                together.append(plains)
                size += len(plains)
                if size >= BATCH:
                    break
        return together

    def _end(self, together: list[Plains]) -> None:
        claimer, queue = together[0].claimer, together[0].queue
        entries = [entry for plains in together for entry in plains.entries]
        tokens, ids = [entry.token for entry in entries], [entry.id for entry in entries]
        ended = self.ward.scripts.end(claimer, queue, tokens, ids)
        if ended < len(entries):
            refused = len(entries) - ended
            logger.warning("the ends of %d claims on %s were refused: they are not ours any more", refused, queue)
        for plains in together:
            plains.place.close()

    def _answer(self, batch: list[tuple[int | Place, Settlement]], answers: list[int]) -> None:
        settled = []
        for (whose, settlement), answer in zip(batch, answers, strict=True):
            if isinstance(whose, int):
                settled.append([whose, answer])
                continue
            if answer == REFUSED and settlement.verb != "return":
                logger.warning(
                    "%s of claim %s on %s was refused: it is not ours any more",
                    settlement.verb,
                    settlement.token,
                    settlement.queue,
                )
            whose.close()
        if settled:
            self.ward.tell(settled=settled)
