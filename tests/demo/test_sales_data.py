"""The generated sales database."""

import sqlite3
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from demo.sales_data import LAST_DAY, PRODUCTS, REGIONS, make_sales_database


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    path = tmp_path_factory.mktemp("sales") / "sales.db"
    make_sales_database(path, rows=20_000)
    return sqlite3.connect(path)


def test_there_are_as_many_sales_as_asked_for(connection: sqlite3.Connection) -> None:
    assert connection.execute("SELECT count(*), count(DISTINCT id) FROM sales").fetchone() == (20_000, 20_000)


def test_every_region_and_product_sells_on_the_last_days(connection: sqlite3.Connection) -> None:
    recent = "SELECT count(DISTINCT region), count(DISTINCT product), max(day) FROM sales WHERE day > '2026-06-20'"
    assert connection.execute(recent).fetchone() == (len(REGIONS), len(PRODUCTS), LAST_DAY.isoformat())


def test_there_are_seasons_and_weekends(connection: sqlite3.Connection) -> None:
    by_month: Counter[int] = Counter()
    by_weekday: Counter[int] = Counter()
    for day, count in connection.execute("SELECT day, count(*) FROM sales GROUP BY day"):
        by_month[date.fromisoformat(day).month] += count
        by_weekday[date.fromisoformat(day).weekday()] += count
    assert by_month.most_common(1)[0][0] == 12
    assert {by_weekday.most_common(2)[0][0], by_weekday.most_common(2)[1][0]} == {4, 5}


def test_the_same_seed_gives_the_same_sales(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        make_sales_database(tmp_path / name, rows=500, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_an_older_database_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sales.db"
    path.write_text("something else")
    make_sales_database(path, rows=10)
    assert sqlite3.connect(path).execute("SELECT count(*) FROM sales").fetchone() == (10,)
    assert [file.name for file in tmp_path.iterdir()] == ["sales.db"]
