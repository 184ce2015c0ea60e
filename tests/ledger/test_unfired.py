"""Fires of all schedules that have started no job, on each database."""

from typing import Any

from sqlalchemy import event

from penstock.ledger.fires import FireRow, FireState
from penstock.ledger.session import engine_for, reading, writing
from penstock.ledger.unfired import UnfiredPlace, count_unfired, list_unfired
from tests.ledger.test_fires import HOUR, MISSED, NOON, SKIPPED, WAITING, fire, put


def unfired(url: str, state: FireState, limit: int = 9, after: UnfiredPlace | None = None) -> list[FireRow]:
    with reading(url) as connection:
        return list_unfired(connection, state, NOON, limit, after)


def test_what_was_missed_lately_is_listed_for_all_schedules_the_last_decided_first(database_url: str) -> None:
    early, late = (fire(name, -5, MISSED, decided_at=NOON + at * HOUR) for name, at in (("b", 1), ("a", 2)))
    old = fire("c", 9, MISSED, decided_at=NOON - HOUR)
    put(database_url, early, late, old, fire("a", 1), fire("a", 2, WAITING), fire("a", 3, SKIPPED))
    assert unfired(database_url, MISSED) == [late, early]
    assert unfired(database_url, SKIPPED) == [fire("a", 3, SKIPPED)]


def test_fires_that_were_missed_in_one_moment_are_paged_without_a_gap(database_url: str) -> None:
    put(database_url, *(fire(name, hours, MISSED) for name in "ab" for hours in range(3)))
    pages, after = list[FireRow](), None
    while page := unfired(database_url, MISSED, 2, after):
        pages += page
        last = page[-1]
        after = UnfiredPlace.of(UnfiredPlace(last.decided_at, last.schedule, last.planned_at).cursor)
    assert pages == unfired(database_url, MISSED)
    assert len({(row.schedule, row.planned_at) for row in pages}) == 6


def test_what_was_missed_is_counted_up_to_a_bound(database_url: str) -> None:
    put(database_url, *(fire("a", hours, MISSED) for hours in range(3)), fire("a", 3, SKIPPED))
    with reading(database_url) as connection:
        assert [count_unfired(connection, MISSED, NOON, most) for most in (2, 9)] == [2, 3]
        assert count_unfired(connection, MISSED, NOON + HOUR, 9) == 0


def test_the_list_of_what_was_missed_reads_its_index(database_url: str) -> None:
    rows = [fire("a", hours) for hours in range(2000)]
    put(database_url, *rows, fire("a", -1, MISSED))
    statements: list[tuple[str, Any]] = []
    engine = engine_for(database_url)

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    with writing(database_url) as connection:
        list_unfired(connection, MISSED, NOON, 9, UnfiredPlace(NOON + HOUR, "a", NOON))
        (asked,) = [each for each in statements if "ORDER BY" in each[0]]
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE fires")
        how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        plan = str(connection.exec_driver_sql(f"{how} {asked[0]}", asked[1]).all())
    event.remove(engine, "before_cursor_execute", note)
    assert "ix_fires_state_decided_at_schedule_planned_at" in plan
    assert "TEMP B-TREE" not in plan
