"""A report as one HTML file that needs no network: figures, charts and a table, in light and dark, on any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.reporting import chart as charts
from tasks.reporting.chart import Chart, escaped
from tasks.reporting.sheet import is_number, plain_text

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Figure:
    """A number that stands for itself, and what it is compared with."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Link:
    """A cell that leads to another file beside this one."""

    text: str
    name: str


@dataclass(frozen=True)
class Table:
    """Rows under their columns, with totals under those columns that have one."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    totals: dict[str, int | float]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """Everything that a report shows, from top to bottom."""

    title: str
    lead: str
    figures: Sequence[Figure]
    charts: Sequence[Chart]
    table: Table


def render(page: Page) -> str:
    """The whole file. Everything that came from outside is escaped, and the page may load and run nothing."""
    title = escaped(page.title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>\n{STYLE}</style></head>\n<body><main>"
        f'<h1>{title}</h1><p class="lead">{escaped(page.lead)}</p>'
        f"{_figures(page.figures)}{''.join(_chart(one) for one in page.charts)}{_table(page.table)}"
        "</main></body></html>\n"
    )


def number(value: Any) -> str:
    """A number as people read it: 1,234 or 1,234.50."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def headline(value: Any) -> str:
    """A number that stands alone: as :func:`number`, without cents once nobody would read them."""
    return number(round(value)) if abs(value) >= 100_000 else number(value)


def heading(column: str) -> str:
    """A column's name as people read it: ``amount_paid`` becomes ``Amount paid``."""
    words = column.replace("_", " ").strip() or column
    return words[:1].upper() + words[1:]


def _figures(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    cells = "".join(
        f"<div><dt>{escaped(figure.label)}</dt><dd>{escaped(figure.value)}"
        + (f"<small>{escaped(figure.remark)}</small>" if figure.remark else "")
        + "</dd></div>"
        for figure in figures
    )
    return f'<dl class="figures">{cells}</dl>'


def _chart(chart: Chart) -> str:
    names = "".join(f'<li><i class="s{at}"></i>{escaped(name)}</li>' for at, name in enumerate(chart.legend, 1))
    legend = f'<ul class="legend">{names}</ul>' if names else ""
    return (
        f'<figure class="card"><figcaption>{escaped(chart.title)}</figcaption>{legend}{charts.draw(chart)}'
        f"{_note(chart.note)}</figure>"
    )


def _table(table: Table) -> str:
    numeric = [_is_numeric(table.rows, index) for index in range(len(table.columns))]
    head = "".join(
        _cell("th", escaped(heading(name)), right) for name, right in zip(table.columns, numeric, strict=True)
    )
    body = "".join(f"<tr>{_row(row, numeric)}</tr>" for row in table.rows)
    return (
        f'<section class="card"><h2>{escaped(table.title)}</h2><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{_foot(table, numeric)}"
        f"</table></div>{_note(table.note)}</section>"
    )


def _row(row: Sequence[Any], numeric: Sequence[bool]) -> str:
    return "".join(_cell("td", _value(value), right) for value, right in zip(row, numeric, strict=True))


def _foot(table: Table, numeric: Sequence[bool]) -> str:
    if not table.totals or len(table.rows) < 2:
        return ""
    cells = [number(table.totals[name]) if name in table.totals else "" for name in table.columns]
    cells[0] = cells[0] or "Total"
    row = "".join(_cell("td", text, right) for text, right in zip(cells, numeric, strict=True))
    return f"<tfoot><tr>{row}</tr></tfoot>"


def _cell(tag: str, content: str, right: bool) -> str:
    return f'<{tag} class="number">{content}</{tag}>' if right else f"<{tag}>{content}</{tag}>"


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Link):
        return f'<a href="{escaped(value.name)}">{escaped(value.text)}</a>'
    if is_number(value):
        return number(value)
    return escaped(plain_text(value))


def _is_numeric(rows: Sequence[Sequence[Any]], index: int) -> bool:
    values = [row[index] for row in rows if row[index] is not None]
    return bool(values) and all(is_number(value) for value in values)


def _note(text: str) -> str:
    return f'<p class="note">{escaped(text)}</p>' if text else ""
