"""Writing starts and outcomes, with patience: while SQL is away the outcome is kept and the worker waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from penstock.errors import LedgerOutdated, LedgerUnavailable, UnserialisableResult
from penstock.ledger import queries
from penstock.ledger.rows import Delivery, Outcome
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
        try:
            return self._patiently(lambda connection: queries.start_attempt(connection, delivery))
        except UnserialisableResult:
            shown = _without_arguments(delivery)
            return self._patiently(lambda connection: queries.start_attempt(connection, shown))

    def end(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Records what became of an attempt; see :func:`queries.end_attempt`.

        Raises:
            UnserialisableResult: the result is not JSON; nothing was written.
        """
        try:
            return self._patiently(lambda connection: queries.end_attempt(connection, delivery, outcome))
        except UnserialisableResult:
            if outcome.result is not None:
                raise
            shown = _without_arguments(delivery)
            return self._patiently(lambda connection: queries.end_attempt(connection, shown, outcome))

    def progress(self, id: str, progress: dict[str, Any]) -> None:
        """Records what a running job says of itself."""
        self._patiently(lambda connection: queries.record_progress(connection, id, progress))

    def _patiently(self, write: Callable[[Connection], T]) -> T:
        pause = FIRST_PAUSE
        while True:
            try:
                with writing(self._url) as connection:
                    return write(connection)
            except (LedgerUnavailable, LedgerOutdated) as error:
                logger.error("%s; this outcome is kept and written as soon as the ledger takes it", error)
                time.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE)


def _without_arguments(delivery: Delivery) -> Delivery:
    """Arguments that JSON has no form for (a stock producer may send NaN) are kept as their text."""
    return replace(delivery, args=[repr(delivery.args)], kwargs={"unserialisable": repr(delivery.kwargs)})
