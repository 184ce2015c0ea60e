"""The page History: what it finds, and what can be done with a selection, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from celery import Celery
from playwright.sync_api import Page, expect

from penstock.app import make_app
from penstock.config import Settings
from penstock.job import Reason, State
from penstock.operations import queues
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.tasks import add, fail, try_again_later
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground(PENSTOCK_SEARCHABLE="x,y") as made, made.worker():
        yield made


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        yield running


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    made = new_view(flower).new_page()
    made.on("dialog", lambda dialog: dialog.accept())
    return made


def succeeded(ground: Ground, *numbers: int, tag: str) -> list[str]:
    """Jobs that have succeeded, with a tag that no other test has."""
    with producer(ground.environment):
        ids = [add.options(tags=[tag]).enqueue(x=number).id for number in numbers]
    for id in ids:
        ground.await_end(id, State.SUCCEEDED)
    return ids


def failed(ground: Ground, *messages: str) -> list[str]:
    """Jobs that have failed."""
    with producer(ground.environment):
        ids = [fail.enqueue(message).id for message in messages]
    for id in ids:
        ground.await_end(id, State.FAILED)
    return ids


@contextmanager
def paused(app: Celery) -> Iterator[None]:
    """While this lasts nobody claims."""
    queues.pause(app, "default", "a test looks at what waits", actor="test")
    try:
        yield
    finally:
        queues.resume(app, "default", actor="test")


def state_of(ground: Ground, id: str) -> State | None:
    row = ground.row_of(id)
    return row.state if row else None


def deeds_to(ground: Ground, id: str) -> list[tuple[str, str]]:
    return [(row.actor, row.action) for row in ground.audit_of(id)]


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
    (entry,) = ground.audit_of(bad)
    assert (entry.actor, entry.action) == ("otto (Flower)", "retry")
    ground.await_end(entry.details["new"], State.FAILED)


def test_each_state_has_its_count_and_a_link(ground: Ground, page: Page) -> None:
    (good, *_) = succeeded(ground, 1, 2, 3, tag="counted")
    page.goto("/history?tag=counted")
    pills = page.get_by_label("Jobs by state")
    expect(pills.get_by_role("link")).to_have_text(["all", "succeeded 3"])
    pills.get_by_role("link", name="succeeded").click()
    expect(page.locator("select[name=state]")).to_have_value("succeeded")
    expect(page.get_by_label("Tag")).to_have_value("counted")
    expect(page.get_by_role("link", name=good[:8])).to_be_visible()
    expect(page.locator("#jobs tbody tr")).to_have_count(3)


def test_a_filter_is_kept_from_page_to_page(ground: Ground, page: Page) -> None:
    ids = succeeded(ground, *range(53), tag="paged")
    page.goto("/history?tag=paged&state=succeeded")
    rows = page.get_by_role("checkbox", name="Select job")
    expect(rows).to_have_count(50)
    shown = {box.get_attribute("value") for box in rows.all()}
    page.get_by_role("link", name="Older").click()
    expect(rows).to_have_count(3)
    assert shown | {box.get_attribute("value") for box in rows.all()} == set(ids)
    expect(page.get_by_label("Tag")).to_have_value("paged")
    expect(page.locator("select[name=state]")).to_have_value("succeeded")
    expect(page.get_by_role("link", name="Older")).to_have_count(0)


def test_a_tag_leads_to_the_jobs_that_have_it(ground: Ground, page: Page) -> None:
    tagged, other = *succeeded(ground, 1, tag="nightly"), *succeeded(ground, 1, tag="weekly")
    page.goto(f"/history?id={tagged}")
    page.locator("#jobs").get_by_role("link", name="nightly").click()
    page.get_by_label("Id").fill("")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name=tagged[:8])).to_be_visible()
    expect(page.get_by_role("link", name=other[:8])).to_have_count(0)


def test_jobs_are_found_by_an_argument_that_may_be_searched(ground: Ground, page: Page) -> None:
    wanted, other = succeeded(ground, 71, 72, tag="argued")
    page.goto("/history?tag=argued")
    page.get_by_label("Argument").select_option("x")
    page.get_by_label("is", exact=True).fill("71")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name=wanted[:8])).to_be_visible()
    expect(page.get_by_role("link", name=other[:8])).to_have_count(0)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("argument=password&value=x", "may not be searched by 'password'"),
        ("argument=x", "an argument and its value go together"),
        ("since=soon", "neither an age"),
        ("state=lost", "is no state"),
    ],
)
def test_a_filter_that_cannot_be_says_why(flower: Flower, query: str, text: str) -> None:
    answer = flower.visitor().get(f"/history?{query}")
    assert answer.status == 400
    assert text in answer.text.replace("&#x27;", "'").replace("&#39;", "'")


def test_nobody_is_offered_to_search_by_arguments_unless_some_may_be(ground: Ground) -> None:
    with ground.flower(PENSTOCK_SEARCHABLE="") as flower:
        assert 'name="argument"' not in flower.visitor().get("/history").text


def test_jobs_are_found_by_when_they_changed(ground: Ground, page: Page) -> None:
    (id,) = succeeded(ground, 1, tag="timed")
    page.goto("/history?tag=timed")
    page.get_by_label("Since").fill("1h")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name=id[:8])).to_be_visible()
    page.get_by_label("Since").fill("")
    page.get_by_label("Until").fill("1h")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No job fits")).to_be_visible()


def test_a_job_is_found_by_the_beginning_of_its_id(ground: Ground, page: Page) -> None:
    (id,) = succeeded(ground, 1, tag="named")
    page.goto("/history")
    page.get_by_label("Id").fill(id[:10])
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("checkbox", name="Select job")).to_have_count(1)
    expect(page.get_by_role("link", name=id[:8])).to_be_visible()


def test_jobs_that_wait_are_cancelled(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = try_again_later.enqueue().id
        wait_for(lambda: state_of(ground, id) is State.SCHEDULED, "it waits for its next attempt")
        with paused(make_app("operator", settings=Settings.load(ground.environment))):
            page.goto(f"/history?id={id}")
            page.get_by_label(f"Select job {id}").check()
            page.get_by_role("button", name="Cancel").click()
            expect(page.locator("#notice")).to_contain_text("1 job cancelled")
            assert deeds_to(ground, id) == [("otto (Flower)", "cancel")]
    ground.await_end(id, State.CANCELLED)


def test_failed_jobs_are_given_up_and_the_others_say_why_they_are_not(
    ground: Ground, flower: Flower, page: Page
) -> None:
    lonely, again = failed(ground, "to be given up", "to be retried")
    (good,) = succeeded(ground, 1, tag="given")
    flower.visitor("ada").post("/history", {"deed": "retry", "job": again})
    page.goto("/history")
    for id in (lonely, again, good):
        page.get_by_label(f"Select job {id}").check()
    page.get_by_role("button", name="Discard").click()
    notice = page.locator("#notice")
    expect(notice).to_contain_text("1 job discarded; 2 jobs could not be")
    expect(notice).to_contain_text(f"{again[:8]} was retried already")
    expect(notice).to_contain_text(f"{good[:8]} has not failed, it is succeeded")
    row = ground.row_of(lonely)
    assert row is not None
    assert (row.state, row.reason) == (State.FAILED, Reason.DISCARDED)
    assert deeds_to(ground, lonely) == [("otto (Flower)", "discard")]
    assert deeds_to(ground, good) == []


def test_many_jobs_are_retried_while_a_page_shows_how_far_it_is(ground: Ground, flower: Flower) -> None:
    ids = succeeded(ground, *range(51), tag="many")
    otto = flower.visitor()
    answer = otto.post("/history", {"deed": "retry", "job": ids})
    assert "/errand/" in answer.url
    wait_for(lambda: "51 jobs retried" in otto.get(answer.url.removeprefix(flower.url)).text, "all are retried")
    assert all(deeds_to(ground, id) == [("otto (Flower)", "retry")] for id in ids)


def test_a_viewer_sees_no_boxes_and_does_nothing(ground: Ground, flower: Flower, new_view: NewView) -> None:
    (id,) = failed(ground, "only looked at")
    page = new_view(flower, user="vera").new_page()
    page.goto(f"/history?id={id}")
    expect(page.get_by_role("link", name=id[:8])).to_be_visible()
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    for deed in ("retry", "cancel", "discard"):
        assert flower.visitor("vera").post("/history", {"deed": deed, "job": id}).status == 403
    assert ground.audit_of(id) == []
