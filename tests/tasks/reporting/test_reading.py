"""Queries that cannot change anything, on both databases."""

import gc
import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tasks.reporting import reading
from tasks.reporting.errors import QueryRefused, SourceUnavailable
from tasks.reporting.reading import read
from tests.conftest import DATABASES, NewLedger
from tests.live import wait_for

ROWS = "('apple', 3), ('pear', 5), ('plum', NULL)"


@pytest.fixture(scope="module", params=DATABASES)
def database_url(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """A database with a table of three rows, for the whole module."""
    with new_ledger(request.param) as url:
        _execute(url, "CREATE TABLE fruit (name TEXT, pieces INTEGER)", "INSERT INTO fruit VALUES " + ROWS)
        yield url


@pytest.fixture
def source(database_url: str) -> Iterator[str]:
    """That database; after the test it must be as it was."""
    yield database_url
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, pieces FROM fruit ORDER BY name")).all()
    assert [tuple(row) for row in rows] == [("apple", 3), ("pear", 5), ("plum", None)], "something was changed"


@pytest.fixture(scope="module")
def postgresql(new_ledger: NewLedger) -> Iterator[str]:
    """A PostgreSQL database with a table and a sequence."""
    with new_ledger("postgresql") as url:
        _execute(url, "CREATE TABLE fruit (name TEXT, pieces INTEGER)", "CREATE SEQUENCE steps")
        yield url


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def all_of(url: str, sql: str, **parameters: object) -> list[tuple[object, ...]]:
    with read(url, sql, parameters) as rows:
        return list(rows)


def test_rows_come_with_their_columns(source: str) -> None:
    with read(source, "SELECT name, pieces FROM fruit ORDER BY name;", {}) as rows:
        assert rows.columns == ("name", "pieces")
        assert list(rows) == [("apple", 3), ("pear", 5), ("plum", None)]


def test_values_are_bound_and_not_pasted(source: str) -> None:
    sql = "SELECT name FROM fruit WHERE name = :name OR pieces > :least"
    assert all_of(source, sql, name="x' OR '1'='1", least=4) == [("pear",)]


def test_percent_signs_and_casts_mean_what_sql_says(source: str) -> None:
    assert all_of(source, "SELECT name FROM fruit WHERE name LIKE 'p%' AND name LIKE :like", like="%m") == [("plum",)]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE fruit SET pieces = 0",
        "DELETE FROM fruit",
        "INSERT INTO fruit VALUES ('fig', 1) RETURNING name",
        "DROP TABLE fruit",
        "CREATE TABLE other (x INTEGER)",
        "CREATE TEMPORARY TABLE other (x INTEGER)",
        "SELECT 1; DELETE FROM fruit",
        "COMMIT; DELETE FROM fruit",
        "WITH gone AS (DELETE FROM fruit RETURNING *) SELECT * FROM gone",
        "BEGIN",
    ],
)
def test_whatever_could_change_something_is_refused(source: str, sql: str) -> None:
    with pytest.raises(QueryRefused, match="one query that only reads"):
        all_of(source, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH DATABASE '{folder}/other.db' AS other",
        "VACUUM INTO '{folder}/other.db'",
        "PRAGMA query_only = OFF",
        "PRAGMA user_version = 7",
        "SELECT load_extension('{folder}/x')",
    ],
)
def test_sqlite_reaches_no_other_file(tmp_path: Path, sql: str) -> None:
    database = tmp_path / "data.db"
    sqlite3.connect(database).execute("CREATE TABLE fruit (name TEXT)")
    with pytest.raises(QueryRefused):
        all_of(f"sqlite:///{database}", sql.format(folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["data.db"]


@pytest.mark.parametrize(
    "sql",
    [
        "SET TRANSACTION READ WRITE; DELETE FROM fruit",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT nextval('steps')",
        "SELECT * INTO other FROM fruit",
        "COPY fruit TO PROGRAM 'cat'",
        "SELECT name FROM fruit FOR UPDATE",
    ],
)
def test_postgresql_stays_read_only(postgresql: str, sql: str) -> None:
    with pytest.raises(QueryRefused):
        all_of(postgresql, sql)


@pytest.mark.parametrize(
    ("sql", "parameters", "complaint"),
    [
        ("", {}, "there is no SQL"),
        ("   ", {}, "there is no SQL"),
        ("SELEC name FROM fruit", {}, "syntax error"),
        ("SELECT colour FROM fruit", {}, "colour"),
        ("SELECT * FROM vegetables", {}, "vegetables"),
        ("SELECT :missing", {}, "no value for :missing"),
        ("SELECT 1", {"unused": 1}, "has no :unused"),
        ("SELECT name, pieces AS name FROM fruit", {}, "two columns are called name"),
        ("SELECT name FROM fruit WHERE pieces = :list", {"list": {"a": 1}}, "one query that only reads"),
    ],
)
def test_a_query_that_cannot_run_is_refused_in_one_line(
    source: str, sql: str, parameters: dict[str, object], complaint: str
) -> None:
    with pytest.raises(QueryRefused, match=complaint) as caught:
        all_of(source, sql, **parameters)
    assert "\n" not in str(caught.value)


def test_a_query_that_takes_too_long_is_ended(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "QUERY_SECONDS", 0.2)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(QueryRefused, match=r"interrupted|statement timeout"):
        all_of(source, endless)


def test_text_that_is_not_utf_8_is_shown_with_marks(tmp_path: Path) -> None:
    database = tmp_path / "data.db"
    sqlite3.connect(database).execute("CREATE TABLE fruit AS SELECT CAST(x'C3FF' AS TEXT) AS name").connection.commit()
    assert all_of(f"sqlite:///{database}", "SELECT name FROM fruit") == [("\ufffd\ufffd",)]


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql+psycopg://me:hunter2@127.0.0.1:9/x"])
def test_a_database_that_does_not_answer_is_unavailable(url: str) -> None:
    with pytest.raises(SourceUnavailable, match="does not answer") as caught:
        all_of(url, "SELECT 1")
    assert "hunter2" not in str(caught.value)


def test_no_missing_sqlite_file_is_created(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        all_of(f"sqlite:///{tmp_path}/missing.db", "SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_the_rows_of_a_large_result_are_not_all_in_memory(postgresql: str) -> None:
    """The client holds a portion of the rows at a time; all of them take 15 MB."""
    tracemalloc.start()
    with read(postgresql, "SELECT repeat('x', 1000) FROM generate_series(1, 15000)", {}) as rows:
        count = sum(1 for _ in rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 15_000
    assert peak < 8_000_000


def test_the_connection_is_closed_after_the_query(postgresql: str) -> None:
    """Because it is over, and not because its connection was forgotten and collected."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    gc.disable()
    try:
        all_of(postgresql, "SELECT 1")
        wait_for(lambda: all_of(postgresql, others) == [(0,)], "the server knows of no other connection", 5)
    finally:
        gc.enable()
