"""Looks after the breakers of tasks: counts attempts, starts probes, and brings back what was put aside.

All that is known of a breaker is in Redis and changes there in one step, so it does not matter which keeper does what,
nor where one dies: what it has not done, the next one finds as it was. Attempts that it has not counted yet are
forgotten with it; as long as a task fails, others follow.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.broker import breakers
from penstock.engine.attempts import Attempt
from penstock.engine.keeping import Duty, Ward
from penstock.job import Reason
from penstock.ledger.records import Record, Step

logger = logging.getLogger("penstock.keeper")
TICK_SECONDS, COUNT_SECONDS = 0.5, 0.1
HARD_LIMIT = "TimeLimitExceeded"


@dataclass
class _Ended:
    """Attempts of one task that Redis has not been told of."""

    failed: int = 0
    others: int = 0
    fault: str = ""
    told: list[str | int] = field(default_factory=list)
    """Of those that may have been probes: claims, each with 1 if it failed, 0 if not, '' if there was no attempt."""


class Breakers(Duty):
    """Of all tasks: any keeper does what has to be done, also for tasks that only others know."""

    def __init__(self, ward: Ward, rules: Mapping[str, list[str]]) -> None:
        """Args:
        rules: of the tasks with a breaker that this worker knows, see :attr:`penstock.breaker.Breaker.rule`.
        """
        super().__init__(ward)
        self._rules = rules
        self._ended: defaultdict[str, _Ended] = defaultdict(_Ended)
        self._broken: list[str] | None = None
        """Tasks whose breaker is not closed, as far as is known; None: a keeper before this one may have told anything.
        """

    # -- attempts -----------------------------------------------------------------------------------------------

    def count(self, attempt: Attempt) -> None:
        """Takes an attempt that has ended."""
        is_broken = attempt.task in (self._broken or ())
        if attempt.task not in self._rules or not (attempt.failed or is_broken or self._counts(attempt)):
            return
        ended = self._ended[attempt.task]
        if attempt.failed:
            ended.failed, ended.fault = ended.failed + 1, attempt.fault
        elif attempt.failed is not None:
            ended.others += 1
        if is_broken:
            ended.told += [attempt.claim, "" if attempt.failed is None else int(attempt.failed)]
        self.due = min(self.due, time.monotonic() + COUNT_SECONDS)

    def _counts(self, attempt: Attempt) -> bool:
        """Whether it counts though it has not failed. Processes of Celery's pools tell of all: they hear no news."""
        number_of_failures = self._rules[attempt.task][0]
        return attempt.failed is not None and not number_of_failures

    def notice(self, record: Record) -> None:
        """Takes an end that no body has told of: its process died, or was ended at its time limit."""
        outcome, delivery = record.outcome, record.delivery
        if record.step is not Step.END or outcome is None or delivery.task not in self._rules or not delivery.token:
            return
        failure = outcome.failure
        if outcome.reason == Reason.CRASHED or (failure is not None and failure.type.rpartition(".")[2] == HARD_LIMIT):
            fault = f"{failure.type}: {failure.message}" if failure is not None else "its process died"
            self.count(Attempt(delivery.task, delivery.token, True, fault))

    def count_all(self) -> None:
        """Tells Redis of all that were taken."""
        for task in list(self._ended):
            ended = self._ended[task]
            counts = ended.failed, ended.others
            change = self.ward.scripts.trip(task, self._rules[task], counts, ended.fault, map(str, ended.told))
            del self._ended[task]
            if change == "opened":
                logger.warning("the breaker of %s has opened: %s", task, ended.fault)
            elif change == "closed":
                logger.warning("the breaker of %s has closed; its jobs start again", task)

    # -- time ---------------------------------------------------------------------------------------------------

    def perform(self) -> float:
        """One round; more at once while there is more to bring back."""
        self.count_all()
        client, keys = self.ward.scripts.client, self.ward.scripts.keys
        broken, aside = client.pipeline(transaction=False).smembers(keys.breakers).exists(keys.broken).execute()
        self._tell(sorted(task.decode() for task in broken))
        if not (broken or aside) or not self.ward.elect(keys.breaker_keeper):
            return TICK_SECONDS
        for task in self._broken or ():
            if self.ward.scripts.probe(task):
                logger.warning("the breaker of %s is half-open: jobs of it are tried", task)
        return 0.0 if aside and self._bring_back() else TICK_SECONDS

    def _tell(self, broken: list[str]) -> None:
        if broken != self._broken:
            self._broken = broken
            self.ward.tell(broken=broken)

    def _bring_back(self) -> bool:
        """A slice of each list whose breaker has closed; whether there is more."""
        more = False
        for each in breakers.broken_lists(self.ward.scripts):
            if each.task not in (self._broken or ()):
                more = self.ward.scripts.unbreak(each.list_key)[1] or more
        return more
