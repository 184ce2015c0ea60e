"""The nightly sales report: a part for each region in parallel, merged, archived, announced.

Every step writes the same files again when it runs again, each file in one step, so that a step which is repeated
after a crash does no harm. Workers on several hosts share one TASKS_REPORTS_FOLDER.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from penstock import Settings, task
from tasks import webhooks
from tasks.config import TaskSettings
from tasks.reporting.errors import QueryRefused
from tasks.reports import PATIENCE, TIMEOUT, database_url, slug

if TYPE_CHECKING:
    from tasks.reporting.page import Figure, Page

DATABASE = "sales"
EVENT = "sales.report.ready"
TREND_DAYS = 30
MAX_REGIONS = 200
COLUMNS = ("product", "orders", "quantity", "amount_cents")
#: The oldest time that a zip file can name: the same report is the same archive to the byte.
NO_TIME = (1980, 1, 1, 0, 0, 0)
#: Product, orders, quantity, cents: as in COLUMNS.
Sold = tuple[str, int, int, int]

REGIONS_SQL = """
    SELECT DISTINCT region FROM sales
    WHERE day >= :first AND day <= :last AND region IS NOT NULL ORDER BY region
"""
REGION_SQL = """
    SELECT day, product, count(*) AS orders, sum(quantity) AS quantity, sum(amount_cents) AS amount_cents FROM sales
    WHERE region = :region AND day >= :first AND day <= :last
    GROUP BY day, product ORDER BY day, product
