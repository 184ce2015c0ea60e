"""How a queue has been over time, as its keepers have measured it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from penstock.app import PenstockApp
from penstock.errors import PenstockError
from penstock.ledger.series import Series, Summary, late_since, read_series, summary
from penstock.ledger.session import reading
from penstock.operations.broker import broker_of, known_queues, require_known

STEPS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
}
"""What a series may be made of, the shortest first."""
MOST_STEPS = 100
"""Steps of a series that nobody has chosen the length of."""
LATE_SECONDS = 60.0
"""A queue whose oldest job has waited for longer is late."""


@dataclass(frozen=True)
class History:
    """One queue from some time until now."""

    series: Series
    summary: Summary
    late: datetime | None
    """Since when its oldest waiting job has been older than LATE_SECONDS; None: it is not now."""


def look_back(app: PenstockApp, name: str, since: datetime, step: str | None = None) -> History:
    """The history of a queue.

    Args:
        since: with its zone.
        step: one of STEPS; None: the shortest with which there are no more than MOST_STEPS.

    Raises:
        PenstockError: there is no such queue, there are too many steps, or ``since`` is to come.
        LedgerUnavailable: the ledger does not answer.
    """
    now = datetime.now(UTC)
    if since >= now:
        raise PenstockError("a history begins in the past; give --since an age such as 1h, or a time that is over")
    chosen = STEPS[step] if step is not None else _shortest(now - since)
    with reading(app.settings.database_url) as connection:
        try:
            series = read_series(connection, [name], since, now, chosen)[name]
        except ValueError as error:
            raise PenstockError(str(error)) from error
        found = summary(connection, name, since, now)
    if not is_measured(series):
        with broker_of(app) as scripts:
            require_known([name], known_queues(app, scripts))
    return History(series, found, late_since(series, LATE_SECONDS))


def is_measured(series: Series) -> bool:
    """Whether anybody has measured the queue in that time."""
    measured = (*series.ready, *series.succeeded_per_second)
    return any(value is not None for value in measured)


def _shortest(time: timedelta) -> timedelta:
    return next((step for step in STEPS.values() if time <= MOST_STEPS * step), STEPS["6h"])
