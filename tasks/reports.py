"""SQL queries as files that people read: CSV, and an HTML page with a chart and a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from penstock import Retry, task
from tasks.config import TaskSettings
from tasks.reporting.errors import NameRefused, QueryRefused, SourceUnavailable, UnknownDatabase

if TYPE_CHECKING:
    from tasks.reporting.chart import Chart
    from tasks.reporting.sheet import Sheet

MAX_TITLE = 200
MAX_CHARTS = 3
MAX_DRAWN = 1e300
TIMEOUT = 300
#: A database that restarts is back by then.
PATIENCE = Retry(attempts=5, base=5, cap=60, on=(SourceUnavailable,))


@task(timeout=TIMEOUT, retry=PATIENCE)
def query(
    database: str, sql: str, title: str, name: str | None = None, parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Runs a query that can only read and writes its rows as CSV and as a page.

    The first column that is not a number names the rows in the charts; each column of numbers becomes a chart, up to
    three. The CSV holds up to 100,000 rows, the page the first 500. Running it again writes the same files again.

    Args:
        database: name of a database in TASKS_DATABASES.
        sql: one SELECT; values stand in it as ``:name``.
        title: of the page.
        name: of the files under TASKS_REPORTS_FOLDER, without ending; made from the title if absent.
        parameters: a value for each ``:name``.

    Returns:
        ``csv`` and ``html`` (relative to the folder), ``rows``, ``left_out`` of the CSV, and ``totals`` by column.

    Raises:
        UnknownDatabase, NameRefused, ValueError: before the database is asked.
        QueryRefused: the database does not run the SQL, or only reads are permitted. Nothing is written.
        SourceUnavailable: the database does not answer.
    """
    from tasks.reporting import page, sheet, shelf
    from tasks.reporting.reading import read

    settings = TaskSettings.load()
    url = database_url(settings, database)
    title = _checked_title(title)
    stem = shelf.check_name(name if name is not None else slug(title))
    names = {"csv": f"{stem}.csv", "html": f"{stem}.html"}
    with read(url, sql, parameters or {}) as rows, shelf.drafting(settings.reports_folder) as draft:
        written = sheet.write(draft.text(names["csv"]), rows.columns, rows)
        draft.text(names["html"]).write(page.render(_page(title, database, written)))
    return {**names, "rows": written.rows, "left_out": written.left_out, "totals": written.totals}


def database_url(settings: TaskSettings, name: str) -> str:
    """The URL of a named database.

    Raises:
        UnknownDatabase: no database has this name.
    """
    if name not in settings.databases:
        known = ", ".join(sorted(settings.databases)) or "none"
        raise UnknownDatabase(f"there is no database {name!r} (known: {known}); add it to TASKS_DATABASES")
    return settings.databases[name]


def slug(text: str) -> str:
    """``text`` as a file name: letters and digits of ASCII, the rest as dashes; ``report`` if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "report"


def _checked_title(title: object) -> str:
    if not isinstance(title, str) or not title.strip() or len(title) > MAX_TITLE:
        raise ValueError(f"title={title!r}: a text of 1 to {MAX_TITLE} characters")
    return title.strip()


def _page(title: str, database: str, sheet: Sheet) -> Any:
    from tasks.reporting.page import Figure, Page, Table, heading, headline

    figures = [Figure("Rows", headline(sheet.rows))]
    figures += [Figure(f"{heading(name)}, total", headline(total)) for name, total in sheet.totals.items()]
    table = Table("Rows", sheet.columns, sheet.kept, sheet.totals, _left_out(sheet))
    return Page(title, f"From the database {database}", figures[:4], _charts(sheet), table)


def _left_out(sheet: Sheet) -> str:
    sentences = []
    if len(sheet.kept) < sheet.rows:
        sentences.append(f"The first {len(sheet.kept):,} of {sheet.rows:,} rows are shown; totals cover all of them.")
    if sheet.left_out:
        sentences.append(f"The CSV holds {sheet.written:,} rows and leaves {sheet.left_out:,} out.")
    return " ".join(sentences) if sheet.kept else "The query gave no rows."


def _charts(sheet: Sheet) -> list[Chart]:
    """A chart for each column of numbers: each has a unit and a size of its own, so none shares an axis."""
    from tasks.reporting.chart import Chart, Series
    from tasks.reporting.page import heading
    from tasks.reporting.sheet import plain_text

    if not sheet.kept:
        return []
    naming = _naming_column(sheet)
    labels = [plain_text(value) for value in sheet.column(naming)]
    kind: Literal["lines", "bars"] = "lines" if _are_days(labels) else "bars"
    return [
        Chart(
            title=f"{heading(name)} by {heading(naming).lower()}",
            axis=heading(name),
            labels=labels,
            series=[Series(name, [_drawable(value) for value in sheet.column(name)])],
            kind=kind,
            rows=sheet.rows,
        )
        for name in [name for name in sheet.sums if name != naming][:MAX_CHARTS]
    ]


def _drawable(value: Any) -> float | None:
    """A value as charts take it; a gap where there is none, or one that no axis can reach."""
    return None if value is None or abs(value) > MAX_DRAWN else float(value)


def _naming_column(sheet: Sheet) -> str:
    """The first column that is not all numbers; the very first if there is none."""
    from tasks.reporting.sheet import is_number

    for name in sheet.columns:
        if not all(value is None or is_number(value) for value in sheet.column(name)):
            return name
    return sheet.columns[0]


def _are_days(labels: list[str]) -> bool:
    """Whether the labels are points in time in their order, which a line may connect."""
    return (
        len(labels) > 2 and labels == sorted(labels) and all(re.match(r"\d{4}-\d{2}(-\d{2})?", day) for day in labels)
    )


__all__ = ["NameRefused", "QueryRefused", "SourceUnavailable", "UnknownDatabase", "query"]
