"""The page of a job that says something of itself: its bar, the picture of its progress, and its log."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from penstock.ledger.reports import write_chunks, write_reports
from penstock.ledger.session import writing
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.ledger.making import delivery, end, running, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BEGAN = int(time.time() * 1000) - 60_000
HOSTILE = "<script>alert(1)</script> token=hidden-from-eyes \x1b[2J"


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made:
        yield made


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    return new_view(flower).new_page()


def report(ground: Ground, id: str, done: float, logged: int = 0) -> None:
    """A job of 200 parts says that so many are done."""
    seconds = BEGAN / 1000
    points = [(seconds + second, second * 2, 200) for second in range(20)]
    with writing(ground.database_url) as connection:
        row = {"job_id": id, "began": BEGAN, "token": f"{id}:1", "done": done, "total": 200.0, "note": HOSTILE}
        at = {"at": running().at, "points": points, "lines": logged}
        write_reports(connection, [row | at])


def log(ground: Ground, id: str, chunks: dict[int, range]) -> None:
    """Its lines, by places."""
    with writing(ground.database_url) as connection:
        write_chunks(
            connection,
            [
                {
                    "job_id": id,
                    "began": BEGAN,
                    "place": place,
                    "last": numbers[-1],
                    "lines": [(each, BEGAN / 1000, 40, "shop", f"line {each} {HOSTILE}") for each in numbers],
                }
                for place, numbers in chunks.items()
            ],
        )


def test_a_job_that_runs_shows_how_far_it_is_and_goes_on_to(ground: Ground, page: Page) -> None:
    write(ground.database_url, running(delivery("runs", token="runs:1")))
    report(ground, "runs", 90)
    page.goto("/job/runs")
    expect(page.locator("#progress")).to_contain_text("45% · 90/200")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "0.45")
    expect(page.locator("#progress svg")).to_have_attribute("aria-label", "Progress of the last attempt: done from 0 "
        "to 38, now 38; of from 200 to 200, now 200")  # fmt: skip
    report(ground, "runs", 100)
    expect(page.locator("#progress")).to_contain_text("50% · 100/200")


def test_its_log_is_harmless_and_without_secrets(ground: Ground, page: Page) -> None:
    write(ground.database_url, end(delivery("logs", token="logs:1")))
    report(ground, "logs", 200, logged=2)
    log(ground, "logs", {0: range(1, 3)})
    page.goto("/job/logs")
    lines = page.locator("#log li")
    expect(lines).to_have_count(2)
    expect(lines.nth(0)).to_contain_text("ERROR shop line 1 <script>alert(1)</script> token=*** \ufffd[2J")
    assert "hidden-from-eyes" not in page.content()


def test_a_long_log_is_read_page_by_page_and_says_what_is_left_out(ground: Ground, page: Page) -> None:
    write(ground.database_url, end(delivery("long", token="long:1")))
    report(ground, "long", 200, logged=10_000)
    log(
        ground,
        "long",
        {place: range(50 * place + 1, 50 * place + 51) for place in range(10)} | {29: range(9_951, 10_001)},
    )
    page.goto("/job/long")
    expect(page.locator("#log li").last).to_contain_text("line 10000")
    page.get_by_role("link", name="From the beginning").click()
    expect(page.locator("#log li").first).to_contain_text("line 1 ")
    expect(page.locator("#log li")).to_have_count(100)
    for _ in range(5):
        page.get_by_role("link", name="Next lines").click()
    expect(page.locator(".penstock-left-out")).to_have_text("… 9,450 lines left out …")
    expect(page.locator("#log li").last).to_contain_text("line 10000")


def test_a_cursor_that_somebody_has_made_up_shows_the_end(ground: Ground, page: Page) -> None:
    page.goto("/job/long?log=../../etc")
    expect(page.locator("#log li").last).to_contain_text("line 10000")
