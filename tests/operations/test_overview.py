"""Which queue is late, and since when: from what waits now and what was measured each minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from penstock.broker.queues import Pause, QueueStatus
from penstock.ledger.series import Series
from penstock.operations.history import LATE_SECONDS
from penstock.operations.overview import STEP, QueueView

NOW = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
PAUSE = Pause("dana", NOW - timedelta(minutes=3), "")


def series(oldest: list[float | None], ready: list[int | None] | None = None) -> Series:
    """The minutes until now, of which the last ones are given."""
    count = len(oldest)
    nothing: list[float | None] = [None] * count
    return Series(
        "mail",
        STEP,
        [NOW - (count - number) * STEP for number in range(count)],
        ready if ready is not None else [1 if age is not None else 0 for age in oldest],
        [0] * count,
        [0] * count,
        [0] * count,
        oldest,
        nothing,
        [2.0] * count,
        [1.0] * count,
        nothing,
        nothing,
        [([], [])] * count,
    )


def view(oldest_now: float | None, measured: list[float | None], pause: Pause | None = None) -> QueueView:
    """A queue at this moment."""
    ready = 0 if oldest_now is None else 1
    return QueueView(QueueStatus("mail", ready, oldest_now, 0, 0, 0, pause), series(measured), NOW)


@pytest.mark.parametrize("oldest", [None, 0.0, LATE_SECONDS])
def test_a_queue_whose_oldest_job_waits_for_a_minute_at_most_is_not_late(oldest: float | None) -> None:
    assert view(oldest, [None, 5.0, 30.0]).late is None


def test_without_a_measurement_the_oldest_job_says_since_when() -> None:
    assert view(LATE_SECONDS + 40, [None, None]).late == NOW - timedelta(seconds=40)


def test_minutes_in_which_other_jobs_were_late_count_as_well() -> None:
    # The oldest job is late for 10 seconds, and in each of the last four minutes some other was.
    late = view(LATE_SECONDS + 10, [5.0, 90.0, 80.0, 70.0, 75.0]).late
    assert late == NOW - timedelta(minutes=4)


def test_a_minute_that_was_in_time_ends_it() -> None:
    assert view(LATE_SECONDS + 10, [300.0, 5.0, 70.0]).late == NOW - timedelta(minutes=1)


def test_a_paused_queue_is_not_late_but_paused() -> None:
    assert view(10 * LATE_SECONDS, [300.0, 300.0], PAUSE).late is None


def test_rates_are_those_of_the_last_minutes_and_unknown_without_a_measurement() -> None:
    assert view(None, [None, None]).per_second_out == 3.0
    assert view(None, [None, None]).per_second_in is None
