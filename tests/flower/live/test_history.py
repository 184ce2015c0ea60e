"""The page History: what it finds, and what can be done with a selection, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.session import reading
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.tasks import add, fail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made, made.worker():
        yield made


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        yield running


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    return new_view(flower).new_page()


def test_a_failed_job_is_found_by_its_error_and_retried(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        good, bad = add.enqueue(1).id, fail.enqueue("no such customer").id
    ground.await_end(good, State.SUCCEEDED)
    ground.await_end(bad, State.FAILED)
    page.goto("/history")
    page.get_by_label("Error").fill("no such customer")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name=bad[:8])).to_be_visible()
    expect(page.get_by_role("link", name=good[:8])).to_have_count(0)
    page.get_by_label(f"Select job {bad}").check()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#notice")).to_contain_text("1 job retried")
    with reading(ground.database_url) as connection:
        (entry,) = queries.audit_of(connection, bad)
    assert (entry.actor, entry.action) == ("otto (Flower)", "retry")
    ground.await_end(entry.details["new"], State.FAILED)
