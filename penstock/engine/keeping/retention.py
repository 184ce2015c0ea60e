"""Deletes what the rules of retention no longer keep, a batch now and then."""

from __future__ import annotations

import logging
import time

from redis.exceptions import RedisError

from penstock.engine.keeping import Ward
from penstock.errors import PenstockError
from penstock.ledger.retention import BATCH, sweep
from penstock.ledger.session import writing
from penstock.retention import RetentionRules

logger = logging.getLogger("penstock.keeper")
BETWEEN_SWEEPS = 10.0
"""Seconds after a batch that found little. A full one is followed by the next as soon as outcomes leave time for it."""


class Retention:
    """In the thread and on the connection of the books, so that nothing is deleted while outcomes wait."""

    def __init__(self, ward: Ward, database_url: str, rules: RetentionRules) -> None:
        self._ward = ward
        self._database_url = database_url
        self._rules = rules
        self._due = time.monotonic() + BETWEEN_SWEEPS

    def perform(self) -> None:
        """Deletes a batch, if it is time and no other keeper does it."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + BETWEEN_SWEEPS
        try:
            if self._ward.elect(self._ward.scripts.keys.promoter):
                with writing(self._database_url) as connection:
                    deleted = sweep(connection, self._rules)
                if deleted >= BATCH:
                    self._due = 0.0
        except (RedisError, OSError, PenstockError) as error:
            logger.warning("old rows stay for now: %s", error)
