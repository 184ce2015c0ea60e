"""Reports from SQL queries, end to end."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tasks.reporting import sheet
from tasks.reports import NameRefused, QueryRefused, UnknownDatabase, query
from tests.conftest import DATABASES, NewLedger

SQL = "SELECT day, visits, revenue FROM visits WHERE visits >= :least ORDER BY day"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture(scope="module", params=DATABASES)
def database_url(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """A database with a table of visits, one for the whole module: no report can change it."""
    with new_ledger(request.param) as url:
        with create_engine(url, poolclass=NullPool).begin() as connection:
            connection.execute(text("CREATE TABLE visits (day TEXT, page TEXT, visits INTEGER, revenue NUMERIC)"))
            rows = ", ".join(f"('2026-01-{day:02}', '=page<{day}>', {day}, {day}.50)" for day in range(1, 11))
            connection.execute(text(f"INSERT INTO visits VALUES {rows}"))
        yield url


@pytest.fixture(autouse=True)
def source(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That database under the name `web`."""
    monkeypatch.setenv("TASKS_DATABASES", f"web={database_url}")


def test_a_query_becomes_a_csv_and_a_page(folder: Path) -> None:
    result = query("web", SQL, "Visits, by day!", parameters={"least": 4})
    assert result == {
        "csv": "visits-by-day.csv",
        "html": "visits-by-day.html",
        "rows": 7,
        "left_out": 0,
        "totals": {"visits": 49, "revenue": 52.5},
    }
    with (folder / result["csv"]).open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["day", "visits", "revenue"]
    assert [line[0] for line in lines[1:]] == [f"2026-01-{day:02}" for day in range(4, 11)]
    page = (folder / result["html"]).read_text()
    assert "<h1>Visits, by day!</h1>" in page
    assert len(re.findall("<figure", page)) == 2
    assert 'class="line s1"' in page, "days are joined by a line"


def test_rows_with_names_become_bars_and_dangerous_text_is_defused(folder: Path) -> None:
    result = query("web", "SELECT page, visits FROM visits ORDER BY visits DESC", "Pages", name="web/pages")
    page = (folder / "web/pages.html").read_text()
    assert page.count('class="bar"') == 20
    assert "=page&lt;10&gt;" in page
    assert "=page<" not in page
    assert "'=page<10>,10" in (folder / result["csv"]).read_text()


def test_running_it_again_writes_the_same_files(folder: Path) -> None:
    query("web", SQL, "Visits", parameters={"least": 1})
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    query("web", SQL, "Visits", parameters={"least": 1})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert sorted(first) == ["visits.csv", "visits.html"]


def test_what_is_left_out_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MAX_ROWS", 6)
    monkeypatch.setattr(sheet, "KEPT_ROWS", 4)
    result = query("web", SQL, "Visits", parameters={"least": 1})
    assert (result["rows"], result["left_out"], result["totals"]["visits"]) == (10, 4, 55)
    page = (folder / "visits.html").read_text()
    assert "The first 4 of 10 rows are shown; totals cover all of them." in page
    assert "The CSV holds 6 rows and leaves 4 out." in page


def test_numbers_beyond_every_axis_are_listed_and_not_drawn(folder: Path) -> None:
    sql = "SELECT page, CASE visits WHEN 1 THEN 1.5e308 WHEN 2 THEN -1.5e308 ELSE visits END AS much FROM visits"
    assert query("web", sql, "Much")["rows"] == 10
    assert "inf" not in re.findall(r"<svg.*</svg>", (folder / "much.html").read_text(), re.DOTALL)[0].replace(
        "info", ""
    )


def test_a_query_without_rows_gives_a_report_that_says_so(folder: Path) -> None:
    assert query("web", SQL, "Visits", parameters={"least": 99})["rows"] == 0
    assert "The query gave no rows." in (folder / "visits.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"database": "warehouse"}, UnknownDatabase, r"'warehouse' \(known: web\); add it to TASKS_DATABASES"),
        ({"database": "sqlite:////etc/passwd"}, UnknownDatabase, "there is no database"),
        ({"name": "../../etc/cron.d/evil"}, NameRefused, "the name"),
        ({"name": ""}, NameRefused, "the name"),
        ({"title": "  "}, ValueError, "title="),
        ({"title": "x" * 201}, ValueError, "title="),
        ({"sql": "SELEC 1"}, QueryRefused, "syntax error"),
        ({"sql": "DELETE FROM visits"}, QueryRefused, "only reads"),
        ({"sql": "SELECT visits / 0 * 'x' FROM nowhere"}, QueryRefused, "nowhere"),
        ({"sql": "SELECT :day"}, QueryRefused, "no value for :day"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    folder: Path, arguments: dict[str, str], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        query(**{"database": "web", "sql": "SELECT 1 AS one", "title": "One", **arguments})
    assert not folder.exists() or list(folder.rglob("*")) == []


def test_an_error_in_the_middle_leaves_the_last_report_as_it_was(folder: Path, database_url: str) -> None:
    query("web", SQL, "Visits", parameters={"least": 1})
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    failing = "SELECT abs(visits - 9223372036854775807 - :one) FROM visits"
    if database_url.startswith("postgresql"):
        failing = "SELECT 1 / (visits - 9 + :one - 1) FROM visits ORDER BY visits"
    with pytest.raises(QueryRefused):
        query("web", failing, "Visits", parameters={"one": 1 if database_url.startswith("postgresql") else 2})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
