"""The page Audit: whether every job is accounted for, closing the books, and who did what, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from sqlalchemy import delete as sql_delete
from sqlalchemy import select, update

from penstock.app import make_app
from penstock.broker.keys import Keys
from penstock.config import Settings
from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import AuditRow
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import audit, jobs, outbox
from penstock.operations import queues
from penstock.operations.books.auditing import AFFORDABLE
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground, Visitor, text_of
from tests.flower.live.tasks import add, fail, try_again_later
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LONG_AGO = timedelta(minutes=10)


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
    """An operator's window."""
    return new_view(flower).new_page()


@pytest.fixture
def admins(flower: Flower, new_view: NewView) -> Page:
    """An admin's window."""
    return new_view(flower, user="ada").new_page()


@contextmanager
def paused(ground: Ground) -> Iterator[None]:
    """While this lasts nobody claims, and jobs can be enqueued."""
    with producer(ground.environment):
        app = make_app("operator", settings=Settings.load(ground.environment))
        queues.pause(app, "default", "a test takes messages away", actor="test")
        try:
            yield
        finally:
            queues.resume(app, "default", actor="test")


def delete(ground: Ground, *keys: str) -> None:
    """Takes away what Redis has under these, behind everybody's back."""
    with redis.Redis.from_url(ground.broker_url) as client:
        assert client.delete(*keys) == len(keys)


def lose(ground: Ground) -> str:
    """A job that waits for its next attempt, and whose message has gone from Redis and SQL ten minutes ago."""
    with producer(ground.environment):
        id = try_again_later.enqueue().id
    wait_for(lambda: (row := ground.row_of(id)) and row.state is State.SCHEDULED, "it waits for its next attempt")
    with paused(ground):
        with writing(ground.database_url) as connection:
            # Or a worker would publish it again from there.
            connection.execute(sql_delete(outbox).where(outbox.c.job_id == id))
        delete(ground, Keys().parked("default"))
    with writing(ground.database_url) as connection:
        connection.execute(update(jobs).where(jobs.c.id == id).values(updated_at=datetime.now(UTC) - LONG_AGO))
    return id


def noted(ground: Ground, action: str) -> list[AuditRow]:
    """All deeds of this kind."""
    with reading(ground.database_url) as connection:
        statement = select(audit).where(audit.c.action == action).order_by(audit.c.id)
        return [AuditRow(**row._mapping) for row in connection.execute(statement)]


def note(ground: Ground, actor: str, action: str, times: int = 1, details: Any = None) -> None:
    with writing(ground.database_url) as connection:
        for _ in range(times):
            queries.add_audit(connection, actor=actor, action=action, details=details)


def outcome(visitor: Visitor, errand: str) -> str:
    """What has become of an errand; empty while it goes on."""
    shown = visitor.get(errand).text
    return text_of(shown) if 'id="outcome"' in shown else ""


def message_of_others(number: int) -> bytes:
    """As a stock producer sends it."""
    headers = {"id": f"stock-{number}", "task": "tests.of.others"}
    return json.dumps({"body": "W10=", "headers": headers, "properties": {"body_encoding": "base64"}}).encode()


def cell(page: Page, label: str, table: str = "sheet") -> str:
    """An amount of the queue."""
    return page.locator(f"#{table} tbody tr").first.locator(f"td[data-label='{label}']").inner_text()


