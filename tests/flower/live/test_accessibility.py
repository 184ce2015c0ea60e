"""Every page of ours is usable by everybody: axe-core finds nothing serious, in both themes and at phone width."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from penstock.flower.routes import ROUTES
from penstock.job import State
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.tasks import add, fail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
WORKER = "cpu@host"
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made, made.worker("-n", WORKER):
        yield made


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        yield running


@pytest.fixture(scope="module")
def paths(ground: Ground) -> dict[str, str]:
    """Every page's name and address, with something on it. A page that has no example here fails the tests."""
    with producer(ground.environment):
        good, bad = add.enqueue(1).id, fail.enqueue("no such customer").id
    ground.await_end(good, State.SUCCEEDED)
    fingerprint = ground.await_end(bad, State.FAILED).error_fingerprint
    examples = {
        "job": f"/job/{bad}",
        "failure": f"/failures/{fingerprint}",
        "unfired": "/unfired/missed",
        "worker-processes": f"/processes/{WORKER}",
    }
    known = {name: pattern for pattern, _, name in ROUTES}
    plain = {name: pattern for name, pattern in known.items() if "(" not in pattern}
    return plain | {name: path for name, path in examples.items() if name in known}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_has_a_serious_barrier(
    flower: Flower, new_view: NewView, paths: dict[str, str], theme: str, width: str
) -> None:
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page: Page = new_view(flower, viewport=size, color_scheme=theme).new_page()
    for name, path in paths.items():
        page.goto(path)
        found = Axe().run(page).response["violations"]
        told = [
            (each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found if each["impact"] in GRAVE
        ]
        assert not told, f"{name}: {told}"
        across = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert across <= 0, f"{name} scrolls sideways by {across} pixels"


def test_every_page_has_an_example(paths: dict[str, str]) -> None:
    assert {name for _, _, name in ROUTES} - set(paths) <= WITHOUT_EXAMPLE


WITHOUT_EXAMPLE = {"errand", "schedule"}
"""Pages that are looked at by tests of their own."""


def test_the_keyboard_comes_first_to_the_content_and_then_through_the_navigation(
    flower: Flower, new_view: NewView, paths: dict[str, str]
) -> None:
    page = new_view(flower).new_page()
    page.goto(paths["history"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('name')") == "state"
