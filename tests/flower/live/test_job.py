"""The page of a job: what it tells of a life, why a job waits, and what can be done with it, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from celery import chain
from playwright.sync_api import Page, expect

from penstock.job import State
from penstock.ledger import queries
from penstock.ledger.rows import AuditRow
from penstock.ledger.session import reading, writing
from penstock.operations.queues import pause, resume
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground, text_of
from tests.flower.live.tasks import add, crash, fail, spawn, succeed_at, wait_at_gate
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SECRET = "hidden-from-eyes"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made, made.worker("-Q", "default", children=1):
        yield made
        made.gate.touch()


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    return new_view(flower).new_page()


@pytest.fixture(scope="module")
def failed(ground: Ground) -> str:
    """A job that has failed, with secrets in all that it has."""
    with producer(ground.environment):
        id = fail.options(tags=["vip"]).enqueue(f"no customer, token={SECRET}", password=SECRET).id
    ground.await_end(id, State.FAILED)
    return id


def audit_of(ground: Ground, id: str) -> list[AuditRow]:
    with reading(ground.database_url) as connection:
        return queries.audit_of(connection, id)


def new_of(ground: Ground, id: str) -> str:
    """The job of the last retry."""
    return str(audit_of(ground, id)[-1].details["new"])


def test_a_failed_job_shows_its_facts_its_error_and_its_arguments_without_secrets(page: Page, failed: str) -> None:
    page.goto(f"/job/{failed}")
    expect(page.locator("h1")).to_have_text("tests.flower.live.tasks.fail")
    expect(page.locator("#facts")).to_contain_text("failed")
    expect(page.get_by_role("link", name="vip")).to_have_attribute("href", "/history?tag=vip")
    expect(page.locator("#error")).to_contain_text("ValueError: no customer, token=***")
    expect(page.locator("#error pre")).to_contain_text("raise ValueError(message)")
    rows = page.locator("#call .detail-row")
    expect(rows.nth(0)).to_contain_text(re.compile(r'message\s*"no customer, token=\*\*\*"'))
    expect(rows.nth(1)).to_contain_text(re.compile(r'password\s*"\*\*\*"'))
    assert SECRET not in page.content()


def test_the_links_of_a_failed_job_lead_to_others_of_its_kind(page: Page, failed: str) -> None:
    for name in ("tests.flower.live.tasks.fail", "default", "Jobs with the same error"):
        page.goto(f"/job/{failed}")
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator("#jobs")).to_contain_text(failed[:8])


def test_the_beginning_of_an_id_leads_to_the_job(page: Page, failed: str) -> None:
    page.goto(f"/job/{failed[:13]}")
    assert page.url.endswith(f"/job/{failed}")


def test_history_leads_here(page: Page, failed: str) -> None:
    page.goto("/history?task=tests.flower.live.tasks.fail")
    page.get_by_role("link", name=failed[:8]).click()
    assert page.url.endswith(f"/job/{failed}")


def test_flowers_own_page_of_a_task_leads_here(ground: Ground, flower: Flower, page: Page) -> None:
    ids: list[str] = []

    def seen() -> str | None:
        """A job of which Flower has seen events; it hears of none that ended before it began to listen."""
        with producer(ground.environment):
            ids.append(add.enqueue(1).id)
        ground.await_end(ids[-1], State.SUCCEEDED)
        return next((id for id in ids if flower.visitor().get(f"/task/{id}").status == 200), None)

    id = wait_for(seen, "Flower has seen events")
    page.goto(f"/task/{id}")
    page.get_by_role("link", name="In the ledger").click()
    assert page.url.endswith(f"/job/{id}")
    expect(page.locator("#result")).to_contain_text("2")


def test_the_timeline_tells_each_attempt_as_a_bar_and_as_a_line(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = succeed_at.enqueue(3).id
    ground.await_end(id, State.SUCCEEDED)
    page.goto(f"/job/{id}")
    expect(page.locator("#timeline svg rect.d")).to_have_count(2)
    expect(page.locator("#timeline svg rect.b")).to_have_count(1)
    label = page.locator("#timeline svg").get_attribute("aria-label") or ""
    assert re.search(r"attempt 1 retried, .*; waited, .*; attempt 2 retried, .*attempt 3 succeeded", label), label
    lines = page.locator("#events li").all_inner_texts()
    assert [line.split("\n")[-1].split(" on ")[0].split(",")[0] for line in lines if "starts" in line] == [
        f"attempt {number} starts" for number in (1, 2, 3)
    ]
    assert "token=***" in lines[2]
    assert SECRET not in page.content()


def test_a_job_that_was_lost_each_time_says_so(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = crash.enqueue().id
    ground.await_end(id, State.FAILED)
    page.goto(f"/job/{id}")
    expect(page.locator("#events")).to_contain_text("crashed: its process died")
    assert page.locator("#timeline svg rect.c").count() >= 2
    page.get_by_role("link", name="Its message, buried").click()
    expect(page.locator("main")).to_contain_text("its process died")


def test_a_family_is_a_graph_of_links_and_a_list(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        last = chain(add.s(1), spawn.s()).apply_async()
    children = ground.await_end(last.id, State.SUCCEEDED).result
    ground.await_end(children[-1], State.SUCCEEDED)
    page.goto(f"/job/{last.id}")
    graph = page.locator("#family svg")
    expect(graph.get_by_role("link")).to_have_count(2 + len(children))
    expect(graph.locator("[aria-current=page]")).to_have_count(1)
    page.get_by_text("As a list").click()
    expect(page.locator("#relatives li")).to_have_count(2 + len(children))
    expect(page.locator("#relatives > li > a")).to_contain_text("add")
    expect(page.locator("#relatives > li > ul > li > a[aria-current=page]")).to_contain_text("spawn")
    expect(page.locator("#relatives > li > ul > li > ul > li")).to_have_count(len(children))
    graph.get_by_role("link", name=children[0]).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/job/{children[0]}")
    expect(page.locator("#family svg [aria-current=page]")).to_have_attribute("href", f"/job/{children[0]}")


def test_a_retry_leads_to_the_new_job_and_both_name_each_other(ground: Ground, page: Page, failed: str) -> None:
    page.goto(f"/job/{failed}")
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("#notice")).to_contain_text(f"{failed[:8]} is retried")
    new = new_of(ground, failed)
    assert f"/job/{new}" in page.url
    assert ground.await_end(new, State.FAILED).replay_of == failed
    page.goto(f"/job/{new}")
    page.get_by_text("As a list").click()
    expect(page.locator("#relatives")).to_contain_text("replayed by this job")
    page.goto(f"/job/{failed}")
    expect(page.locator("#audit")).to_contain_text("otto (Flower)")
    page.locator("#audit").get_by_role("link", name=new[:8]).click()
    page.wait_for_url(f"**/job/{new}")


def test_a_failed_job_is_discarded_once(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = fail.enqueue("given up").id
    ground.await_end(id, State.FAILED)
    page.goto(f"/job/{id}")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#facts")).to_contain_text("discarded")
    expect(page.get_by_role("button", name="Discard")).to_have_count(0)
    assert [entry.action for entry in audit_of(ground, id)] == ["discard"]


def test_edited_arguments_keep_the_secrets_that_nobody_touched(ground: Ground, page: Page, failed: str) -> None:
    page.goto(f"/job/{failed}")
    page.get_by_role("link", name="Retry with edited arguments").click()
    expect(page.locator("#edit")).to_contain_text("the new job has the value of this one")
    expect(page.get_by_label("Named, a JSON object")).to_have_value('{\n  "password": "***"\n}')
    page.get_by_label("Positional, a JSON array").fill('["another customer"]')
    page.get_by_role("button", name="Retry with these").click()
    expect(page.locator("#notice")).to_contain_text("is retried with other args")
    row = ground.await_end(new_of(ground, failed), State.FAILED)
    assert (row.args, row.kwargs) == (["another customer"], {"password": SECRET})
    assert audit_of(ground, failed)[-1].details["edited"] == ["args"]


@pytest.mark.parametrize(
    ("args", "told"),
    [("[1,", "are not JSON"), ("[]", "do not fit its task"), ('["***"]', "holds ***")],
    ids=["no JSON", "too few", "stars"],
)
def test_arguments_that_cannot_be_are_refused_and_stay_in_the_form(
    ground: Ground, page: Page, failed: str, args: str, told: str
) -> None:
    before = len(audit_of(ground, failed))
    page.goto(f"/job/{failed}#edit-args")
    page.get_by_label("Positional, a JSON array").fill(args)
    page.get_by_role("button", name="Retry with these").click()
    expect(page.locator("#notice")).to_contain_text(told)
    expect(page.get_by_label("Positional, a JSON array")).to_have_value(args)
    assert len(audit_of(ground, failed)) == before


def test_a_running_job_is_cancelled_and_stopped_after_a_question(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = wait_at_gate.enqueue().id
    wait_for(lambda: (row := ground.row_of(id)) and row.state is State.RUNNING, "it runs")
    page.goto(f"/job/{id}")
    expect(page.locator("#timeline svg rect.a")).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Stop at once").click()
    assert audit_of(ground, id) == []
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop at once").click()
    expect(page.locator("#notice")).to_contain_text("it is being stopped")
    ground.await_end(id, State.CANCELLED)
    (entry,) = audit_of(ground, id)
    assert (entry.actor, entry.details["grace"]) == ("otto (Flower)", 0)


def test_a_job_without_a_row_says_where_it_waits_and_why_and_can_be_cancelled(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = add.options(delay=7000).enqueue(1).id
    page.goto(f"/job/{id}")
    expect(page.locator("#facts")).to_contain_text("scheduled")
    expect(page.locator("#why")).to_contain_text("It is due in 1h.")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#notice")).to_contain_text("cancelled: ")
    expect(page.locator("#audit")).to_contain_text("cancel")


def test_a_job_of_a_paused_queue_says_who_paused_it_and_why(ground: Ground, page: Page) -> None:
    with producer(ground.environment) as app:
        pause(app, "default", "the bank is down", actor="ada")
        id = add.enqueue(1).id
        page.goto(f"/job/{id}")
        expect(page.locator("#why")).to_contain_text("by ada (the bank is down)")
        resume(app, "default", actor="ada")
    ground.await_end(id, State.SUCCEEDED)
    page.reload()
    expect(page.locator("#why")).to_have_count(0)


def test_a_job_that_no_worker_serves_says_so(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = add.options(queue="elsewhere").enqueue(1).id
    page.goto(f"/job/{id}")
    expect(page.locator("#why")).to_contain_text("None of the workers serves its queue elsewhere")


def test_a_viewer_sees_all_of_it_and_can_do_nothing(ground: Ground, flower: Flower, failed: str) -> None:
    before = len(audit_of(ground, failed))
    seen = flower.visitor("vera").get(f"/job/{failed}")
    assert (seen.status, "no customer" in seen.text) == (200, True)
    assert 'name="deed"' not in seen.text
    for deed in ("retry", "retry-edited", "discard", "cancel", "terminate"):
        fields = {"deed": deed, "args": "[]", "kwargs": "{}"}
        assert flower.visitor("vera").post(f"/job/{failed}", fields).status == 403
    assert len(audit_of(ground, failed)) == before


def test_an_id_that_nobody_knows_is_not_found_and_says_where_to_look(flower: Flower) -> None:
    reply = flower.visitor().get(f"/job/{NOBODY}")
    assert reply.status == 404
    assert f"the ledger has no job {NOBODY}" in text_of(reply.text)
    assert "Flower has seen no event of it" in text_of(reply.text)


@pytest.mark.parametrize(
    "id", ["<script>alert(1)</script>\"'", "'; DROP TABLE jobs; --", "\0", "%", "\r\nSet-Cookie: a=b"]
)
def test_whatever_an_id_holds_it_is_not_found_and_does_nothing(flower: Flower, id: str) -> None:
    reply = flower.visitor().get(f"/job/{quote(id, safe='')}")
    assert reply.status == 404
    assert "<script>alert" not in reply.text
    assert "a=b" not in str(reply.headers)


def test_a_retry_that_was_claimed_and_has_no_row_yet_is_waited_for(ground: Ground, flower: Flower, failed: str) -> None:
    new = "00000000-0000-4000-8000-000000000001"
    with writing(ground.database_url) as connection:
        queries.add_audit(connection, actor="otto", action="retry", job_id=failed, details={"new": new})
    reply = flower.visitor().get(f"/job/{new}?of={failed}")
    assert (reply.status, "A worker has just claimed this job" in text_of(reply.text)) == (200, True)
    assert flower.visitor().get(f"/job/{new}").status == 404


def test_only_a_retry_that_the_audit_knows_is_waited_for(flower: Flower, failed: str) -> None:
    assert flower.visitor().get(f"/job/{NOBODY}?of={failed}").status == 404


def test_at_phone_width_only_the_pictures_scroll(flower: Flower, new_view: NewView, failed: str) -> None:
    page = new_view(flower, viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"/job/{failed}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
