"""The pages Queues and one queue: what waits and since when it is late, and pausing, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from playwright.sync_api import Page, expect

from penstock.broker.keys import Keys
from penstock.job import State
from penstock.ledger.audit import AuditFilter, list_audit
from penstock.ledger.session import reading
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.tasks import add, charge
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made, made.worker():
        yield made


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    return new_view(flower).new_page()


def pause_of(ground: Ground, queue: str) -> dict[str, object] | None:
    with redis.Redis.from_url(ground.broker_url) as client:
        gate = client.hget(Keys().gates, queue)
    return json.loads(gate) if gate else None


def test_a_queue_is_paused_with_a_note_and_resumed_and_both_are_in_the_audit(ground: Ground, page: Page) -> None:
    page.goto("/queues")
    page.get_by_role("link", name="default").click()
    page.get_by_label("Note").fill("the bank is closed")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#notice")).to_contain_text("default is paused")
    expect(page.get_by_text("the bank is closed")).to_be_visible()
    gate = pause_of(ground, "default")
    assert gate is not None
    assert (gate["by"], gate["note"]) == ("otto (Flower)", "the bank is closed")
    with producer(ground.environment):
        job = add.enqueue(1).id
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#notice")).to_contain_text("default is open again")
    ground.await_end(job, State.SUCCEEDED)
    with reading(ground.database_url) as connection:
        entries = list_audit(connection, AuditFilter(actor="otto (Flower)"), 10).rows
    assert [entry.action for entry in entries[:2]] == ["resume", "pause"]


def test_the_next_messages_are_shown_as_calls_without_their_secrets(ground: Ground, flower: Flower, page: Page) -> None:
    flower.visitor().post("/queues/default", {"deed": "pause"})
    with producer(ground.environment):
        job = charge.enqueue(12, card_token="4111-1111").id
    page.goto("/queues/default")
    line = page.locator("#next tbody tr").filter(has_text=job[:8])
    expect(line).to_contain_text("card_token='***'")
    assert "4111" not in page.content()
    flower.visitor().post("/queues/default", {"deed": "resume"})
    ground.await_end(job, State.SUCCEEDED)


def test_a_queue_that_nobody_serves_is_late_and_says_since_when(ground: Ground, flower: Flower, page: Page) -> None:
    enqueued = datetime.now(UTC) - timedelta(minutes=7)
    with producer(ground.environment), redis.Redis.from_url(ground.broker_url) as client:
        # A message as it is on the wire, of seven minutes ago.
        flower.visitor().post("/queues/default", {"deed": "pause"})
        job = add.enqueue(1).id
        (raw,) = client.lrange("default", 0, -1)
        client.delete("default")
        old = json.loads(raw)
        old["headers"]["enqueued_at"] = enqueued.isoformat()
        client.lpush("elsewhere", json.dumps(old))
        client.sadd(Keys().queues, "elsewhere")
        flower.visitor().post("/queues/default", {"deed": "resume"})
    page.goto("/queues")
    first = page.locator("#queues tbody tr").first
    expect(first).to_contain_text("elsewhere")
    expect(first).to_contain_text("late")
    since = first.locator("time").get_attribute("datetime")
    assert since is not None
    assert abs(datetime.fromisoformat(since) - enqueued - timedelta(minutes=1)) < timedelta(seconds=5)
    expect(page.locator("#late")).to_have_text("1")
    page.set_viewport_size({"width": 1140, "height": 900})
    expect(first.get_by_role("button", name="Pause elsewhere")).to_be_in_viewport(ratio=1)
    page.get_by_role("link", name="elsewhere").click()
    expect(page.locator("#next tbody tr")).to_contain_text(job[:8])


def test_charts_show_what_keepers_have_measured(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        job = add.enqueue(1).id
    ground.await_end(job, State.SUCCEEDED)
    page.goto("/queues/default")
    wait_for(
        lambda: page.reload() and page.locator("svg.chart[aria-label^='Jobs in the queue']").count(), "a chart", 90
    )


def test_a_viewer_sees_no_buttons(flower: Flower, new_view: NewView) -> None:
    page = new_view(flower, "vera").new_page()
    for path in ("/queues", "/queues/default"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_a_queue_that_there_is_not_is_told_with_what_may_be_meant(flower: Flower) -> None:
    reply = flower.visitor().get("/queues/defualt")
    assert reply.status == 400
    assert "did you mean default?" in reply.text
