"""The jobs around a job: who is found, as what, and how many."""

from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, text

from penstock.ledger import groups, queries
from penstock.ledger.rows import Delivery
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import counted, counters
from penstock.operations.jobs.family import MOST_BELOW, Family, Kin, find_family
from tests.ledger.making import start_attempt
from tests.operations.jobs.lives import START


def add(connection: Connection, id: str, **values: Any) -> None:
    start_attempt(connection, Delivery(id=id, task="t", queue="default", **values))


def family(url: str, id: str, *replays: str) -> Family:
    with reading(url) as connection:
        job = queries.find_job(connection, id)
        assert job is not None
        return find_family(connection, job, queries.find_jobs(connection, replays))


def told(found: Family) -> list[tuple[str, Kin, int, str | None]]:
    return [(member.job.id, member.kin, member.generation, member.of) for member in found.members]


def test_a_job_alone_is_its_own_family(database_url: str) -> None:
    with writing(database_url) as connection:
        add(connection, "one")
    assert told(family(database_url, "one")) == [("one", Kin.ITSELF, 0, None)]


def test_a_chain_is_found_in_both_directions(database_url: str) -> None:
    with writing(database_url) as connection:
        add(connection, "a", root_id="a")
        for id, parent in (("b", "a"), ("c", "b"), ("d", "c"), ("e", "d")):
            add(connection, id, root_id="a", parent_id=parent)
    assert told(family(database_url, "c")) == [
        ("a", Kin.ANCESTOR, -2, None),
        ("b", Kin.PARENT, -1, "a"),
        ("c", Kin.ITSELF, 0, "b"),
        ("d", Kin.CHILD, 1, "c"),
        ("e", Kin.DESCENDANT, 2, "d"),
    ]


def test_a_root_is_found_where_the_line_to_it_is_broken(database_url: str) -> None:
    with writing(database_url) as connection:
        add(connection, "root")
        add(connection, "one", root_id="root", parent_id="deleted")
    assert told(family(database_url, "one")) == [("root", Kin.ANCESTOR, -1, None), ("one", Kin.ITSELF, 0, None)]


def test_others_of_the_group_stand_beside_it_and_other_children_of_the_parent_do_not(database_url: str) -> None:
    with writing(database_url) as connection:
        add(connection, "parent")
        for id, group in (("one", "g"), ("two", "g"), ("other", None)):
            add(connection, id, parent_id="parent", group_id=group)
    assert told(family(database_url, "one"))[1:] == [
        ("one", Kin.ITSELF, 0, "parent"),
        ("two", Kin.SIBLING, 0, "parent"),
    ]


def test_a_part_of_a_chord_stands_after_the_job_that_has_sent_it(database_url: str) -> None:
    with writing(database_url) as connection:
        for id, parent, group in (
            ("a", None, None),
            ("one", "a", "g"),
            ("unlock", "one", None),
            ("body", "unlock", "g"),
        ):
            add(connection, id, parent_id=parent, group_id=group)
        connection.execute(insert(counters).values(id="g", total=1, remaining=0, created_at=START, fired_at=START))
        connection.execute(insert(counted), [{"counter_id": "g", "job_id": id, "position": 0} for id in ("one", "two")])
        add(connection, "two", parent_id="a", group_id="g")
    places = {member.job.id: (member.generation, member.of) for member in family(database_url, "body").members}
    assert places["two"] == places["one"] == (-2, "a")


def test_a_saved_group_without_a_parent_is_found(database_url: str) -> None:
    with writing(database_url) as connection:
        for id in ("one", "two"):
            add(connection, id, group_id="g")
        groups.save_group(connection, "g", [["g", None], [[["one", None], None], [["two", None], None]]])
    assert told(family(database_url, "one"))[1] == ("two", Kin.SIBLING, 0, None)


@pytest.mark.parametrize("members", [None, [], "text", [["g", None], [7, [], [[]], [[None, None], None]]]])
def test_a_saved_group_that_cannot_be_read_costs_nothing(database_url: str, members: Any) -> None:
    with writing(database_url) as connection:
        add(connection, "one", group_id="g")
        groups.save_group(connection, "g", members if members is not None else 0)
    assert len(family(database_url, "one").members) == 1