"""


@task(timeout=TIMEOUT, retry=PATIENCE)
def nightly(day: str | None = None) -> dict[str, Any]:
    """Starts the report of one day: parts in parallel, then merge, archive and, if there is an address, the webhook.

    Args:
        day: such as 2026-01-31; yesterday in PENSTOCK_TIMEZONE if absent.

    Returns:
        ``day``, ``regions``, and ``final_job``: the id of the job whose result says where the report lies.

    Raises:
        UnknownDatabase, ValueError, QueryRefused: nothing was started.
        SourceUnavailable: the database does not answer.
    """
    from celery import chain, chord

    settings = TaskSettings.load()
    chosen = _checked_day(day if day is not None else _yesterday())
    regions = _regions(settings, chosen)
    steps = [merge.s(day=chosen), archive.s()]
    if settings.sales_webhook:
        steps.append(announce.s())
    final = chord([region.si(name=name, day=chosen) for name in regions])(chain(*steps))
    return {"day": chosen, "regions": regions, "final_job": final.id}


@task(timeout=TIMEOUT, retry=PATIENCE)
def region(name: str, day: str) -> dict[str, Any]:
    """Writes one region's part: its sales by product as CSV, and a page with its last 30 days.

    Returns:
        ``region``, ``csv`` and ``html`` (relative to the reports' folder), ``totals``, and ``trend``: the cents of
        each of the last 30 days, ``day`` being the last.
    """
    from tasks.reporting import page, sheet, shelf

    settings = TaskSettings.load()
    stem = f"{_folder(_checked_day(day))}/region-{_region_slug(name)}"
    names = {"csv": f"{stem}.csv", "html": f"{stem}.html"}
    products, trend = _sold(settings, name, day)
    with shelf.drafting(settings.reports_folder) as draft:
        totals = sheet.write(draft.text(names["csv"]), COLUMNS, products).totals or dict.fromkeys(COLUMNS[1:], 0)
        draft.text(names["html"]).write(page.render(_region_page(name, day, products, totals, trend)))
    return {"region": name, **names, "totals": totals, "trend": trend}


@task(timeout=TIMEOUT)
def merge(parts: list[dict[str, Any]] | dict[str, Any], day: str) -> dict[str, Any]:
    """Joins the parts into one CSV and one page that leads to each region's.

    Args:
        parts: what :func:`region` returned for each region.

    Returns:
        ``day``, ``page``, ``files`` (relative to the reports' folder) and ``totals``.
    """
    from tasks.reporting import page, shelf
    from tasks.reporting.sheet import defused

    # Celery runs a chord with a single part as a chain, which hands over the part itself.
    parts = [parts] if isinstance(parts, dict) else parts
    if not parts:
        raise ValueError("there are no parts to merge")
    folder = TaskSettings.load().reports_folder
    stem = _folder(_checked_day(day))
    parts = sorted(parts, key=lambda part: (-part["totals"]["amount_cents"], part["region"]))
    with shelf.drafting(folder) as draft:
        merged = csv.writer(draft.text(f"{stem}/all.csv"))
        merged.writerow(["region", *COLUMNS])
        for part in parts:
            merged.writerows([defused(part["region"]), *row] for row in _csv_rows(shelf.find(folder, part["csv"])))
        draft.text(f"{stem}/index.html").write(page.render(_index_page(day, parts)))
    files = [f"{stem}/index.html", f"{stem}/all.csv", *(part[kind] for part in parts for kind in ("html", "csv"))]
    return {"day": day, "page": files[0], "files": files, "totals": _sum_of(part["totals"] for part in parts)}


@task(timeout=TIMEOUT)
def archive(merged: dict[str, Any]) -> dict[str, Any]:
    """Packs a merged report into a zip file with a manifest of SHA-256 sums.

    Returns:
        ``day``, ``page``, ``archive`` (relative to the reports' folder), its ``sha256``, how many ``files`` it holds,
        and ``totals``.
    """
    from tasks.reporting import shelf

    folder = TaskSettings.load().reports_folder
    day = _checked_day(merged["day"])
    name = f"{_folder(day)}/sales-{day}.zip"
    contents = {Path(file).name: shelf.find(folder, file).read_bytes() for file in merged["files"]}
    listed = [{"name": file, "bytes": len(data), "sha256": _sha256(data)} for file, data in contents.items()]
    manifest = json.dumps({"day": day, "totals": merged["totals"], "files": listed}, indent=2)
    with shelf.drafting(folder) as draft, zipfile.ZipFile(draft.binary(name), "w") as packed:
        for file, data in {**contents, "manifest.json": manifest.encode()}.items():
            entry = zipfile.ZipInfo(file, NO_TIME)
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return {
        "day": day,
        "page": merged["page"],
        "archive": name,
        "sha256": _sha256(shelf.find(folder, name).read_bytes()),
        "files": len(contents) + 1,
        "totals": merged["totals"],
    }


@task(queue="web", timeout=60, retry=webhooks.PATIENCE)
def announce(report: dict[str, Any]) -> dict[str, Any]:
    """Tells TASKS_SALES_WEBHOOK where the report lies; see :func:`tasks.webhooks.deliver`.

    Returns:
        the report, and ``webhook``: how it was delivered.
    """
    url = TaskSettings.load().sales_webhook
    if url is None:
        raise ValueError("there is nobody to tell; set TASKS_SALES_WEBHOOK")
    return {**report, "webhook": webhooks.deliver(url, EVENT, report)}


def _yesterday() -> str:
    now = datetime.now(ZoneInfo(Settings.load().timezone))
    return (now.date() - timedelta(days=1)).isoformat()


def _checked_day(day: object) -> str:
    try:
        if isinstance(day, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", day, re.ASCII):
            return date.fromisoformat(day).isoformat()
    except ValueError:
        pass
    raise ValueError(f"day={day!r}: a day such as 2026-01-31")


def _days_until(day: str) -> list[str]:
    last = date.fromisoformat(day)
    return [(last - timedelta(days=back)).isoformat() for back in range(TREND_DAYS - 1, -1, -1)]


def _regions(settings: TaskSettings, day: str) -> list[str]:
    from tasks.reporting.reading import read

    days = _days_until(day)
    with read(database_url(settings, DATABASE), REGIONS_SQL, {"first": days[0], "last": days[-1]}) as rows:
        regions = [str(row[0]) for row in rows]
    if not regions:
        raise QueryRefused(f"the table sales has no region with a sale from {days[0]} to {day}; name another day")
    if len(regions) > MAX_REGIONS:
        raise QueryRefused(f"the table sales has {len(regions):,} regions, more than {MAX_REGIONS}; correct its data")
    return regions


def _sold(settings: TaskSettings, region: str, day: str) -> tuple[list[Sold], list[int]]:
    """What a region sold on ``day``, the best product first, and its cents on each day of the trend."""
    from tasks.reporting.reading import read

    trend = dict.fromkeys(_days_until(day), 0)
    parameters = {"region": region, "first": min(trend), "last": day}
    products: list[Sold] = []
    with read(database_url(settings, DATABASE), REGION_SQL, parameters) as rows:
        for sold_on, product, orders, quantity, cents in rows:
            if str(sold_on) not in trend:
                raise QueryRefused(f"the column sales.day holds {sold_on!r}; it must hold days such as 2026-01-31")
            trend[str(sold_on)] += int(cents or 0)
            if str(sold_on) == day:
                products.append((str(product), int(orders), int(quantity or 0), int(cents or 0)))
    return sorted(products, key=lambda sold: (-sold[3], sold[0])), list(trend.values())


def _folder(day: str) -> str:
    return f"sales/{day}"


def _region_slug(name: str) -> str:
    """A file name for a region; names that differ only in what a slug leaves out stay apart."""
    plain = slug(name)
    return plain if name == plain.capitalize() else f"{plain}-{_sha256(name.encode())[:8]}"


def _csv_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def _sum_of(totals: Iterable[dict[str, int]]) -> dict[str, int]:
    together: Counter[str] = Counter()
    for one in totals:
        together.update(one)
    return dict(together)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _region_page(name: str, day: str, products: list[Sold], totals: dict[str, Any], trend: list[int]) -> Page:
    from tasks.reporting.chart import Chart, Series
    from tasks.reporting.page import Page, Table

    rows = [(product, orders, quantity, cents / 100) for product, orders, quantity, cents in products]
    by_day = Chart("The last 30 days", "Revenue a day", _days_until(day), [Series(name, _units(trend))], "lines")
    by_product = Chart(
        "By product", "Revenue", [row[0] for row in rows], [Series("Revenue", [row[3] for row in rows])], "bars"
    )
    sums = {"orders": totals["orders"], "units": totals["quantity"], "revenue": totals["amount_cents"] / 100}
    table = Table(
        "Products", ("product", "orders", "units", "revenue"), rows, sums, "" if rows else "No sales this day."
    )
    return Page(f"Sales in {name}", _spoken(day), _figures(totals, trend), [by_day, by_product], table)


def _index_page(day: str, parts: list[dict[str, Any]]) -> Page:
    from tasks.reporting.chart import Chart, Series
    from tasks.reporting.page import Link, Page, Table

    totals = _sum_of(part["totals"] for part in parts)
    trend = [sum(of_day) for of_day in zip(*(part["trend"] for part in parts), strict=True)]
    names = [part["region"] for part in parts]
    revenue = [part["totals"]["amount_cents"] / 100 for part in parts]
    series = [Series(part["region"], _units(part["trend"])) for part in parts]
    rows = [
        (Link(part["region"], Path(part["html"]).name), part["totals"]["orders"], part["totals"]["quantity"], amount)
        for part, amount in zip(parts, revenue, strict=True)
    ]
    sums = {"orders": totals["orders"], "units": totals["quantity"], "revenue": totals["amount_cents"] / 100}
    charts = [
        Chart("The last 30 days", "Revenue a day", _days_until(day), series, "lines"),
        Chart("By region", "Revenue", names, [Series("Revenue", revenue)], "bars"),
    ]
    table = Table("Regions", ("region", "orders", "units", "revenue"), rows, sums)
    return Page("Sales", _spoken(day), _figures(totals, trend), charts, table)


def _figures(totals: dict[str, Any], trend: list[int]) -> list[Figure]:
    from tasks.reporting.page import Figure, number

    today, week_ago = trend[-1], trend[-8]
    change = f"{(today - week_ago) / week_ago:+.1%} on a week before" if week_ago else ""
    each = totals["amount_cents"] / totals["orders"] / 100 if totals["orders"] else 0.0
    return [
        Figure("Revenue", number(totals["amount_cents"] / 100), change),
        Figure("Orders", number(totals["orders"]), f"{number(each)} each"),
        Figure("Units", number(totals["quantity"])),
    ]


def _units(trend: list[int]) -> list[float | None]:
    return [cents / 100 for cents in trend]


def _spoken(day: str) -> str:
    return f"{date.fromisoformat(day):%A, %-d %B %Y}"
