"""What is read of queues over time, on each database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from penstock.ledger.histogram import bucket_of
from penstock.ledger.minutes import MINUTE, QUARTER, Counts, Depth, Span, write_counts, write_depths
from penstock.ledger.series import MOST_POINTS, Series, late_since, read_series, summary
from penstock.ledger.session import engine_for, reading, writing

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
STEP, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def minutes(number: float) -> datetime:
    """So many after noon."""
    return NOON + timedelta(minutes=number)


def span(queue: str, minute: float, length: int = MINUTE) -> Span:
    return Span(queue, length, int(minutes(minute).timestamp()) // length * length)


def count(url: str, minute: int, counts: Counts, *, queue: str = "mail", writer: str = "w") -> None:
    with writing(url) as connection:
        write_counts(connection, writer, {span(queue, minute): counts})


def measure(url: str, minute: int, ready: int = 0, *, queue: str = "mail", **values: Any) -> None:
    told = {"parked": 0, "blocked": 0, "in_flight": 0, "oldest_seconds": None, "accepted": 0} | values
    with writing(url) as connection:
        write_depths(connection, [(span(queue, minute), Depth(ready, **told, sampled_at=minutes(minute)))])


def series(url: str, end: float, step: timedelta = STEP, queue: str = "mail") -> Series:
    """From noon on."""
    with reading(url) as connection:
        return read_series(connection, [queue], NOON, minutes(end), step)[queue]


def test_depths_and_ages_are_as_they_were_measured(database_url: str) -> None:
    measure(database_url, 0, 3, parked=2, blocked=1, in_flight=4, oldest_seconds=7.5)
    measure(database_url, 1)
    read = series(database_url, 2)
    assert read.at == [NOON, minutes(1)]
    assert (read.ready, read.parked, read.blocked, read.in_flight) == ([3, 0], [2, 0], [1, 0], [4, 0])
    assert read.oldest_seconds == [7.5, None]


def test_where_nobody_measured_there_is_a_gap_and_no_zero(database_url: str) -> None:
    measure(database_url, 0)
    measure(database_url, 1)
    measure(database_url, 4)
    read = series(database_url, 6)
    assert read.ready == [0, 0, None, None, 0, None]
    # In the second minute somebody was there at its beginning and maybe not at its end; the last one may go on.
    assert read.succeeded_per_second == [0, 0, None, None, None, None]
    assert read.runs == [None] * 6


def test_a_minute_of_which_counts_may_come_yet_is_a_gap(database_url: str) -> None:
    measure(database_url, 0)
    assert series(database_url, 1).succeeded_per_second == [None]
    measure(database_url, 1)
    assert series(database_url, 1).succeeded_per_second == [0]


def test_counts_of_all_who_counted_are_added_and_divided_by_the_time(database_url: str) -> None:
    for writer in ("one", "other"):
        count(database_url, 0, Counts(30, 6, 3, 9), writer=writer)
    read = series(database_url, 1)
    rates = (read.succeeded_per_second, read.failed_per_second, read.cancelled_per_second, read.retried_per_second)
    assert rates == ([1.0], [0.2], [0.1], [0.3])


def test_percentiles_are_those_of_all_who_counted(database_url: str) -> None:
    fast, slow = Counter({bucket_of(0.01): 90}), Counter({bucket_of(10): 10})
    count(database_url, 0, Counts(90, waits=slow, runs=fast), writer="one")
    count(database_url, 0, Counts(10, runs=slow), writer="other")
    (runs,), (waits,) = series(database_url, 1).runs, series(database_url, 1).waits
    assert runs is not None
    assert waits is not None
    assert (runs.p50, runs.p95, runs.p99) == (_about(0.01), _about(10), _about(10))
    assert waits.p50 == waits.p99 == _about(10)


def _about(seconds: float) -> Any:
    return pytest.approx(seconds, rel=0.15)


def test_a_longer_step_is_made_of_its_minutes(database_url: str) -> None:
    for minute in range(10):
        measure(database_url, minute, minute, accepted=60 * minute)
        count(database_url, minute, Counts(minute))
    read = series(database_url, 10, 5 * STEP)
    assert read.at == [NOON, minutes(5)]
    assert read.ready == [4, 9]
    assert read.succeeded_per_second == [10 / 300, 35 / 300]
    assert read.accepted_per_second == [1, 1]


def test_of_a_step_that_goes_on_the_minutes_that_are_over_count(database_url: str) -> None:
    count(database_url, 0, Counts(120))
    assert series(database_url, 2.5, 5 * STEP).succeeded_per_second == [1]


def test_what_comes_in_is_what_was_accepted_between_two_looks(database_url: str) -> None:
    for minute, accepted in ((0, 100), (1, 160), (2, 400), (4, 500)):
        measure(database_url, minute, accepted=accepted)
    assert series(database_url, 5).accepted_per_second == [1, 4, None, None, None]


def test_a_redis_that_counts_anew_is_a_gap(database_url: str) -> None:
    for minute, accepted in ((0, 1000), (1, 30), (2, 90)):
        measure(database_url, minute, accepted=accepted)
    assert series(database_url, 2).accepted_per_second == [None, 1]


def test_each_queue_has_its_own_series_and_an_unknown_one_has_gaps(database_url: str) -> None:
    measure(database_url, 0, 1)
    measure(database_url, 0, 2, queue="other")
    with reading(database_url) as connection:
        read = read_series(connection, ["other", "mail", "none"], NOON, minutes(1), STEP)
    assert {queue: each.ready for queue, each in read.items()} == {"other": [2], "mail": [1], "none": [None]}


def test_all_queues_take_two_statements(database_url: str) -> None:
    statements: list[str] = []
    with reading(database_url) as connection:
        event.listen(connection, "before_cursor_execute", lambda _c, _cur, statement, *_: statements.append(statement))
        read_series(connection, [f"q{number}" for number in range(50)], NOON, NOON + HOUR, STEP)
    assert len(statements) == 2


@pytest.mark.parametrize("step", [timedelta(seconds=30), timedelta(seconds=90), timedelta(0), timedelta(minutes=-1)])
def test_a_step_is_a_multiple_of_a_minute(database_url: str, step: timedelta) -> None:
    with pytest.raises(ValueError, match="no multiple of a minute"):
        series(database_url, 1, step)


def test_too_many_points_are_refused(database_url: str) -> None:
    with pytest.raises(ValueError, match="give a longer step"):
        series(database_url, MOST_POINTS + 1)


def test_a_summary_is_of_one_stretch_of_time(database_url: str) -> None:
    for minute in range(4):
        count(database_url, minute, Counts(1, 2, 3, 4, runs=Counter({bucket_of(1): 10})))
    count(database_url, 2, Counts(99), queue="other")
    with reading(database_url) as connection:
        found = summary(connection, "mail", minutes(1.5), minutes(3))
        nothing = summary(connection, "none", NOON)
    assert (found.succeeded, found.failed, found.cancelled, found.retried) == (2, 4, 6, 8)
    assert found.runs is not None
    assert found.runs.p99 == _about(1)
    assert found.waits is None
    assert (nothing.succeeded, nothing.runs) == (0, None)


def test_a_summary_of_a_day_is_made_of_quarters(database_url: str) -> None:
    with writing(database_url) as connection:
        write_counts(connection, "w", {span("mail", -600, QUARTER): Counts(5), span("mail", -600): Counts(1)})
    with reading(database_url) as connection:
        assert summary(connection, "mail", NOON - DAY, NOON).succeeded == 5


# -- since when -----------------------------------------------------------------------------------------------------


def aged(*ages: float | None) -> Series:
    """The oldest job's age, minute by minute; None: nobody was there, 0: nothing waits."""
    at = [minutes(number) for number in range(len(ages))]
    ready = [None if age is None else int(age > 0) for age in ages]
    nothing: list[Any] = [None] * len(ages)
    return Series("mail", STEP, at, ready, nothing, nothing, nothing, [age or None for age in ages], *[nothing] * 6)


