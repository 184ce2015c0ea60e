"""How many jobs a child claims, and when: what it claims is to start soon, and to cost few round trips."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from penstock.broker.scripts import MAX_CLAIM
from penstock.engine.running.crew import Beside, Crew
from penstock.engine.running.pace import Flow, Pace
from penstock.engine.slots import Slot

WAIT_SECONDS = 1.0
TOGETHER_SECONDS = 0.005
"""How long a child that runs many jobs leaves places free for a claim that fills more of them, up to half."""


class Appetite:
    """Of one child."""

    def __init__(
        self,
        slot: Slot,
        crew: Crew,
        pace: Pace,
        *,
        left: Callable[[], int] | None,
        claims_ahead: bool,
        wait: Callable[[float], object],
    ) -> None:
        """Args:
        crew: runs what is claimed.
        pace: of the child's jobs.
        left: how many more jobs the child may take; None: any number.
        claims_ahead: whether jobs may wait here for a place: not where any job may be the last one.
        wait: waits for the keeper, or for whoever wakes this, for at most so many seconds.
        """
        self._slot = slot
        self._crew = crew
        self._pace = pace
        self._left = left
        self._claims_ahead = claims_ahead
        self._wait = wait
        self._flow = Flow(MAX_CLAIM)
        self.is_stuck = False
        """Whether what waits here for a place has been found to do so for long."""

    def most(self) -> int:
        """How many may be claimed now."""
        room = self._crew.room
        count = self._pace.count() if room is None else room + self._ahead()
        return min(count, self._left() if self._left is not None else sys.maxsize)

    def wanted(self, *, is_resting: bool) -> int:
        """How many to claim now: what is claimed then is started soon. 0: none, after a wait until that may change.

        Where short jobs end one after the other, a claim waits for a number of them, and asks Redis once for all.

        Args:
            is_resting: whether the last claim found nothing.
        """
        if not isinstance(self._crew, Beside):
            return self.most()
        now = time.monotonic()
        if is_resting:
            self._flow.forget(self._crew.ended, now)
        self._flow.measure(self._crew.ended, now)
        room = len(self._slot.places) + self._ahead()
        patience = self._slot.time("claimed_at") + TOGETHER_SECONDS - now
        # While some wait here, no place is free for want of a claim.
        enough = max(min(room // 2, MAX_CLAIM), 1) if patience > 0 or self._crew.waiting else 1
        if (count := self.most()) >= enough:
            return count
        self._crew.ask_for_wake(room - enough)
        if self.most() < enough:
            self._wait(patience if patience > 0 else WAIT_SECONDS)
        return 0

    def waited(self) -> None:
        """A claim has waited for what it has brought: that may be anything, and others may be as idle. None of it waits
        here for what came before having been quick.
        """
        if isinstance(self._crew, Beside):
            self._flow.forget(self._crew.ended, time.monotonic())

    def look_for_stuck(self) -> None:
        """Finds out whether what waits here does so for long."""
        if isinstance(self._crew, Beside):
            self.is_stuck |= self._flow.is_stuck(self._crew.ended, self._crew.waiting, time.monotonic())

    def _ahead(self) -> int:
        return self._flow.ahead(self._pace) if self._claims_ahead else 0
