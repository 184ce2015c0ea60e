"""The pages of workers' processes: which one is stuck, and what workers are told there, with real workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from playwright.sync_api import Locator, Page, expect

from penstock.job import State
from penstock.ledger.session import reading
from penstock.ledger.tables import audit
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.tasks import add, wait_at_gate
from tests.live import Worker, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WELL = "well@one"
"""A worker that no test does any harm to."""


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made, made.worker("-n", WELL, children=1):
        yield made


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    return new_view(flower).new_page()


@pytest.fixture(scope="module")
def worker(ground: Ground) -> Iterator[Worker]:
    """A worker that tests do harm to, and that is well again after each; it serves a queue of its own."""
    with ground.worker("-n", "other@two", "-Q", "other") as running:
        yield running


@contextmanager
def at_gate(ground: Ground, queue: str) -> Iterator[str]:
    """A job that runs until the block ends, or opens the gate."""
    ground.gate.unlink(missing_ok=True)
    with producer(ground.environment):
        id = wait_at_gate.options(queue=queue).enqueue().id
    yield id
    ground.gate.touch()
    ground.await_end(id, State.SUCCEEDED)


@pytest.fixture
def job(ground: Ground) -> Iterator[str]:
    """A job that the worker runs during the test."""
    with at_gate(ground, "other") as id:
        yield id


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """The process does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def row(page: Page, table: str, text: str) -> Locator:
    """The row of a table that holds the text."""
    return page.locator(f"#{table} tbody tr", has_text=text)


def show_when(page: Page, path: str, text: str) -> None:
    """Opens a page again and again until it says so."""

    def says_it() -> bool:
        page.goto(path)
        return text in page.locator("main, body").first.inner_text()

    wait_for(says_it, f"{path} says {text!r}")


def noted(ground: Ground, action: str) -> list[tuple[str, Any]]:
    """Who has done that, and the details, from the audit."""
    with reading(ground.database_url) as connection:
        found = connection.execute(audit.select().where(audit.c.action == action).order_by(audit.c.id))
        return [(entry.actor, entry.details) for entry in found]


def test_a_stuck_worker_is_found_with_two_clicks(worker: Worker, job: str, page: Page) -> None:
    show_when(page, "/processes/other@two", job[:8])
    child = int(row(page, "children", job[:8]).locator("code").first.inner_text())
    assert child in worker.children
    page.goto("/history")
    with standing_still(child):
        page.get_by_role("link", name="Processes").click()
        first = page.locator("#workers tbody tr").first
        expect(first).to_contain_text("other@two")
        expect(first).to_contain_text("stuck")
        expect(first).to_contain_text(f"its child {child} is stopped")
        expect(row(page, "workers", WELL)).to_contain_text("well")
        expect(page.locator("#stuck")).to_have_text("1")
        page.get_by_role("link", name="other@two").click()
        expect(page.locator("#why")).to_contain_text("wait_at_gate")
        expect(row(page, "children", job[:8])).to_contain_text("stopped")
    page.reload()
    expect(page.locator("h1")).to_contain_text("well")


def test_the_numbers_stand_in_one_line(page: Page) -> None:
    page.goto("/processes")
    cards = page.locator(".metric-card")
    expect(cards).to_have_count(5)
    assert len({card.evaluate("card => card.offsetTop") for card in cards.all()}) == 1


def test_what_each_process_is_and_takes_is_shown(worker: Worker, job: str, page: Page) -> None:
    show_when(page, "/processes/other@two", job[:8])
    expect(row(page, "children", job[:8])).to_contain_text("running")
    expect(row(page, "children", "idle")).to_have_count(len(worker.children) - 1)
    known = {"parent": worker.pid, "zygote": worker.zygote, "keeper": worker.keeper}
    for role, pid in known.items():
        expect(row(page, "processes", role)).to_contain_text(str(pid))
        expect(row(page, "processes", role)).to_contain_text("MiB")
    expect(page.locator("#children svg.meter")).to_have_count(1)
    page.get_by_role("link", name=job[:8]).click()
    expect(page).to_have_url(f"{page.url.split('/job')[0]}/job/{job}")


def test_a_worker_whose_parent_stands_still_is_stuck_and_obeys_when_it_goes_on(
    ground: Ground, worker: Worker, page: Page
) -> None:
    before = len(worker.children)
    page.goto("/processes/other@two")
    with standing_still(worker.pid):
        page.get_by_role("button", name="Grow").click()
        expect(page.locator("#notice")).to_contain_text("did not answer")
        expect(page.locator("h1")).to_contain_text("stuck")
        expect(page.locator("#why")).to_contain_text("its parent is stopped")
        assert noted(ground, "grow")[-1] == ("otto (Flower)", {"worker": "other@two", "n": 1, "answer": None})
    wait_for(lambda: len(worker.children) == before + 1, "it has grown")


