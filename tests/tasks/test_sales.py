"""The steps of the nightly sales report, and that each can be repeated."""

import csv
import hashlib
import json
import sqlite3
import zipfile
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from demo.sales_data import TABLE, make_sales_database
from tasks import sales
from tasks.reports import QueryRefused, UnknownDatabase
from tests.conftest import NewLedger
from tests.tasks.conftest import SECRET
from tests.tasks.site import Site

DAY = "2026-06-30"
REGIONS = ["East", "North", "Overseas", "South", "West"]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sales of a year."""
    path = tmp_path_factory.mktemp("sales") / "sales.db"
    make_sales_database(path, rows=20_000)
    return path


@pytest.fixture(autouse=True)
def _named(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_DATABASES", f"sales=sqlite:///{database}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def sums(database: Path, day: str = DAY) -> dict[str, int]:
    """The day's totals by another way."""
    row = sqlite3.connect(database).execute(
        "SELECT count(*), sum(quantity), sum(amount_cents) FROM sales WHERE day = ?", [day]
    )
    return dict(zip(("orders", "quantity", "amount_cents"), row.fetchone(), strict=True))


def all_steps(day: str = DAY) -> dict[str, object]:
    return sales.archive(sales.merge([sales.region(name, day) for name in REGIONS], day))


