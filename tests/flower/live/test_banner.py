"""Flower says so when workers tell it of a part of their jobs only."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from celery import Celery
from playwright.sync_api import expect

from tests.flower.live.asking import ask, by_password
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BANNER = "their events are sampled: Flower's live pages see a part of the jobs"


@pytest.fixture
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made:
        yield made


@pytest.fixture
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        yield running


def knows(flower: Flower, id: str) -> bool:
    """Whether Flower has heard of a job."""
    return ask(flower.url, f"/api/task/info/{id}", headers=by_password("vera")).status == 200


def test_the_banner_is_on_every_page_once_events_are_sampled(ground: Ground, flower: Flower, new_view: NewView) -> None:
    page = new_view(flower, "vera").new_page()
    with Celery("worker", broker=ground.broker_url, set_as_current=False) as app, app.connection() as connection:
        dispatcher = app.events.Dispatcher(connection, hostname="busy@here")

        def tell(id: str, **fields: int) -> None:
            def told() -> bool:
                # Flower may not listen yet, and an event that nobody hears is gone.
                dispatcher.send("task-started", uuid=id, **fields)
                return knows(flower, id)

            wait_for(told, f"Flower has heard of {id}")

        tell("whole", sampled=1)
        for path in ("/workers", "/tasks", "/broker", "/history"):
            page.goto(path)
            expect(page.locator(".app-banner", has_text=re.compile(BANNER))).to_have_count(0)
        tell("sampled", sampled=10)
        for path in ("/workers", "/tasks", "/broker", "/history"):
            page.goto(path)
            expect(page.locator(".app-banner", has_text=re.compile(BANNER))).to_be_visible()
    page.locator(".app-banner a").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()
