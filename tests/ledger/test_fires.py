"""Statements on fires, on each database."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import IntegrityError

from penstock.job import Reason, State
from penstock.ledger import fires, outbox
from penstock.ledger.fires import Ended, FireRow, FireState, Origin
from penstock.ledger.rows import Failure, Outcome
from penstock.ledger.session import engine_for, reading, writing
from penstock.ledger.tables import fires as table
from penstock.ledger.tables import schedules
from tests.ledger.making import SUCCEEDED, delivery, end, running, write
from tests.outbox.ground import follow_up

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIRED, WAITING, SKIPPED, MISSED = FireState.FIRED, FireState.WAITING, FireState.SKIPPED, FireState.MISSED
FAILED = Outcome(state=State.FAILED, reason=Reason.ERROR, failure=Failure(type="KeyError", message="", exception={}))


def fire(name: str, hours: int = 0, state: FireState = FIRED, **values: Any) -> FireRow:
    """Its job is called by its schedule and hour, and is followed."""
    fixed: dict[str, Any] = {"origin": Origin.PLANNED, "decided_at": NOON}
    fixed |= {"job_id": f"{name}{hours}", "is_followed": True} if state is FIRED else {"reason": "because"}
    return FireRow(schedule=name, planned_at=NOON + hours * HOUR, state=state, **{**fixed, **values})


def put(url: str, *rows: FireRow) -> None:
    with writing(url) as connection:
        fires.insert(connection, rows)


def send(url: str, *ids: str) -> None:
    """Jobs that wait in their queue."""
    with writing(url) as connection:
        outbox.put(connection, [follow_up(id) for id in ids])


def finish(url: str, id: str, outcome: Outcome = SUCCEEDED) -> None:
    write(url, replace(end(delivery(id), outcome), outbox_key=id))


def asked(url: str, question: Callable[[Connection], Any]) -> Any:
    with writing(url) as connection:
        return question(connection)


def left(url: str, name: str = "a") -> list[FireRow]:
    found: list[FireRow] = asked(url, lambda connection: fires.list_fires(connection, name, 100))
    return found[::-1]


# -- rows -------------------------------------------------------------------------------------------------------------


def test_a_fire_is_read_as_it_was_written(database_url: str) -> None:
    rows = [fire("a", 0), fire("a", 1, WAITING), fire("a", 2, SKIPPED, origin=Origin.BACKFILLED), fire("a", 3, MISSED)]
    put(database_url, *rows)
    assert left(database_url) == rows


def test_each_planned_time_has_one_fire_whoever_comes_second(database_url: str) -> None:
    put(database_url, fire("a"))
    with writing(database_url) as connection:
        ours = fires.insert(connection, [fire("a", job_id="other"), fire("a", 1), fire("b")])
    assert ours == {("a", NOON + HOUR), ("b", NOON)}
    assert left(database_url)[0].job_id == "a0"


@pytest.mark.parametrize(
    "row",
    [
        fire("a", job_id=None, is_followed=False),
        fire("a", state=SKIPPED, job_id="1"),
        fire("a", state=SKIPPED, reason=None),
        fire("a", state=WAITING, is_followed=True),
    ],
)
def test_a_fire_that_makes_no_sense_is_refused(database_url: str, row: FireRow) -> None:
    with pytest.raises(IntegrityError):
        put(database_url, row)


@pytest.mark.parametrize("column", [{"state": "lost"}, {"origin": "heaven"}])
def test_words_that_mean_nothing_are_refused(database_url: str, column: dict[str, str]) -> None:
    with pytest.raises(IntegrityError), writing(database_url) as connection:
        connection.execute(insert(table).values(**{**fire("a", state=SKIPPED).columns(), **column}))


def test_the_last_fires_come_first_and_by_state(database_url: str) -> None:
    put(database_url, *(fire("a", hours, SKIPPED if hours % 2 else MISSED) for hours in range(6)), fire("b", 9))
    with reading(database_url) as connection:
        page = fires.list_fires(connection, "a", 2)
        skipped = fires.list_fires(connection, "a", 9, state=SKIPPED)
        assert fires.counts(connection, "a") == {SKIPPED: 3, MISSED: 3}
    hours = [[(row.planned_at - NOON) // HOUR for row in rows] for rows in (page, skipped)]
    assert hours == [[5, 4], [5, 3, 1]]


def test_the_fires_before_a_time_are_the_next_page(database_url: str) -> None:
    put(database_url, *(fire("a", hours) for hours in range(4)))
    with reading(database_url) as connection:
        page = fires.list_fires(connection, "a", 2, before=NOON + 3 * HOUR)
    assert [(row.planned_at - NOON) // HOUR for row in page] == [2, 1]


def test_fires_are_counted_and_looked_for_among_the_newest_when_that_is_asked(database_url: str) -> None:
    put(database_url, fire("a", 0, MISSED), fire("a", 1, MISSED), fire("a", 2), fire("a", 3))
    with reading(database_url) as connection:
        assert fires.counts(connection, "a", 3) == {MISSED: 1, FIRED: 2}
        assert fires.list_fires(connection, "a", 9, state=MISSED, among=3) == [fire("a", 1, MISSED)]
        assert fires.list_fires(connection, "a", 9, state=MISSED, among=2) == []


def test_the_last_fire_of_each_schedule(database_url: str) -> None:
    put(database_url, fire("a", 0), fire("a", 1, SKIPPED), fire("b", 5), fire("c", 9), fire("gone", 9))
    with writing(database_url) as connection:
        fixed = {"kind": "cron", "definition": {}, "created_at": NOON, "updated_at": NOON}
        connection.execute(insert(schedules), [{"name": name, **fixed} for name in ("a", "b", "c", "none")])
    with reading(database_url) as connection:
        found = fires.last_fires(connection, ["a", "b", "none", "gone"])
    assert found == {"a": fire("a", 1, SKIPPED), "b": fire("b", 5)}


def test_what_has_become_of_the_jobs_of_fires(database_url: str) -> None:
    send(database_url, "a0", "a1", "a2")
    put(database_url, *(fire("a", hours) for hours in range(3)), fire("a", 3, MISSED))
    finish(database_url, "a0")
    finish(database_url, "a1", FAILED)
    with reading(database_url) as connection:
        assert fires.job_states(connection, left(database_url)) == {"a0": State.SUCCEEDED, "a1": State.FAILED}


def test_a_job_knows_its_fire(database_url: str) -> None:
    put(database_url, fire("a"), fire("b"))
    with reading(database_url) as connection:
        assert fires.fire_of_job(connection, "b0") == fire("b")
        assert fires.fire_of_job(connection, "c0") is None


def test_the_last_planned_time_before_that_has_started_a_job(database_url: str) -> None:
    put(database_url, fire("a", -9), fire("a", -3, SKIPPED), fire("a", -2, origin=Origin.TRIGGERED), fire("a", 1))
    put(database_url, fire("b", -1), fire("a", -4, origin=Origin.BACKFILLED))
    with reading(database_url) as connection:
        assert fires.fired_before(connection, "a", NOON) == NOON - 4 * HOUR
        assert fires.fired_before(connection, "a", NOON - 4 * HOUR) == NOON - 9 * HOUR
        assert fires.fired_before(connection, "a", NOON - 9 * HOUR) is None


# -- jobs that have not ended -----------------------------------------------------------------------------------------


def test_a_job_is_open_from_its_message_on_until_its_end(database_url: str) -> None:
    put(database_url, fire("a"))
    stages: list[Callable[[], object]] = [
        lambda: None,
        lambda: send(database_url, "a0"),
        lambda: write(database_url, running(delivery("a0"))),
        lambda: finish(database_url, "a0"),
    ]
    seen = []
    for stage in stages:
        stage()
        seen.append(asked(database_url, lambda connection: fires.busy(connection, ["a", "b"])))
    assert seen == [set(), {"a"}, {"a"}, set()]


def test_what_is_not_followed_makes_nobody_busy(database_url: str) -> None:
    put(database_url, fire("a", is_followed=False), fire("b"))
    send(database_url, "a0", "b0")
    assert asked(database_url, lambda connection: fires.busy(connection, ["a", "b", "c"])) == {"b"}
    assert asked(database_url, lambda connection: fires.open_jobs(connection, "a")) == []


def test_only_those_that_are_asked_for_are_told(database_url: str) -> None:
    put(database_url, fire("a"), fire("b"))
    send(database_url, "a0", "b0")
    assert asked(database_url, lambda connection: fires.busy(connection, ["a"])) == {"a"}


def test_open_jobs_come_in_the_order_of_their_times(database_url: str) -> None:
    put(database_url, fire("a", 2), fire("a", 1), fire("a", 0), fire("b", 0))
    send(database_url, "a2", "a0", "b0")
    assert asked(database_url, lambda connection: fires.open_jobs(connection, "a")) == ["a0", "a2"]


# -- jobs that have ended ---------------------------------------------------------------------------------------------


def test_ends_are_told_with_what_became_of_the_job(database_url: str) -> None:
    put(database_url, fire("a", 1), fire("a", 0), fire("b", 2), fire("b", 3))
    send(database_url, "a0", "a1", "b3")
    finish(database_url, "a0", FAILED)
    finish(database_url, "a1")
    found = asked(database_url, lambda connection: fires.ended(connection, 9))
    assert found == [
        Ended("a", NOON, "a0", State.FAILED, "KeyError"),
        Ended("a", NOON + HOUR, "a1", State.SUCCEEDED, None),
        Ended("b", NOON + 2 * HOUR, "b2", None, None),
    ]
    assert len(asked(database_url, lambda connection: fires.ended(connection, 1))) == 1


def test_a_retry_is_no_end(database_url: str) -> None:
    put(database_url, fire("a"))
    send(database_url, "a0")
    again = Outcome(state=State.SCHEDULED, due=datetime.now(UTC) + HOUR)
    write(database_url, replace(end(delivery("a0"), again), outbox_key="a0"))
    assert asked(database_url, lambda connection: fires.ended(connection, 9)) == []


def test_an_end_is_noted_once(database_url: str) -> None:
    put(database_url, fire("a"), fire("b"))
    ends = asked(database_url, lambda connection: fires.ended(connection, 9))
    with writing(database_url) as connection:
        assert fires.follow_no_more(connection, ends[:1]) == ends[:1]
        assert fires.follow_no_more(connection, ends) == ends[1:]
        assert fires.ended(connection, 9) == []


# -- fires that wait --------------------------------------------------------------------------------------------------


def test_planned_ones_that_wait_are_counted(database_url: str) -> None:
    put(database_url, fire("a", 0), *(fire("a", hours, WAITING) for hours in (1, 2)))
    put(database_url, fire("b", 0, WAITING, origin=Origin.BACKFILLED), fire("c", 0, WAITING), fire("d"))
    with reading(database_url) as connection:
        assert fires.waiting(connection, ["a", "b", "d"]) == {"a": 2}
        assert fires.with_waiting(connection) == {"a": True, "b": False, "c": True}


@pytest.mark.parametrize(("planned_first", "hours"), [(False, 1), (True, 3)])
def test_the_first_is_the_one_with_the_earliest_time(database_url: str, planned_first: bool, hours: int) -> None:
    put(database_url, fire("a", 3, WAITING), fire("a", 1, WAITING, origin=Origin.BACKFILLED), fire("a", 2))
    with reading(database_url) as connection:
        first = fires.first_waiting(connection, "a", planned_first=planned_first)
        assert first is not None
        assert first.planned_at == NOON + hours * HOUR
        assert fires.first_waiting(connection, "b", planned_first=planned_first) is None


def test_schedules_are_free_when_no_job_of_theirs_is_open(database_url: str) -> None:
    put(database_url, *(fire(name, 0) for name in "abcd"), *(fire(name, 1, WAITING) for name in "abc"))
    send(database_url, "a0", "d0")
    write(database_url, running(delivery("b0")))
    assert asked(database_url, lambda connection: fires.free_with_waiting(connection, 9)) == ["c"]


def test_what_waits_is_decided_on_once(database_url: str) -> None:
    put(database_url, fire("a", 0, WAITING))
    decided = fire("a", job_id="1")
    with writing(database_url) as connection:
        assert fires.decide(connection, decided)
        assert not fires.decide(connection, replace(decided, job_id="2"))
        assert not fires.decide(connection, fire("a", 1))
    assert left(database_url) == [decided]


def test_what_waits_is_skipped_by_where_it_comes_from(database_url: str) -> None:
    put(database_url, fire("a", 0), fire("a", 1, WAITING), fire("a", 2, WAITING, origin=Origin.BACKFILLED))
    put(database_url, fire("b", 0, WAITING))
    with writing(database_url) as connection:
        assert fires.skip_waiting(connection, ["a"], "why", NOON + HOUR, Origin.PLANNED) == 1
    assert [(row.state, row.reason) for row in left(database_url)] == [
        (FIRED, None),
        (SKIPPED, "why"),
        (WAITING, "because"),
    ]
    with writing(database_url) as connection:
        assert fires.skip_waiting(connection, ["a", "b"], "why", NOON + HOUR) == 2
    assert left(database_url)[2].decided_at == NOON + HOUR


@pytest.mark.parametrize(
    ("state", "replaced"), [(None, True), (SKIPPED, True), (MISSED, True), (FIRED, False), (WAITING, False)]
)
def test_a_fire_takes_the_place_of_one_that_started_nothing(
    database_url: str, state: FireState | None, replaced: bool
) -> None:
    if state is not None:
        put(database_url, fire("a", state=state))
    new = fire("a", job_id="new", origin=Origin.BACKFILLED)
    assert asked(database_url, lambda connection: fires.replace(connection, new)) == replaced
    assert (left(database_url) == [new]) == replaced


# -- what it costs ----------------------------------------------------------------------------------------------------


QUESTIONS: dict[str, Callable[[Connection], Any]] = {
    "ended": lambda connection: fires.ended(connection, 500),
    "with waiting": fires.with_waiting,
    "free": lambda connection: fires.free_with_waiting(connection, 500),
    "busy": lambda connection: fires.busy(connection, ["a", "b"]),
    "waiting": lambda connection: fires.waiting(connection, ["a", "b"]),
    "open jobs": lambda connection: fires.open_jobs(connection, "a"),
    "of a job": lambda connection: fires.fire_of_job(connection, "x"),
    "the one before": lambda connection: fires.fired_before(connection, "a", NOON),
}


def test_questions_of_every_turn_read_no_fires_that_are_over(database_url: str) -> None:
    old = [fire("a", hours, job_id=f"{hours}", is_followed=False) for hours in range(-3000, 3000)]
    put(database_url, *old, fire("a", 4000), fire("a", 4001, WAITING))
    if database_url.startswith("postgresql"):
        with engine_for(database_url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE fires"))
    steps, read = {}, {}
    with writing(database_url) as connection:
        for name, question in QUESTIONS.items():
            before = _rows_read(connection)
            steps[name] = _steps(connection, question)
            read[name] = _rows_read(connection) - before
    assert {name: count for name, count in read.items() if count > 50} == {}
    assert {name: count for name, count in steps.items() if count > 2000} == {}


def _rows_read(connection: Connection) -> int:
    """Of this transaction so far; SQLite counts none."""
    if connection.dialect.name == "sqlite":
        return 0
    statement = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'fires'"
    return int(connection.execute(text(statement)).scalar_one())


def _steps(connection: Connection, question: Callable[[Connection], Any]) -> int:
    """Steps of SQLite's machine, by the hundred; each row that it reads takes some."""
    if connection.dialect.name != "sqlite":
        question(connection)
        return 0
    count = 0

    def step() -> int:
        nonlocal count
        count += 100
        return 0

    driver: Any = connection.connection.dbapi_connection
    driver.set_progress_handler(step, 100)
    try:
        question(connection)
    finally:
        driver.set_progress_handler(None, 0)
    return count