def test_the_parts_add_up_to_the_whole(database: Path, folder: Path) -> None:
    report = all_steps()
    assert report["totals"] == sums(database)
    with (folder / f"sales/{DAY}/all.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["region"] for line in lines} == set(REGIONS)
    for column, total in sums(database).items():
        assert sum(int(line[column]) for line in lines) == total


def test_a_part_knows_its_last_thirty_days(database: Path) -> None:
    part = sales.region("North", DAY)
    connection = sqlite3.connect(database)
    month = "SELECT sum(amount_cents) FROM sales WHERE region = 'North' AND day > date(?, '-30 days') AND day <= ?"
    assert len(part["trend"]) == 30
    assert sum(part["trend"]) == connection.execute(month, [DAY, DAY]).fetchone()[0]
    assert part["trend"][-1] == part["totals"]["amount_cents"]


def test_postgresql_with_real_dates_gives_the_same_parts(
    database: Path, new_ledger: NewLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [sales.region(name, DAY) for name in REGIONS]
    rows = sqlite3.connect(database).execute("SELECT * FROM sales WHERE day > '2026-05-01'").fetchall()
    names = ("id", "day", "region", "product", "quantity", "amount_cents")
    with new_ledger("postgresql") as url:
        with create_engine(url, poolclass=NullPool).begin() as connection:
            connection.execute(text(TABLE.replace("day TEXT", "day DATE").replace("cents INTEGER", "cents BIGINT")))
            columns = ", ".join(f":{name}" for name in names)
            insert = text(f"INSERT INTO sales VALUES ({columns})")
            connection.execute(insert, [dict(zip(names, row, strict=True)) for row in rows])
        monkeypatch.setenv("TASKS_DATABASES", f"sales={url}")
        assert [sales.region(name, DAY) for name in REGIONS] == expected


def test_the_archive_holds_every_file_with_its_sum(folder: Path) -> None:
    report = all_steps()
    data = (folder / str(report["archive"])).read_bytes()
    assert hashlib.sha256(data).hexdigest() == report["sha256"]
    with zipfile.ZipFile(folder / str(report["archive"])) as packed:
        assert packed.testzip() is None
        manifest = json.loads(packed.read("manifest.json"))
        names = [entry["name"] for entry in manifest["files"]]
        assert sorted([*names, "manifest.json"]) == sorted(packed.namelist())
        for entry in manifest["files"]:
            assert hashlib.sha256(packed.read(entry["name"])).hexdigest() == entry["sha256"]
        for info in packed.infolist():
            assert (info.external_attr >> 16, info.date_time) == (0o644, (1980, 1, 1, 0, 0, 0))
    assert {"index.html", "all.csv", "region-north.html", "region-north.csv"} < set(names)


def test_the_page_leads_to_every_region(folder: Path) -> None:
    report = all_steps()
    page = (folder / f"sales/{DAY}/index.html").read_text()
    assert report["page"] == f"sales/{DAY}/index.html"
    for name in REGIONS:
        assert f'href="region-{name.lower()}.html"' in page
        assert (folder / f"sales/{DAY}/region-{name.lower()}.html").exists()


def test_repeating_every_step_changes_no_byte(folder: Path) -> None:
    first = all_steps()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert all_steps() == first
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_single_part_is_merged_as_celery_hands_it_over(folder: Path) -> None:
    """A chord of one is a chain, in which the part does not come in a list."""
    part = sales.region("North", DAY)
    assert sales.merge(part, DAY) == sales.merge([part], DAY)


def test_a_day_without_sales_still_has_a_report(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sales_database(tmp_path / "early.db", rows=500, last_day=date(2026, 6, 20))
    monkeypatch.setenv("TASKS_DATABASES", f"sales=sqlite:///{tmp_path}/early.db")
    report = all_steps("2026-06-25")
    assert report["totals"] == {"orders": 0, "quantity": 0, "amount_cents": 0}
    assert "No sales this day." in (folder / "sales/2026-06-25/region-north.html").read_text()


def test_regions_whose_names_look_alike_do_not_overwrite_each_other() -> None:
    names = ["North", "north", "NORTH", "north!", "Nörth", "../north", "日本", "", "North East", "North-East"]
    slugs = [sales._region_slug(name) for name in names]
    assert slugs[0] == "north"
    assert len(set(slugs)) == len(names)
    assert all(slug.isascii() and "/" not in slug and "." not in slug for slug in slugs)


def test_a_region_that_is_markup_or_a_formula_does_no_harm(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = '=HYPERLINK("x")<script>'
    path = tmp_path / "evil.db"
    make_sales_database(path, rows=50)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE sales SET region = ?, product = ?, day = ?", [evil, evil, DAY])
    connection.commit()
    monkeypatch.setenv("TASKS_DATABASES", f"sales=sqlite:///{path}")
    sales.archive(sales.merge([sales.region(evil, DAY)], DAY))
    assert "<script>" not in (folder / f"sales/{DAY}/index.html").read_text()
    with (folder / f"sales/{DAY}/all.csv").open(newline="") as file:
        _header, line = csv.reader(file)
    assert line[:2] == [f"'{evil}", f"'{evil}"]


@pytest.mark.parametrize(
    "day", ["2026-02-30", "20260630", "30.6.2026", "yesterday", "", 20260630, "2026-06-30/../..", "٢٠٢٦-٠٦-٣٠"]
)
def test_a_day_that_is_none_is_refused(day: str, folder: Path) -> None:
    for step in (lambda: sales.nightly(day), lambda: sales.region("North", day), lambda: sales.merge([{}], day)):
        with pytest.raises(ValueError, match="day="):
            step()
    assert not folder.exists()


def test_the_archive_takes_no_file_from_elsewhere(folder: Path) -> None:
    merged = {"day": DAY, "page": "x", "files": ["../../../etc/passwd"], "totals": {}}
    with pytest.raises(ValueError, match="the name"):
        sales.archive(merged)
    with pytest.raises(FileNotFoundError, match="need one TASKS_REPORTS_FOLDER"):
        sales.archive({**merged, "files": ["sales/missing.csv"]})


def test_without_its_database_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKS_DATABASES")
    with pytest.raises(UnknownDatabase, match="'sales'"):
        sales.nightly(DAY)


def test_a_time_without_any_sale_is_refused() -> None:
    with pytest.raises(QueryRefused, match="no region with a sale from 2019-12-03 to 2020-01-01"):
        sales.nightly("2020-01-01")


def test_a_column_that_holds_no_days_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "times.db"
    make_sales_database(path, rows=50)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE sales SET day = '2026-06-29 12:00:00', region = 'North'")
    connection.commit()
    monkeypatch.setenv("TASKS_DATABASES", f"sales=sqlite:///{path}")
    with pytest.raises(QueryRefused, match="must hold days"):
        sales.region("North", DAY)


def test_the_announcement_is_a_signed_webhook(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from standardwebhooks.webhooks import Webhook

    monkeypatch.setenv("TASKS_SALES_WEBHOOK", site.url("/sales"))
    told = sales.announce({"day": DAY, "archive": "x.zip"})
    (request,) = site.requests
    body = Webhook(SECRET).verify(request.body, dict(request.headers))
    assert (body["type"], body["data"]) == ("sales.report.ready", {"day": DAY, "archive": "x.zip"})
    assert (told["archive"], told["webhook"]["status"]) == ("x.zip", 200)


def test_yesterday_is_that_of_the_deployments_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between these two zones it is always two different days."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    days = []
    for zone in ("Etc/GMT+12", "Etc/GMT-14"):
        monkeypatch.setenv("PENSTOCK_TIMEZONE", zone)
        days.append(date.fromisoformat(sales._yesterday()))
    assert (days[1] - days[0]).days in (1, 2)
