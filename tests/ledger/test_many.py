"""Many rows in one statement, on each database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from penstock.ledger.many import insert_many, update_many
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import fires, schedules
from tests.scheduler.ground import statements

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXT = 'it\'s "quoted" \\ {} % :x ü \n'
WORDS: dict[str, Any] = {"task": "t", "text": TEXT, "list": [1, 2.5, None, True, {"deep": []}]}


def schedule(name: str, **values: Any) -> dict[str, Any]:
    """All columns that have a type of their own."""
    fixed = {"name": name, "kind": "cron", "definition": WORDS, "version": 3, "pause_note": "it's off"}
    times = {"planned_at": NOON, "due_at": NOON, "paused_at": None, "created_at": NOON, "updated_at": NOON}
    return {**fixed, **times, **values}


def fire(name: str, number: int = 0, **values: Any) -> dict[str, Any]:
    """A table whose key has two columns."""
    fixed = {"origin": "planned", "state": "skipped", "reason": "because", "job_id": None, "is_followed": False}
    times = {"planned_at": NOON + timedelta(hours=number), "decided_at": NOON}
    return {"schedule": name, **fixed, **times, **values}


def rows(url: str, table: Any = schedules) -> list[dict[str, Any]]:
    with reading(url) as connection:
        found = connection.execute(select(table).order_by(*table.primary_key))
        return [dict(row) for row in found.mappings()]


def test_rows_are_inserted_as_they_are_given(database_url: str) -> None:
    given = [schedule("a"), schedule("b", paused_at=NOON, definition={}, version=2**31 - 1, pause_note=None)]
    given[1]["planned_at"] = given[1]["due_at"] = None
    given = [{**row, "paused_by": "ada" if row["paused_at"] else None} for row in given]
    with writing(database_url) as connection:
        assert sorted(insert_many(connection, schedules, given)) == [("a",), ("b",)]
    assert [{name: row[name] for name in given[0]} for row in rows(database_url)] == given


def test_booleans_and_keys_of_several_columns_are_given_as_well(database_url: str) -> None:
    given = [fire("a", 1, state="fired", job_id="1", reason=None, is_followed=True), fire("a", 2), fire("b", 1)]
    with writing(database_url) as connection:
        keys = insert_many(connection, fires, given)
    assert sorted(keys) == [("a", given[0]["planned_at"]), ("a", given[1]["planned_at"]), ("b", given[2]["planned_at"])]
    assert rows(database_url, fires) == given


def test_text_that_no_database_takes_is_stored_all_the_same(database_url: str) -> None:
    """The message of an error may have anything in it."""
    with writing(database_url) as connection:
        insert_many(connection, fires, [fire("a", reason="\x00 and \ud800")])
        update_many(connection, schedules, [{"name": "nobody", "pause_note": "\x00 and \ud800"}])
    assert [row["reason"] for row in rows(database_url, fires)] == ["\ufffd and ?"]


def test_what_is_there_stays_and_is_not_told(database_url: str) -> None:
    with writing(database_url) as connection:
        insert_many(connection, fires, [fire("a", reason="first")])
        told = insert_many(connection, fires, [fire("a", reason="second"), fire("b")])
    assert told == [("b", NOON)]
    assert [row["reason"] for row in rows(database_url, fires)] == ["first", "because"]


def test_what_comes_twice_at_once_is_inserted_once(database_url: str) -> None:
    with writing(database_url) as connection:
        assert insert_many(connection, fires, [fire("a", reason="first"), fire("a", reason="second")]) == [("a", NOON)]
    assert len(rows(database_url, fires)) == 1


def test_columns_that_are_not_given_have_their_defaults(database_url: str) -> None:
    given = {name: schedule("a")[name] for name in ("name", "kind", "definition", "created_at", "updated_at")}
    with writing(database_url) as connection:
        insert_many(connection, schedules, [given])
    (row,) = rows(database_url)
    assert (row["version"], row["fires"], row["failures"], row["planned_at"]) == (1, 0, 0, None)


def test_rows_are_changed_by_their_keys_and_the_others_stay(database_url: str) -> None:
    with writing(database_url) as connection:
        insert_many(connection, schedules, [schedule(name) for name in "abc"])
        update_many(
            connection,
            schedules,
            [
                {"name": "a", "planned_at": NOON + timedelta(hours=1), "due_at": NOON + timedelta(hours=2), "fires": 5},
                {"name": "c", "planned_at": None, "due_at": None, "fires": 0},
                {"name": "nobody", "planned_at": None, "due_at": None, "fires": 0},
            ],
        )
    changed = [(row["name"], row["planned_at"], row["due_at"], row["fires"]) for row in rows(database_url)]
    hour = timedelta(hours=1)
    assert changed == [("a", NOON + hour, NOON + 2 * hour, 5), ("b", NOON, NOON, 0), ("c", None, None, 0)]
    assert {row["version"] for row in rows(database_url)} == {3}


def test_rows_are_changed_by_keys_of_several_columns(database_url: str) -> None:
    with writing(database_url) as connection:
        insert_many(connection, fires, [fire("a", 1), fire("a", 2), fire("b", 1)])
        changes = [{"schedule": "a", "planned_at": NOON + timedelta(hours=1), "reason": "x", "state": "missed"}]
        update_many(connection, fires, changes)
    assert [(row["reason"], row["state"]) for row in rows(database_url, fires)] == [
        ("x", "missed"),
        ("because", "skipped"),
        ("because", "skipped"),
    ]


@pytest.mark.parametrize("call", [insert_many, update_many])
def test_nothing_is_no_statement(database_url: str, call: Any) -> None:
    with writing(database_url) as connection, statements(database_url) as sent:
        assert not call(connection, schedules, [])
    assert [each for each in sent if "schedules" in each] == []


def test_thousands_are_one_batch(database_url: str) -> None:
    given = [fire("a", number) for number in range(5000)]
    with writing(database_url) as connection:
        assert len(insert_many(connection, fires, given)) == 5000
        update_many(
            connection,
            fires,
            [{"schedule": "a", "planned_at": row["planned_at"], "reason": f"{at}"} for at, row in enumerate(given)],
        )
    assert [row["reason"] for row in rows(database_url, fires)] == [str(number) for number in range(5000)]


def test_any_number_of_rows_is_the_same_statement(postgresql_url: str) -> None:
    """So that the server plans it once, and the driver keeps it prepared."""
    with writing(postgresql_url) as connection, statements(postgresql_url) as sent:
        for count in (1, 2, 50):
            insert_many(connection, fires, [fire(str(count), number) for number in range(count)])
            keys = [{"schedule": str(count), "planned_at": fire("a", number)["planned_at"]} for number in range(count)]
            update_many(connection, fires, [{**key, "reason": "x"} for key in keys])
    assert len(sent) == 6
    assert len(set(sent)) == 2