def test_a_worker_grows_and_shrinks(ground: Ground, worker: Worker, page: Page) -> None:
    before = len(worker.children)
    page.goto("/processes/other@two")
    page.get_by_role("spinbutton", name="Children").fill("2")
    page.get_by_role("button", name="Grow").click()
    expect(page.locator("#notice")).to_contain_text("other@two: pool will grow")
    wait_for(lambda: len(worker.children) == before + 2, "it has grown by two")
    page.get_by_role("button", name="Shrink").click()
    expect(page.locator("#notice")).to_contain_text("pool will shrink")
    wait_for(lambda: len(worker.children) == before + 1, "it has shrunk by one")
    show_when(page, "/processes/other@two", f"{before + 1} wanted")
    assert noted(ground, "shrink")[-1][1]["worker"] == "other@two"


def test_a_worker_says_what_it_does_not_do(worker: Worker, page: Page) -> None:
    before = len(worker.children)
    page.goto("/processes/other@two")
    page.get_by_role("spinbutton", name="Children").fill("90")
    page.get_by_role("button", name="Grow").click()
    expect(page.locator("#notice")).to_contain_text("does not grow: this worker has room for")
    assert len(worker.children) == before


def test_a_worker_that_stops_claiming_leaves_jobs_alone_until_it_claims_again(
    ground: Ground, worker: Worker, page: Page
) -> None:
    page.goto("/processes/other@two")
    page.get_by_role("button", name="Stop claiming").click()
    expect(page.locator("#notice")).to_contain_text("claims no more from other")
    show_when(page, "/processes/other@two", "told to stop claiming from other")
    with producer(ground.environment):
        id = add.options(queue="other").enqueue(1).id
    expect(page.locator("h1")).to_contain_text("paused")
    with redis.Redis.from_url(ground.broker_url) as client:
        assert client.llen("other") == 1
    page.get_by_role("button", name="Claim again").click()
    expect(page.locator("#notice")).to_contain_text("claims again from other")
    ground.await_end(id, State.SUCCEEDED)
    show_when(page, "/processes/other@two", "well")
    assert [noted(ground, action)[-1][0] for action in ("stop claiming", "claim again")] == ["otto (Flower)"] * 2


def test_an_admin_ends_a_worker_after_its_jobs(ground: Ground, flower: Flower, new_view: NewView) -> None:
    page = new_view(flower, "ada").new_page()
    questions: list[str] = []
    page.on("dialog", lambda dialog: (questions.append(dialog.message), dialog.accept()))
    with ground.worker("-n", "last@two", "-Q", "last") as worker, at_gate(ground, "last") as job:
        show_when(page, "/processes", "last@two")
        show_when(page, "/processes/last@two", job[:8])
        page.get_by_role("button", name="Drain and shut down").click()
        expect(page.locator("#notice")).to_contain_text("claims no more, and ends when its jobs have")
        expect(page.locator("h1")).to_contain_text("draining")
        assert "Shut down last@two?" in questions[0]
        assert worker.process is not None
        assert worker.process.poll() is None
        ground.gate.touch()
        assert worker.process.wait(20) == 0
    page.goto("/processes")
    expect(row(page, "workers", "last@two")).to_have_count(0)
    assert noted(ground, "shut down")[-1] == ("ada (Flower)", {"worker": "last@two"})


def test_a_pool_of_celerys_shows_what_it_knows(ground: Ground, page: Page) -> None:
    with ground.worker("-n", "threads@three", "-Q", "threads", "-P", "threads"), at_gate(ground, "threads") as job:
        # Its keeper takes the lease a moment after it is ready.
        show_when(page, "/processes", "threads@three")
        show_when(page, "/processes/threads@three", job[:8])
        expect(row(page, "children", job[:8])).to_contain_text("running")
        expect(row(page, "processes", "keeper")).to_contain_text("MiB")


def test_only_who_may_is_offered_what_may_be_done(flower: Flower, new_view: NewView) -> None:
    offered = {}
    for user in ("vera", "otto", "ada"):
        page = new_view(flower, user).new_page()
        page.goto(f"/processes/{WELL}")
        offered[user] = page.locator("button[name=deed]").all_inner_texts()
    assert offered == {
        "vera": [],
        "otto": ["Stop claiming", "Grow", "Shrink"],
        "ada": ["Stop claiming", "Grow", "Shrink", "Drain and shut down"],
    }


def test_a_worker_that_nobody_knows_is_not_found(flower: Flower) -> None:
    reply = flower.visitor().get("/processes/nobody@nowhere")
    assert reply.status == 404
    assert "with a lease are" in reply.text
    assert WELL in reply.text


@pytest.mark.parametrize("path", ["/processes", f"/processes/{WELL}"])
def test_a_phone_shows_it_without_scrolling_sideways(flower: Flower, new_view: NewView, path: str) -> None:
    page = new_view(flower, viewport={"width": 390, "height": 844}).new_page()
    page.goto(path)
    expect(page.get_by_text(WELL).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