@pytest.mark.parametrize(
    ("ages", "since"),
    [
        ((5, 70, 80, 90), 1),
        ((90, 5, 90, 100), 2),
        ((90, 0, 90, 100), 2),
        ((90, 90, 5), None),
        ((90, 90, 0), None),
        ((90, 61, 61), 0),
        ((5, 60, 60), None),
        # Whoever asks in the first second of a minute finds that it was not measured yet.
        ((5, 70, 80, None), 1),
        # The job of 200 seconds was late already in the gap; that of 70 was not.
        ((90, None, 200), 0),
        ((90, None, 70), 2),
        ((None, 90, 90), 1),
        ((None, None), None),
        ((), None),
    ],
)
def test_a_queue_is_late_since_its_oldest_job_has_been(ages: Sequence[float | None], since: int | None) -> None:
    assert late_since(aged(*ages), 60) == (minutes(since) if since is not None else None)


# -- many rows --------------------------------------------------------------------------------------------------------

QUEUES = [f"queue{number:02}" for number in range(50)]
FILL = (
    "INSERT INTO queue_counts SELECT 'queue' || lpad(q::text, 2, '0'), s, timestamptz '2026-11-28 12:00+00' - m * "
    "make_interval(secs => s), 'w', 50, 2, 1, 3, "
    "(SELECT json_object_agg(b, 5) FROM generate_series(10, 20) b), "
    "(SELECT json_object_agg(b, 5) FROM generate_series(30, 40) b) "
    "FROM generate_series(0, 49) q, (VALUES (60, 2880), (900, 192)) l(s, n), generate_series(1, n) m",
    "INSERT INTO queue_depths SELECT 'queue' || lpad(q::text, 2, '0'), s, timestamptz '2026-11-28 12:00+00' - m * "
    "make_interval(secs => s), 9, 0, 0, 2, 3.5, 100000 - m, timestamptz '2026-11-28 12:00+00' - m * "
    "make_interval(secs => s) FROM generate_series(0, 49) q, (VALUES (60, 2880), (900, 192)) l(s, n), "
    "generate_series(1, n) m",
)
SLOWEST = 0.5
"""Seconds; it takes a tenth of it, on a machine that has nothing else to do."""


@pytest.fixture
def two_days_of_fifty_queues(postgresql_url: str) -> str:
    with writing(postgresql_url) as connection:
        for statement in FILL:
            connection.execute(text(statement))
    with engine_for(postgresql_url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE queue_counts, queue_depths"))
    return postgresql_url


def test_a_day_of_fifty_queues_is_read_at_once(two_days_of_fifty_queues: str) -> None:
    with reading(two_days_of_fifty_queues) as connection:
        took = []
        for _ in range(5):
            begun = time.perf_counter()
            read = read_series(connection, QUEUES, NOON - DAY, NOON, timedelta(minutes=15))
            took.append(time.perf_counter() - begun)
    print(sorted(took))
    assert all(None not in each.ready and len(each.runs) == 96 for each in read.values())
    assert min(took) < SLOWEST


def test_a_day_reads_only_its_own_rows(two_days_of_fifty_queues: str) -> None:
    with writing(two_days_of_fifty_queues) as connection:
        read_series(connection, QUEUES, NOON - DAY, NOON, timedelta(minutes=15))
        statement = (
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables "
            "WHERE relname LIKE 'queue%'"
        )
        assert int(connection.execute(text(statement)).scalar_one()) < 2 * 50 * 100
