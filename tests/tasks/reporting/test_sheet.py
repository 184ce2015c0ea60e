"""Rows as CSV."""

import csv
import datetime
import io
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.reporting import sheet
from tasks.reporting.sheet import Sheet


def written(columns: list[str], rows: list[tuple[Any, ...]]) -> tuple[Sheet, list[list[str]]]:
    file = io.StringIO(newline="")
    made = sheet.write(file, columns, rows)
    file.seek(0)
    return made, list(csv.reader(file))


@pytest.mark.parametrize("start", sheet.FORMULA_STARTS)
def test_text_that_a_spreadsheet_would_run_is_defused(start: str) -> None:
    _, lines = written([f"{start}column"], [(f"{start}cmd|' /C calc'!A0",)])
    assert lines == [[f"'{start}column"], [f"'{start}cmd|' /C calc'!A0"]]


def test_numbers_stay_numbers() -> None:
    _, lines = written(["a", "b", "c"], [(-5, -1.5, Decimal("-2.50"))])
    assert lines[1] == ["-5", "-1.5", "-2.50"]


def test_each_kind_of_value_has_its_form() -> None:
    row = (None, True, datetime.date(2026, 1, 2), b"\x00\xff", {"ä": [1]}, 'say "hi", you\r\n')
    _, lines = written(list("abcdef"), [row])
    assert lines[1] == ["", "true", "2026-01-02", "00ff", '{"ä": [1]}', 'say "hi", you\r\n']


@given(some.lists(some.tuples(some.text(some.characters(exclude_categories=["Cs"])), some.integers()), max_size=20))
def test_any_text_comes_back_from_the_file(rows: list[tuple[str, int]]) -> None:
    _, lines = written(["text", "number"], rows)
    assert [(text.removeprefix("'"), int(number)) for text, number in lines[1:]] == [
        (text.removeprefix("'"), number) for text, number in rows
    ]


def test_totals_cover_columns_of_numbers_only() -> None:
    rows = [(1, 10, 1.5, "x", True), (2, None, Decimal("2"), 3, False)]
    made, _ = written(
        ["order_id", "pieces", "price", "mixed", "flag"], [(*row[:2], float(row[2]), *row[3:]) for row in rows]
    )
    assert made.totals == {"pieces": 10, "price": 3.5}


def test_a_column_with_nan_has_no_total() -> None:
    made, _ = written(["x", "y"], [(float("nan"), 1), (1.0, 1)])
    assert made.totals == {"y": 2}


def test_a_sum_that_json_has_no_number_for_is_left_out() -> None:
    made, _ = written(["x", "y"], [(1.5e308, Decimal("1e308")), (1.5e308, Decimal("9e308"))])
    assert made.totals == {}


def test_rows_beyond_the_bound_are_counted_and_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MAX_ROWS", 10)
    monkeypatch.setattr(sheet, "KEPT_ROWS", 4)
    made, lines = written(["n"], [(number,) for number in range(25)])
    assert (len(lines) - 1, made.written, made.left_out, made.rows) == (10, 10, 15, 25)
    assert made.kept == [(0,), (1,), (2,), (3,)]
    assert made.totals == {"n": 300}