def test_parts_of_a_chord_that_have_ended_are_found(database_url: str) -> None:
    with writing(database_url) as connection:
        for id in ("one", "two"):
            add(connection, id, group_id="g")
        connection.execute(insert(counters).values(id="g", total=2, remaining=1, created_at=START))
        connection.execute(insert(counted).values(counter_id="g", job_id="two", position=1))
    assert told(family(database_url, "one"))[1] == ("two", Kin.SIBLING, 0, None)


def test_replays_are_found_in_both_directions(database_url: str) -> None:
    with writing(database_url) as connection:
        add(connection, "old")
        add(connection, "one", replay_of="old")
        add(connection, "new", replay_of="one")
    assert told(family(database_url, "one", "new")) == [
        ("one", Kin.ITSELF, 0, None),
        ("old", Kin.REPLAYED, 0, None),
        ("new", Kin.REPLAY, 0, "one"),
    ]


def test_a_job_that_says_it_is_its_own_ancestor_ends_the_search(database_url: str) -> None:
    with writing(database_url) as connection:
        add(connection, "a", parent_id="b", root_id="b")
        add(connection, "b", parent_id="a", root_id="b")
    found = family(database_url, "a")
    assert sorted(member.job.id for member in found.members) == ["a", "b"]


def test_of_a_thousand_children_some_are_told_and_that_there_are_more(database_url: str) -> None:
    with writing(database_url) as connection:
        add(connection, "parent")
        for number in range(MOST_BELOW + 5):
            add(connection, f"child-{number:02}", parent_id="parent", enqueued_at=START)
    found = family(database_url, "parent")
    assert (len(found.members), found.is_cut) == (MOST_BELOW + 1, True)
    assert found.members[1].job.id == "child-00"


def test_however_large_a_family_is_it_takes_few_questions(database_url: str) -> None:
    with writing(database_url) as connection:
        for number in range(12):
            add(connection, f"{number:02}", parent_id=f"{number - 1:02}", root_id="00", group_id="g", replay_of="00")
    asked: list[str] = []
    with reading(database_url) as connection:
        job = queries.find_job(connection, "09")
        assert job is not None
        event.listen(connection, "before_cursor_execute", lambda *told: asked.append(told[2]))
        found = find_family(connection, job)
    assert len(asked) <= 16
    assert found.is_cut


MANY = (
    "INSERT INTO jobs (id, task, queue, state, finished_at, updated_at, enqueued_at, parent_id, root_id, group_id) "
    "SELECT n::text, 't', 'default', 'succeeded', now(), now(), now(), CASE WHEN n > 1 THEN (n % 3 + 1)::text END, "
    "'1', 'g' FROM generate_series(1, 30000) AS n"
)


@pytest.mark.parametrize("statistics", ["old", "new"])
def test_of_ten_thousand_children_no_more_are_read_than_are_told(postgresql_url: str, statistics: str) -> None:
    with writing(postgresql_url) as connection:
        add(connection, "first", parent_id="nobody")
        connection.execute(text("ALTER TABLE jobs SET (autovacuum_enabled = off)"))
        connection.execute(text("ANALYZE jobs"))
        connection.execute(text(MANY))
        if statistics == "new":
            connection.execute(text("ANALYZE jobs"))
    with reading(postgresql_url) as connection:
        job = queries.find_job(connection, "2")
        assert job is not None
        asked: list[tuple[str, Any]] = []
        event.listen(connection, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
        assert find_family(connection, job).is_cut
        cursor = connection.connection.cursor()
        for statement, parameters in list(asked):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            (plan,) = cursor.fetchone() or (None,)
            assert rows_read(plan[0]["Plan"]) <= 600, plan


def rows_read(plan: dict[str, Any]) -> int:
    """Of tables and indexes, by all parts of a plan."""
    here = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return int(here if "Relation Name" in plan else 0) + sum(rows_read(part) for part in plan.get("Plans", ()))