def test_after_real_jobs_the_books_are_balanced(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        good, bad = add.enqueue(1).id, fail.enqueue("a wrong entry").id
    ground.await_end(good, State.SUCCEEDED)
    ground.await_end(bad, State.FAILED)
    page.goto("/")
    page.get_by_role("link", name="Audit").click()
    expect(page.locator("#verdict")).to_contain_text("Balanced: all 2 jobs are accounted for")
    shown = [cell(page, label) for label in ("accepted", "+ succeeded", "+ failed", "accounted for", "difference")]
    assert shown == ["2", "1", "1", "2", "0"]
    expect(page.locator("#problems")).to_have_count(0)


def test_a_lost_job_is_found_by_an_operator_and_recorded_as_failed_by_an_admin(
    ground: Ground, flower: Flower, page: Page, admins: Page
) -> None:
    id = lose(ground)
    page.goto("/audit")
    expect(page.locator("#verdict")).to_contain_text("Not balanced: 1 job lost")
    expect(page.locator("#problems").get_by_role("link", name=id[:8])).to_have_attribute("href", f"/job/{id}")
    assert cell(page, "difference") == "-1"
    expect(page.get_by_role("button", name="lost as failed")).to_have_count(0)
    page.get_by_role("button", name="Look at every message").click()
    expect(page.locator("#outcome")).to_contain_text(f"not balanced: 1 job lost; lost {id[:8]}: scheduled in the")
    page.get_by_role("link", name="Go back").click()
    expect(page.locator("#verdict")).to_contain_text("Every message and every open job was looked at")
    assert flower.visitor("otto").post("/audit", {"deed": "fail-lost", "count": 1}).status == 403

    told: list[str] = []
    admins.on("dialog", lambda dialog: (told.append(dialog.message), dialog.accept()))
    admins.goto("/audit")
    admins.get_by_role("button", name="Record 1 lost as failed").click()
    expect(admins.locator("#outcome")).to_contain_text("1 lost job recorded as failed")
    assert told == ["Record 1 lost job as failed?"]
    ground.await_end(id, State.FAILED)
    (entry,) = noted(ground, "fail lost")
    assert (entry.actor, entry.details) == ("ada (Flower)", {"count": 1, "jobs": [id]})
    admins.get_by_role("link", name="Go back").click()
    expect(admins.locator("#verdict")).to_contain_text("Balanced: all")


def test_what_was_not_agreed_to_is_not_done(ground: Ground, flower: Flower) -> None:
    ada = flower.visitor("ada")
    before = [len(noted(ground, action)) for action in ("fail lost", "rebase")]
    assert "it is not said how many" in text_of(ada.post("/audit", {"deed": "fail-lost"}).text)
    for deed, text in (("fail-lost", "0 jobs could be recorded"), ("rebase", "corrected by nothing now")):
        errand = ada.post("/audit", {"deed": deed, "count": 7}).url.removeprefix(flower.url)
        told = wait_for(partial(outcome, ada, errand), deed)
        assert "nothing was done" in told
        assert text in told
    assert [len(noted(ground, action)) for action in ("fail lost", "rebase")] == before


def test_an_admin_takes_the_present_as_a_new_beginning(ground: Ground, page: Page, admins: Page) -> None:
    with paused(ground):
        add.enqueue(1)
        delete(ground, Keys().ready("default", 0), Keys().waiting("default"))
    page.goto("/audit")
    expect(page.locator("#verdict")).to_contain_text("1 job missing that nobody has recorded anything of")
    expect(page.get_by_role("button", name="Begin anew from here")).to_have_count(0)
    told: list[str] = []
    admins.on("dialog", lambda dialog: (told.append(dialog.message), dialog.accept()))
    admins.goto("/audit")
    admins.get_by_role("button", name="Begin anew from here").click()
    expect(admins.locator("#outcome")).to_contain_text("corrected by -1 in default")
    assert "corrected by -1 in default" in told[0]
    (entry,) = noted(ground, "rebase")
    assert (entry.actor, entry.details) == ("ada (Flower)", {"default": -1})
    admins.get_by_role("link", name="Go back").click()
    expect(admins.locator("#verdict")).to_contain_text("Balanced: all")
    expect(admins.get_by_text("Counted from a new beginning at")).to_be_visible()


def test_a_page_looks_at_no_more_than_it_can_and_an_errand_at_all(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        ground.await_end(add.enqueue(1).id, State.SUCCEEDED)
    stock = [message_of_others(number) for number in range(AFFORDABLE + 1)]
    with paused(ground), redis.Redis.from_url(ground.broker_url) as client:
        client.lpush("default", *stock)
        page.goto("/audit")
        expect(page.locator("#verdict")).to_contain_text("Cannot tell: 1,001 messages more than jobs of ours")
        expect(page.locator("#verdict")).to_contain_text("a look at every message says which")
        page.get_by_role("button", name="Look at every message").click()
        expect(page.locator("#outcome")).to_contain_text("balanced: all")
        page.get_by_role("link", name="Go back").click()
        expect(page.locator("#verdict")).to_contain_text("Balanced: all")
        assert (cell(page, "+ ready"), cell(page, "- of stock producers")) == ("1,001", "-1,001")
        delete(ground, Keys().ready("default", 0))


def test_deeds_of_other_pages_are_told_with_who_has_done_them(ground: Ground, flower: Flower, page: Page) -> None:
    with producer(ground.environment):
        ids = [fail.enqueue("the ink is dry").id for _ in range(2)]
    for id in ids:
        ground.await_end(id, State.FAILED)
    flower.visitor("ada").post("/history", {"deed": "discard", "job": ids[0]})
    flower.visitor("otto").post("/history", {"deed": "retry", "job": ids[1]})
    page.goto("/audit")
    page.get_by_role("link", name="Who did what").click()
    rows = page.locator("#log tbody tr")
    expect(rows.nth(0)).to_contain_text("otto (Flower)")
    expect(rows.nth(0)).to_contain_text("retry")
    expect(rows.nth(0).get_by_role("link", name=ids[1][:8])).to_have_attribute("href", f"/job/{ids[1]}")
    expect(rows.nth(1)).to_contain_text("ada (Flower)")
    expect(rows.nth(1)).to_contain_text("discard")
    page.get_by_label("Job").fill(ids[0])
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("discard")


def test_deeds_are_filtered_by_who_what_and_when(ground: Ground, page: Page) -> None:
    note(ground, "eve (Flower)", "pause", 2)
    note(ground, "eve (Flower)", "resume")
    page.goto("/audit?view=log")
    rows = page.locator("#log tbody tr")
    page.get_by_label("Actor").fill("eve (Flower)")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(3)
    page.locator("select[name=action]").select_option("pause")
    page.get_by_label("Since").fill("1h")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(2)
    page.get_by_label("Since").fill("")
    page.get_by_label("Until").fill("1h")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("Nobody has done such a thing")).to_be_visible()
    expect(page.get_by_label("Actor")).to_have_value("eve (Flower)")


def test_a_filter_is_kept_from_page_to_page(ground: Ground, page: Page) -> None:
    note(ground, "mallory (Flower)", "pause", 53)
    page.goto("/audit?view=log")
    page.locator("#log").get_by_role("link", name="mallory (Flower)").first.click()
    rows = page.locator("#log tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(rows).to_have_count(3)
    expect(page.get_by_label("Actor")).to_have_value("mallory (Flower)")
    expect(page.get_by_role("link", name="Older")).to_have_count(0)


def test_long_details_open_and_hold_no_secret(ground: Ground, page: Page) -> None:
    note(ground, "trent (Flower)", "fail lost", details={"api_token": "hidden-from-eyes", "jobs": ["a" * 36] * 60})
    page.goto("/audit?view=log&actor=trent (Flower)")
    expect(page.locator("#log summary")).to_contain_text("api_token: ***, jobs:")
    page.locator("#log summary").click()
    expect(page.get_by_label("Details in full")).to_contain_text("a" * 36)
    assert "hidden-from-eyes" not in page.content()


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("view=all", 400, "known are books, log"),
        ("look=unknown", 404, "not kept any more"),
        ("view=log&since=soon", 400, "neither an age"),
        ("view=log&after=none", 400, "cursor"),
    ],
)
def test_what_cannot_be_shown_says_why(flower: Flower, query: str, status: int, text: str) -> None:
    answer = flower.visitor().get(f"/audit?{query}")
    assert answer.status == status
    assert text in text_of(answer.text)


def test_a_viewer_reads_all_and_does_nothing(flower: Flower, new_view: NewView) -> None:
    page = new_view(flower, user="vera").new_page()
    page.goto("/audit")
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.get_by_role("button", name="Look at every message")).to_have_count(0)
    for deed in ("look", "fail-lost", "rebase"):
        assert flower.visitor("vera").post("/audit", {"deed": deed, "count": 1}).status == 403


@pytest.mark.parametrize("path", ["/audit", "/audit?view=log"])
def test_a_phone_shows_it_without_scrolling_sideways(flower: Flower, new_view: NewView, path: str) -> None:
    page = new_view(flower, viewport={"width": 390, "height": 844}).new_page()
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
