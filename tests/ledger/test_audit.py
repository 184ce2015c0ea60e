"""Who did what, on each database: every filter, pages, what is read for them, and which deeds there are."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from penstock.ledger import audit as auditing
from penstock.ledger.audit import AuditFilter, AuditPlace, actions, list_audit
from penstock.ledger.cursors import BadCursor, cursor_of
from penstock.ledger.queries import add_audit
from penstock.ledger.session import engine_for, reading, writing
from penstock.ledger.tables import audit
from tests.conftest import NewLedger
from tests.ledger.plans import plans_of, tables_read

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def deed(id: int, minute: int = 0, actor: str = "ada", action: str = "retry", job: str | None = None) -> dict[str, Any]:
    """What somebody did so many minutes before noon."""
    at = NOON - timedelta(minutes=minute)
    return {"id": id, "at": at, "actor": actor, "action": action, "job_id": job, "details": {"n": id}}


def add(url: str, *rows: dict[str, Any]) -> None:
    with writing(url) as connection:
        connection.execute(insert(audit), list(rows))


def listed(url: str, **conditions: Any) -> list[int]:
    with reading(url) as connection:
        return [row.id for row in list_audit(connection, AuditFilter(**conditions), 100).rows]


def pages(connection: Connection, chosen: AuditFilter, limit: int) -> Iterator[list[int]]:
    """The ids of each page, until there is no more."""
    after = None
    while True:
        page = list_audit(connection, chosen, limit, after)
        yield [row.id for row in page.rows]
        if page.after is None:
            return
        after = AuditPlace.of(page.after.cursor)


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, [4, 3, 2, 1]),
        ({"actor": "ada"}, [4, 2, 1]),
        ({"action": "cancel"}, [3, 2]),
        ({"job_id": "7"}, [4, 1]),
        ({"actor": "ada", "action": "cancel"}, [2]),
        ({"actor": "bob", "job_id": "7"}, []),
        ({"actor": "ada", "action": "retry", "job_id": "7"}, [4, 1]),
        ({"since": NOON - timedelta(minutes=2)}, [4, 3, 2]),
        ({"until": NOON - timedelta(minutes=2)}, [1]),
        ({"actor": "ada", "action": "retry", "since": NOON - timedelta(minutes=2), "until": NOON + timedelta(1)}, [4]),
        ({"actor": "ad"}, []),
    ],
)
def test_every_condition_that_is_given_holds(database_url: str, conditions: dict[str, Any], ids: list[int]) -> None:
    rows = (deed(1, 3, job="7"), deed(2, 2, action="cancel"), deed(3, 1, "bob", "cancel"), deed(4, job="7"))
    add(database_url, *rows)
    assert listed(database_url, **conditions) == ids


def test_a_row_says_who_did_what_to_which_job(database_url: str) -> None:
    with writing(database_url) as connection:
        add_audit(connection, actor="ada", action="retry", job_id="7", details={"new": "8"})
    with reading(database_url) as connection:
        (row,) = list_audit(connection, AuditFilter(), 1).rows
    assert (row.actor, row.action, row.job_id, row.details) == ("ada", "retry", "7", {"new": "8"})


def test_deeds_of_the_same_time_are_on_one_page_each(database_url: str) -> None:
    add(database_url, *(deed(number) for number in range(1, 11)))
    with reading(database_url) as connection:
        assert list(pages(connection, AuditFilter(), 3)) == [[10, 9, 8], [7, 6, 5], [4, 3, 2], [1]]
        assert list(pages(connection, AuditFilter(actor="ada", action="retry"), 5)) == [
            [10, 9, 8, 7, 6],
            [5, 4, 3, 2, 1],
        ]


def test_a_second_condition_is_looked_for_so_far_and_the_page_says_so(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "LOOKED_AT", 3)
    add(database_url, deed(1, 9, action="cancel"), *(deed(number, 10 - number) for number in range(2, 6)))
    chosen = AuditFilter(actor="ada", action="cancel")
    with reading(database_url) as connection:
        first = list_audit(connection, chosen, 10)
        assert (first.rows, first.is_cut_short) == ([], True)
        assert first.after == AuditPlace(NOON - timedelta(minutes=7), 3)
        second = list_audit(connection, chosen, 10, first.after)
    assert ([row.id for row in second.rows], second.after) == ([1], None)


@pytest.mark.parametrize("id", ["", "x", "-1", "1" * 11, str(2**31), "\u0661"])
def test_what_is_no_cursor_of_the_audit_is_refused(id: str) -> None:
    with pytest.raises(BadCursor, match="is no cursor"):
        AuditPlace.of(cursor_of(NOON.isoformat(), id))


def test_every_kind_of_deed_is_known_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with reading(database_url) as connection:
        assert actions(connection) == []
    add(database_url, *(deed(number, action=f"act-{number % 4}") for number in range(1, 30)))
    with reading(database_url) as connection:
        assert actions(connection) == ["act-0", "act-1", "act-2", "act-3"]
        monkeypatch.setattr(auditing, "MOST_ACTIONS", 2)
        assert actions(connection) == ["act-0", "act-1"]


# -- what is read -----------------------------------------------------------------------------------------------------

MANY = (
    "INSERT INTO audit (id, at, actor, action, job_id) SELECT n, now() - n * interval '1 second', "
    "CASE WHEN n % 1000 = 0 THEN 'bob' ELSE 'ada' END, CASE WHEN n % 2 = 0 THEN 'retry' ELSE 'cancel' END, n::text "
    "FROM generate_series(1, 40000) AS n"
)


@pytest.fixture(scope="module", params=["old statistics", "new statistics"])
def many(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """So many deeds on PostgreSQL that its planner has a choice."""
    with new_ledger("postgresql") as url:
        add(url, deed(100_000))
        engine = engine_for(url).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER TABLE audit SET (autovacuum_enabled = off)"))
            connection.execute(text("ANALYZE audit"))
            connection.execute(text(MANY))
            if request.param == "new statistics":
                connection.execute(text("VACUUM ANALYZE audit"))
        yield url


@pytest.mark.parametrize(
    "chosen",
    [
        AuditFilter(),
        AuditFilter(actor="ada"),
        AuditFilter(action="retry"),
        AuditFilter(action="none"),
        AuditFilter(job_id="77"),
        AuditFilter(actor="ada", action="none"),
        AuditFilter(actor="bob", action="retry", since=NOON - timedelta(days=900)),
        AuditFilter(actor="ada", job_id="77", until=NOON + timedelta(days=900)),
    ],
    ids=str,
)
def test_no_list_reads_or_sorts_the_whole_audit(many: str, chosen: AuditFilter) -> None:
    for node, read in tables_read(plans_of(many, partial(list_and_name, chosen=chosen))):
        assert node["Node Type"] != "Seq Scan", node
        # With an index on the time alone as well, where one row in a thousand is somebody else's.
        assert read <= auditing.LOOKED_AT * 1.01, node


def list_and_name(connection: Connection, chosen: AuditFilter) -> None:
    list_audit(connection, chosen, 50)
    actions(connection)
