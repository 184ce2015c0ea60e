"""Every page of ours is usable by everybody: axe-core finds nothing, in both themes and at phone width."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from penstock.flower.routes import ROUTES
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.crowd import ADDRESSES, Size, fill
from tests.flower.live.ground import Flower, Ground
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LOOKS = {"light at a desk": ("light", 1280, 900), "dark on a phone": ("dark", 390, 844)}
CROWD = Size(jobs=60, errors=30, letters=60, queues=12, schedules=12, fires=60, unknown_tasks=2, workers=2, deeds=60)
WORKER = "cpu@host"


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made, made.worker("-n", WORKER):
        yield made


@pytest.fixture(scope="module")
def paths(ground: Ground, flower: Flower) -> list[str]:
    """All pages with much on them, one that a worker tells of itself, and an errand."""
    with producer(ground.environment) as app:
        fill(app, CROWD)
    otto = flower.visitor()
    errand = otto.post("/history", {"deed": "retry", "job": [f"failed{number}" for number in range(51)]}).url
    assert "/errand/" in errand
    own = {"errand": (errand.removeprefix(flower.url),), "worker-processes": (f"/processes/{WORKER}",)}
    wait_for(lambda: "Go back" in otto.get(*own["errand"]).text, "the errand is over")
    return [path for known in (ADDRESSES | own).values() for path in known]


def test_every_page_is_looked_at() -> None:
    assert set(ADDRESSES) == {name for _, _, name in ROUTES}


@pytest.mark.parametrize("look", LOOKS)
def test_no_page_has_a_barrier(flower: Flower, new_view: NewView, paths: list[str], look: str) -> None:
    theme, width, height = LOOKS[look]
    view = new_view(flower, user="ada", viewport={"width": width, "height": height}, color_scheme=theme)
    page: Page = view.new_page()
    for path in paths:
        page.goto(path)
        found = Axe().run(page).response["violations"]
        told = [(each["id"], each["impact"], [node["html"][:200] for node in each["nodes"]]) for each in found]
        assert not told, f"{path}: {told}"
        across = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert across <= 0, f"{path} scrolls sideways by {across} pixels"


def test_the_keyboard_comes_first_to_the_content_and_then_through_the_navigation(
    flower: Flower, new_view: NewView
) -> None:
    page = new_view(flower).new_page()
    page.goto("/history")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('name')") == "state"
