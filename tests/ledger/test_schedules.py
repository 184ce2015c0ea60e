"""Statements on schedules and schedulers, on each database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError

from penstock.ledger import schedules
from penstock.ledger.schedules import BeatRow
from penstock.ledger.session import engine_for, reading, writing
from penstock.ledger.tables import schedules as table

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def add(url: str, *names: str, due: float | None = 0, **values: Any) -> None:
    """Schedules that are due so many hours after noon."""
    at = None if due is None else NOON + due * HOUR
    fixed = {"kind": "cron", "definition": {"task": "t"}, "planned_at": at, "due_at": at}
    with writing(url) as connection:
        for name in names:
            row = {"name": name, **fixed, "created_at": NOON, "updated_at": NOON, **values}
            connection.execute(insert(table).values(**row))


def taken(
    connection: Connection, hours: float = 0, limit: int = 100, ready: tuple[str, ...] = (), refused: Any = ()
) -> list[str]:
    return [row.name for row in schedules.take_due(connection, NOON + hours * HOUR, limit, ready, refused)]


# -- what is due ------------------------------------------------------------------------------------------------------


def test_what_is_due_is_taken_the_longest_first(database_url: str) -> None:
    for name, due in (("b", -1), ("c", 0), ("a", -2), ("later", 0.001)):
        add(database_url, name, due=due)
    add(database_url, "over", due=None)
    with writing(database_url) as connection:
        assert taken(connection) == ["a", "b", "c"]
        assert taken(connection, limit=2) == ["a", "b"]


def test_those_of_somebody_elses_making_are_taken_when_they_are_ready(database_url: str) -> None:
    add(database_url, "solar", "other", kind="celery")
    add(database_url, "ours")
    with writing(database_url) as connection:
        assert taken(connection) == ["ours"]
        assert sorted(taken(connection, ready=("solar", "nobody"))) == ["ours", "solar"]


def test_those_that_are_refused_are_left_out(database_url: str) -> None:
    add(database_url, "a", "b", "c")
    with writing(database_url) as connection:
        assert sorted(taken(connection, refused={"a": 1, "c": 2})) == ["b"]


def test_what_is_taken_comes_without_its_definition(database_url: str) -> None:
    """It is long, and read once for each version."""
    add(database_url, "a", version=4, declared_by="app")
    with writing(database_url) as connection:
        (row,) = schedules.take_due(connection, NOON, 9, (), ())
        assert (row.definition, row.version, row.declared_by, row.planned_at) == (None, 4, "app", NOON)
        assert schedules.definitions(connection, ["a", "nobody"]) == {"a": {"task": "t"}}


def test_what_one_has_taken_is_passed_over_by_the_others(postgresql_url: str) -> None:
    add(postgresql_url, "a", "b", "c")
    other = engine_for(f"{postgresql_url}{'&' if '?' in postgresql_url else '?'}application_name=other")
    with writing(postgresql_url) as one, other.begin() as connection:
        first = taken(one, limit=2)
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        second = taken(connection)
    assert sorted(first + second) == ["a", "b", "c"]
    assert len(first) == 2


def test_one_that_is_locked_is_waited_for_or_left_out(postgresql_url: str) -> None:
    add(postgresql_url, "a", "b")
    other = engine_for(f"{postgresql_url}{'&' if '?' in postgresql_url else '?'}application_name=other")
    with writing(postgresql_url) as one, other.connect() as connection:
        assert schedules.lock(one, "a") is not None
        with connection.begin():
            assert [row.name for row in schedules.lock_free(connection, ["a", "b"])] == ["b"]
        with connection.begin():
            connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                schedules.lock(connection, "a")


def test_when_the_next_is_due_is_known(database_url: str) -> None:
    with reading(database_url) as connection:
        assert schedules.next_due(connection) is None
    add(database_url, "over", due=None)
    add(database_url, "a", due=2)
    add(database_url, "b", due=1)
    with reading(database_url) as connection:
        assert schedules.next_due(connection) == NOON + HOUR
        assert schedules.next_due(connection, NOON + HOUR) == NOON + 2 * HOUR
        assert schedules.next_due(connection, NOON + 2 * HOUR) is None


def test_what_is_due_soon_comes_slice_by_slice(database_url: str) -> None:
    for name, due in (("d", 1), ("c", 1), ("b", 1), ("a", 0), ("later", 3)):
        add(database_url, name, due=due)
    with reading(database_url) as connection:
        first = schedules.due_soon(connection, NOON + HOUR, 2)
        assert [row.name for row in first] == ["a", "b"]
        second = schedules.due_soon(connection, NOON + HOUR, 9, (NOON + HOUR, "b"))
        assert [row.name for row in second] == ["c", "d"]
        assert schedules.due_soon(connection, NOON + HOUR, 9, (NOON + HOUR, "d")) == []


def test_how_many_are_overdue_and_since_when(database_url: str) -> None:
    for name, due in (("a", -2), ("b", -1), ("c", 0)):
        add(database_url, name, due=due)
    with reading(database_url) as connection:
        assert schedules.overdue(connection, NOON, timedelta(minutes=1)) == (2, NOON - 2 * HOUR)
        assert schedules.overdue(connection, NOON, 3 * HOUR) == (0, None)


def test_the_clock_is_that_of_the_database_and_goes_on_in_a_transaction(database_url: str) -> None:
    with writing(database_url) as connection:
        first, second = schedules.clock(connection), schedules.clock(connection)
    assert first < second
    assert first.tzinfo is UTC
    assert abs(datetime.now(UTC) - second) < timedelta(seconds=5)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_a_schedule_is_found_by_its_name(database_url: str) -> None:
    add(database_url, "a", pause_note="it's off", paused_at=NOON, paused_by="ada", failures=3)
    with writing(database_url) as connection:
        row = schedules.find(connection, "a")
        assert row is not None
        assert row == schedules.lock(connection, "a")
        assert (row.pause_note, row.paused_at, row.paused_by, row.failures) == ("it's off", NOON, "ada", 3)
        assert schedules.find(connection, "b") is None
        assert schedules.lock(connection, "b") is None


def test_those_that_are_there_are_not_added_again(database_url: str) -> None:
    row = {"kind": "cron", "definition": {}, "created_at": NOON, "updated_at": NOON}
    with writing(database_url) as connection:
        assert schedules.add(connection, [{"name": "a", **row}]) == {"a"}
        assert schedules.add(connection, [{"name": "a", **row}, {"name": "b", **row}]) == {"b"}


def test_a_change_is_of_one_schedule_and_has_its_time(database_url: str) -> None:
    add(database_url, "a", "b")
    with writing(database_url) as connection:
        schedules.change(connection, "a", {"version": 2, "definition": {"task": "u"}}, NOON + HOUR)
        found = {row.name: (row.version, row.definition, row.updated_at) for row in schedules.list_all(connection)}
    assert found == {"a": (2, {"task": "u"}, NOON + HOUR), "b": (1, {"task": "t"}, NOON)}


def test_how_far_schedules_are_is_written_for_all_at_once(database_url: str) -> None:
    add(database_url, "a", "b")
    progress = {"planned_at": NOON + HOUR, "due_at": NOON + 2 * HOUR, "previous_at": NOON, "fires": 7}
    with writing(database_url) as connection:
        schedules.move_on(connection, [{"name": "a", **progress}])
        rows = {row.name: vars(row) for row in schedules.list_all(connection)}
    assert {name: rows["a"][name] for name in progress} == progress
    assert (rows["b"]["planned_at"], rows["b"]["fires"]) == (NOON, 0)


def test_one_is_removed(database_url: str) -> None:
    add(database_url, "a", "b")
    with writing(database_url) as connection:
        schedules.remove(connection, "a")
        assert [row.name for row in schedules.list_all(connection)] == ["b"]


def test_all_are_listed_by_their_names(database_url: str) -> None:
    add(database_url, "b", "B", "a", "ä")
    with reading(database_url) as connection:
        assert [row.name for row in schedules.list_all(connection)] == ["B", "a", "b", "ä"]
        assert schedules.some_names(connection, 2) == ["B", "a"]


def test_an_application_has_its_own_and_those_it_wants(database_url: str) -> None:
    add(database_url, "a", "b", declared_by="app")
    add(database_url, "c", declared_by="other")
    add(database_url, "d", "e")
    with writing(database_url) as connection:
        found = schedules.declared(connection, "app", {"a", "c", "d"})
    assert [row.name for row in found] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "columns", [{"due": 0, "due_at": None}, {"due": None, "due_at": NOON}, {"paused_at": NOON}, {"paused_by": "ada"}]
)
def test_times_that_belong_together_are_there_together(database_url: str, columns: Any) -> None:
    with pytest.raises(IntegrityError):
        add(database_url, "a", **columns)


# -- schedulers -------------------------------------------------------------------------------------------------------


def test_a_scheduler_is_noted_and_noted_again(database_url: str) -> None:
    with writing(database_url) as connection:
        schedules.note_beat(connection, "b", NOON, NOON)
        schedules.note_beat(connection, "a", NOON, NOON)
        schedules.note_beat(connection, "b", NOON, NOON + HOUR)
        assert schedules.list_beats(connection) == [BeatRow("a", NOON, NOON), BeatRow("b", NOON, NOON + HOUR)]


@pytest.mark.parametrize(("name", "left"), [(None, ["b", "c"]), ("c", ["b"])])
def test_schedulers_are_forgotten_by_their_age_or_name(database_url: str, name: str | None, left: list[str]) -> None:
    with writing(database_url) as connection:
        for each, hours in (("a", -2), ("b", -1), ("c", 0)):
            schedules.note_beat(connection, each, NOON, NOON + hours * HOUR)
        schedules.forget_beats(connection, NOON - HOUR, name)
        assert [row.name for row in schedules.list_beats(connection)] == left
