"""Rows as CSV that spreadsheets can open without running anything, and what the rows come to."""

from __future__ import annotations

import csv
import datetime
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO, Any

MAX_ROWS = 100_000
KEPT_ROWS = 500
#: Spreadsheets take a cell that begins so for a formula; the last four are the full-width forms of the first four.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass
class Sheet:
    """What was written: the first rows for the page, counts and totals."""

    columns: tuple[str, ...]
    kept: list[tuple[Any, ...]] = field(default_factory=list)
    written: int = 0
    left_out: int = 0
    sums: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the query gave."""
        return self.written + self.left_out

    def column(self, name: str) -> list[Any]:
        """The values of one column in the kept rows."""
        index = self.columns.index(name)
        return [row[index] for row in self.kept]

    @property
    def totals(self) -> dict[str, int | float]:
        """The sum of each column of numbers over all rows, where JSON has a number for it."""
        sums = {name: value if isinstance(value, int) else float(value) for name, value in self.sums.items()}
        return {name: value for name, value in sums.items() if isinstance(value, int) or math.isfinite(value)}


def write(file: IO[str], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Sheet:
    """Writes up to ``MAX_ROWS`` rows as CSV (RFC 4180, UTF-8) and counts the rest; totals cover all of them."""
    sheet = Sheet(tuple(columns))
    writer = csv.writer(file)
    writer.writerow([defused(column) for column in columns])
    mixed = {name for name in columns if _is_identifier(name)}
    for row in rows:
        if sheet.written < MAX_ROWS:
            writer.writerow([cell(value) for value in row])
            sheet.written += 1
        else:
            sheet.left_out += 1
        if len(sheet.kept) < KEPT_ROWS:
            sheet.kept.append(tuple(row))
        _add(sheet.sums, mixed, columns, row)
    return sheet


def is_number(value: object) -> bool:
    """Whether ``value`` can be summed: a finite number, and not a truth value."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and math.isfinite(value)


def cell(value: Any) -> Any:
    """A value as a cell: numbers stay numbers, text is kept from being a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return value
    return defused(plain_text(value))


def plain_text(value: Any) -> str:
    """A value as text for people."""
    if value is None:
        return ""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def defused(text: str) -> str:
    """``text`` that no spreadsheet takes for a formula: a leading apostrophe makes it text."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _add(sums: dict[str, Any], mixed: set[str], columns: Sequence[str], row: Sequence[Any]) -> None:
    """Adds a row to the totals. A column that holds anything but numbers and NULL has none."""
    for name, value in zip(columns, row, strict=True):
        if value is None or name in mixed:
            continue
        if not is_number(value):
            mixed.add(name)
            sums.pop(name, None)
            continue
        sums[name] = sums.get(name, 0) + value


def _is_identifier(column: str) -> bool:
    """Numbers that only name something: a sum of them means nothing."""
    return column.lower() == "id" or column.lower().endswith("_id")
