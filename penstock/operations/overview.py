"""All queues at one moment and over the last hour: what waits, since when it is late, and how fast it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from penstock.app import PenstockApp
from penstock.broker.queues import QueueStatus
from penstock.ledger.histogram import Percentiles, percentiles, sum_of
from penstock.ledger.series import Series, late_since, read_series
from penstock.ledger.session import reading
from penstock.operations.history import LATE_SECONDS
from penstock.operations.queues import look

WINDOW, STEP = timedelta(hours=1), timedelta(minutes=1)
RECENT = 5
"""Minutes of which a rate is the mean: one alone jumps about."""


@dataclass(frozen=True)
class QueueView:
    """One queue."""

    status: QueueStatus
    series: Series
    """The last hour, by minutes."""
    now: datetime

    @property
    def late(self) -> datetime | None:
        """Since when its oldest job has waited for more than LATE_SECONDS; None: it is not, or is paused.

        Measured each minute; until the next measurement the oldest job itself says since when it is late.
        """
        oldest = self.status.oldest_seconds
        if oldest is None or oldest <= LATE_SECONDS or self.status.pause is not None:
            return None
        by_itself = self.now - timedelta(seconds=oldest - LATE_SECONDS)
        measured = late_since(self.series, LATE_SECONDS)
        return min(measured, by_itself) if measured is not None else by_itself

    @property
    def per_second_in(self) -> float | None:
        """Jobs accepted a second of late; None: nobody was there to measure."""
        return _mean(self.series.accepted_per_second)

    @property
    def per_second_out(self) -> float | None:
        """Jobs ended a second of late, however they ended."""
        ends = (self.series.succeeded_per_second, self.series.failed_per_second, self.series.cancelled_per_second)
        known = [rate for rates in ends if (rate := _mean(rates)) is not None]
        return sum(known) if known else None

    @cached_property
    def waits(self) -> Percentiles | None:
        """How long attempts of the last hour had waited; None: none has ended."""
        return percentiles(sum_of(text for waits, _ in self.series.histograms for text in waits))


def overview(app: PenstockApp) -> list[QueueView]:
    """The queues that are late first, those that are paused then, each with the most waiting jobs first.

    Raises:
        BrokerUnavailable: Redis does not answer.
        LedgerUnavailable: the ledger does not answer.
    """
    return sorted(_views(app, look(app, ()).queues), key=_order)


def view_of(app: PenstockApp, status: QueueStatus) -> QueueView:
    """One queue of which the present is known.

    Raises:
        LedgerUnavailable: the ledger does not answer.
    """
    return _views(app, [status])[0]


def _views(app: PenstockApp, found: Sequence[QueueStatus]) -> list[QueueView]:
    now = datetime.now(UTC)
    with reading(app.settings.database_url) as connection:
        series = read_series(connection, [status.queue for status in found], now - WINDOW, now, STEP)
    return [QueueView(status, series[status.queue], now) for status in found]


def _order(view: QueueView) -> tuple[bool, bool, int, str]:
    return view.late is None, view.status.pause is None, -view.status.ready, view.status.queue


def _mean(rates: list[float | None]) -> float | None:
    known = [rate for rate in rates[-RECENT:] if rate is not None]
    return sum(known) / len(known) if known else None
