"""Measures what waits in queues, at the beginning of each minute.

Each queue by the keeper that watches it, and those that nobody serves by the one that promotes, if anything is in them.
When a role changes hands within a minute, two measure the same, and the ledger makes one row of both.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from redis.exceptions import RedisError

from penstock.broker import census, queues
from penstock.engine.keeping import Duty, Ward
from penstock.engine.keeping.counting import Counting
from penstock.engine.keeping.promote import Promote
from penstock.engine.keeping.watch import Watch
from penstock.ledger.minutes import MINUTE, Depth

logger = logging.getLogger("penstock.keeper")
LOOK_SECONDS = 1.0
"""Between two looks at the clock and at what this keeper watches; they cost nothing."""


class Depths(Duty):
    """Asks Redis for all that is due in a few round trips, and leaves the answer to whoever writes it."""

    def __init__(self, ward: Ward, watch: Watch, promote: Promote, counting: Counting, length: int = MINUTE) -> None:
        """Args:
        length: seconds of a minute; tests have shorter ones.
        """
        super().__init__(ward)
        self._watch, self._promote, self._counting = watch, promote, counting
        self._length = length
        self._minute = 0
        self._measured: set[str] = set()
        """Queues of this minute that are done with."""
        self._has_looked_around = False

    def perform(self) -> float:
        """Measures what was not measured in this minute."""
        minute = int(time.time()) // self._length
        if minute != self._minute:
            self._minute, self._has_looked_around = minute, False
            self._measured.clear()
        served = [queue for queue in self._watch.watched if queue not in self._measured]
        try:
            if served:
                self._measure(served)
            if self._promote.is_elected and not self._has_looked_around:
                others = set(queues.names(self.ward.scripts)) - self._measured
                self._measure(sorted(others), empty_too=False)
                self._has_looked_around = True
        except (RedisError, OSError):
            raise
        except Exception:  # Anybody may have written to Redis what cannot be read, and the keeper has more to do.
            logger.exception("queues are not measured in this minute")
            self._measured.update(served)
            self._has_looked_around = True
        return LOOK_SECONDS

    def _measure(self, names: list[str], *, empty_too: bool = True) -> None:
        """Args:
        empty_too: whether nothing is worth a row; of a queue that nobody serves it is not.
        """
        now = datetime.now(UTC)
        standing = zip(queues.status(self.ward.scripts, names), census.accepted(self.ward.scripts, names), strict=True)
        self._counting.sample(
            {
                each.queue: Depth(
                    each.ready, each.parked, each.blocked, each.in_flight, each.oldest_seconds, accepted, now
                )
                for each, accepted in standing
                if empty_too or each.ready or each.parked or each.blocked or each.in_flight
            }
        )
        self._measured.update(names)
