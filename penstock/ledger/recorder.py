"""Writing starts and outcomes, with patience: while SQL is away the outcome is kept and the worker waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Connection

from penstock.errors import LedgerOutdated, LedgerUnavailable, UnserialisableResult
from penstock.job import Reason
from penstock.ledger import deliveries, queries
from penstock.ledger.rows import Delivery, Failure, Outcome
from penstock.ledger.session import writing

T = TypeVar("T")
logger = logging.getLogger(__name__)
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0


class Recorder:
    """Writes one row per call. Each call returns only when the row is committed."""

    def __init__(self, url: str) -> None:
        self._url = url

    def start(self, delivery: Delivery) -> int | None:
        """Records that an attempt starts; see :func:`queries.start_attempt`."""
        return self._with_arguments(delivery, queries.start_attempt)

    def end(self, delivery: Delivery, outcome: Outcome, attempt: int | None = None) -> bool:
        """Records what became of an attempt; see :func:`queries.end_attempt`.

        Raises:
            UnserialisableResult: the result is not JSON; nothing was written.
        """

        def write(connection: Connection, shown: Delivery) -> bool:
            return queries.end_attempt(connection, shown, outcome, attempt)

        return self._with_arguments(delivery, write)

    def lose(self, delivery: Delivery, failure: Failure) -> bool:
        """Records that the process of an attempt died; see :func:`deliveries.lose_attempt`."""
        return self._with_arguments(
            delivery, lambda connection, shown: deliveries.lose_attempt(connection, shown, failure)
        )

    def block(self, delivery: Delivery, reason: Reason) -> bool:
        """Records that a job was put aside; see :func:`deliveries.block_job`."""
        return self._with_arguments(delivery, lambda connection, shown: deliveries.block_job(connection, shown, reason))

    def progress(self, id: str, progress: dict[str, Any]) -> None:
        """Records what a running job says of itself."""
        self._patiently(lambda connection: queries.record_progress(connection, id, progress))

    def due(self, id: str, due: datetime) -> None:
        """Records when a retry may start."""
        self._patiently(lambda connection: queries.record_due(connection, id, due))

    def _with_arguments(self, delivery: Delivery, write: Callable[[Connection, Delivery], T]) -> T:
        """Arguments that JSON has no form for are kept as their text."""
        try:
            return self._patiently(lambda connection: write(connection, delivery))
        except UnserialisableResult:
            # If it was not the arguments, this raises again.
            return self._patiently(lambda connection: write(connection, delivery.with_arguments_as_text()))

    def _patiently(self, write: Callable[[Connection], T]) -> T:
        pause = 0.0
        while True:
            try:
                time.sleep(pause)
                with writing(self._url) as connection:
                    return write(connection)
            except (LedgerUnavailable, LedgerOutdated) as error:
                logger.error("%s; this outcome is kept and written as soon as the ledger takes it", error)
                pause = min(max(pause * 2, FIRST_PAUSE), LAST_PAUSE)
            except SoftTimeLimitExceeded:
                # It is meant for the body, which has ended or has not begun, and must not cost the outcome. Writing
                # again does no harm to a row that has ended, which stays as it is; a start at worst counts one attempt
                # more.
                continue
