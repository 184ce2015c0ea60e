"""The pages Failures and Failure: what has failed and why, and dealing with it, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from string import ascii_lowercase
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from sqlalchemy import delete, select

from penstock.job import Reason, State
from penstock.ledger import letters, queries
from penstock.ledger.rows import DeadLetter, Delivery, JobRow
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import Kind, Resolution, audit, failure_hours, jobs
from tests.broker.messages import raw_message
from tests.conftest import producer
from tests.faults.proxy import Proxy
from tests.faults.servers import free_port
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground, text_of
from tests.flower.live.tasks import crash, fail
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
OTTO = "otto (Flower)"


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made, made.worker():
        yield made


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    """A window in which whoever is asked says yes."""
    made = new_view(flower).new_page()
    made.on("dialog", lambda dialog: dialog.accept())
    return made


def failed(ground: Ground, message: str, count: int = 1) -> list[str]:
    """Jobs that have failed with an error that no other test has: its wording makes it one of its own."""
    with producer(ground.environment):
        ids = [fail.enqueue(message).id for _ in range(count)]
    for id in ids:
        ground.await_end(id, State.FAILED)
    return ids


def fingerprint_of(ground: Ground, id: str) -> str:
    row = ground.row_of(id)
    assert row is not None
    assert row.error_fingerprint is not None
    return row.error_fingerprint


def replays_of(ground: Ground, ids: list[str]) -> list[JobRow]:
    """The jobs that carry these on, the first first."""
    with reading(ground.database_url) as connection:
        rows = connection.execute(select(jobs).where(jobs.c.replay_of.in_(ids)).order_by(jobs.c.enqueued_at))
        return [queries.job_of(row) for row in rows]


def noted(ground: Ground, action: str) -> list[tuple[str, Any]]:
    """Who has done this, and the details, of all that was done to many jobs together."""
    with reading(ground.database_url) as connection:
        rows = connection.execute(select(audit).where(audit.c.action == action, audit.c.job_id.is_(None)))
        return [(row.actor, row.details) for row in rows]


def push(ground: Ground, *messages: bytes) -> None:
    """Puts messages on the queue as anybody may."""
    with redis.Redis.from_url(ground.broker_url) as client:
        client.lpush("default", *messages)


def letters_of(ground: Ground, kind: Kind) -> list[letters.LetterRow]:
    with reading(ground.database_url) as connection:
        return letters.list_letters(connection, letters.LetterFilter(kind=kind, is_open=True), 100)


def show_until_there(page: Page, path: str, text: str) -> None:
    """Opens a list, again and again until a keeper has brought there what is looked for."""

    def look() -> bool:
        page.goto(path)
        return page.get_by_role("link", name=text).count() > 0

    wait_for(look, f"{path} lists {text}")


def test_what_failed_in_the_last_hour_is_retried_with_four_clicks_from_the_start(ground: Ground, page: Page) -> None:
    ids = failed(ground, "nobody answers at the border", 5)
    page.goto("/")
    page.get_by_role("link", name="Failures").click()
    page.get_by_role("link", name="Last hour").click()
    page.get_by_role("link", name="nobody answers at the border").click()
    expect(page.get_by_label("Traceback")).to_contain_text("raise ValueError(message)")
    page.get_by_role("button", name="Replay all 5").click()
    expect(page.locator("#notice, #outcome")).to_contain_text("5 replayed")
    wait_for(lambda: len(replays_of(ground, ids)) == 5, "each has a replay")
    assert {row.replay_of for row in replays_of(ground, ids)} == set(ids)
    assert (OTTO, {"error": fingerprint_of(ground, ids[0]), "count": 5, "rate": "50/s"}) in noted(ground, "replay")


def test_all_jobs_of_an_error_are_given_up(ground: Ground, page: Page) -> None:
    ids = failed(ground, "the lamp is out", 3)
    fingerprint = fingerprint_of(ground, ids[0])
    page.goto(f"/failures/{fingerprint}")
    page.get_by_role("button", name="Discard all 3").click()
    expect(page.locator("#notice")).to_contain_text("3 discarded")
    rows = [ground.row_of(id) for id in ids]
    assert {(row.state, row.reason) for row in rows if row} == {(State.FAILED, Reason.DISCARDED)}
    assert (OTTO, {"error": fingerprint, "count": 3, "rate": "50/s"}) in noted(ground, "discard")
    expect(page.get_by_role("button", name="Discard all")).to_have_count(0)
    expect(page.get_by_text("was retried or discarded")).to_be_visible()


def test_a_speed_limit_is_kept(ground: Ground, page: Page) -> None:
    ids = failed(ground, "too many guests", 6)
    page.goto(f"/failures/{fingerprint_of(ground, ids[0])}")
    page.get_by_label("Speed limit").fill("2/s")
    page.get_by_role("button", name="Replay all 6").click()
    expect(page.locator("#outcome")).to_contain_text("6 replayed", timeout=20_000)
    wait_for(lambda: len(replays_of(ground, ids)) == 6, "each has a replay")
    times = [row.enqueued_at for row in replays_of(ground, ids)]
    assert times[0] is not None
    assert times[-1] is not None
    assert (times[-1] - times[0]).total_seconds() > 2.2


def test_what_is_no_speed_limit_is_told_and_does_nothing(ground: Ground, page: Page) -> None:
    ids = failed(ground, "the coach is late")
    page.goto(f"/failures/{fingerprint_of(ground, ids[0])}")
    page.get_by_label("Speed limit").fill("fast")
    page.get_by_role("button", name="Replay all 1").click()
    expect(page.locator("#notice")).to_contain_text("'fast' is no speed; write 50/s")
    assert replays_of(ground, ids) == []


def test_whoever_stops_half_way_leaves_the_rest_as_it_was(ground: Ground, page: Page) -> None:
    ids = failed(ground, "no room in the inn", 60)
    fingerprint = fingerprint_of(ground, ids[0])
    page.goto(f"/failures/{fingerprint}")
    page.get_by_label("Speed limit").fill("10/s")
    page.get_by_role("button", name="Replay all 60").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#outcome")).to_contain_text("stopped after")
    (count,) = [details["count"] for _, details in noted(ground, "replay") if details.get("error") == fingerprint]
    assert 0 < count < 60
    wait_for(lambda: len(replays_of(ground, ids)) == count, "those that were sent have run")
    page.get_by_role("link", name="Go back").click()
    # What was replayed has failed again.
    expect(page.get_by_role("button", name="Replay all 60")).to_be_visible()


def test_selected_jobs_of_an_error_are_replayed_or_given_up(ground: Ground, page: Page) -> None:
    again, gone, kept = failed(ground, "a wheel is broken", 3)
    page.goto(f"/failures/{fingerprint_of(ground, again)}")
    page.get_by_label(f"Select job {again}").check()
    group = page.get_by_role("group", name="selected jobs")
    group.get_by_role("button", name="Replay").click()
    expect(page.locator("#notice")).to_contain_text("1 job replayed")
    page.get_by_label(f"Select job {gone}").check()
    group.get_by_role("button", name="Discard").click()
    expect(page.locator("#notice")).to_contain_text("1 job discarded")
    wait_for(lambda: len(replays_of(ground, [again, gone, kept])) == 1, "one has a replay")
    reasons = {id: row.reason for id in (again, gone, kept) if (row := ground.row_of(id))}
    assert reasons == {again: Reason.ERROR, gone: Reason.DISCARDED, kept: Reason.ERROR}


def test_text_and_task_choose_errors(ground: Ground, page: Page) -> None:
    failed(ground, "the fish is gone")
    failed(ground, "the bread is burnt")
    page.goto("/failures")
    page.get_by_label("Error", exact=True).fill("THE FISH")
    page.get_by_role("button", name="Search").click()
    rows = page.locator("#errors tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("ValueError: the fish is gone")
    expect(rows).to_contain_text("new")
    page.get_by_label("Task").fill("no.such.task")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No error of this time fits")).to_be_visible()


def test_queue_and_tag_choose_what_is_dealt_with_and_not_what_is_listed(ground: Ground, page: Page) -> None:
    failed(ground, "the butter is hard")
    page.goto("/failures?queue=nowhere&tag=none")
    expect(page.get_by_text("the butter is hard")).to_be_visible()
    expect(page.get_by_text("The list counts errors of all queues and tags")).to_be_visible()
    page.get_by_role("button", name="Discard all that fit").click()
    expect(page.get_by_text("no open failure fits any more")).to_be_visible()
    with writing(ground.database_url) as connection:
        connection.execute(delete(failure_hours))
    page.goto("/failures?queue=nowhere&tag=none")
    expect(page.get_by_text("No job has failed in this time.")).to_be_visible()


def test_more_errors_than_a_page_has_are_a_click_away(ground: Ground, page: Page) -> None:
    words = [f"{first}{second}" for first in ascii_lowercase[:8] for second in ascii_lowercase[:7]]
    with producer(ground.environment):
        ids = [fail.enqueue(f"the guest is called {word}").id for word in words]
    for id in ids:
        ground.await_end(id, State.FAILED)
    page.goto("/failures?text=the guest is called")
    rows = page.locator("#errors tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="More").click()
    expect(rows).to_have_count(56)
    expect(page.get_by_role("heading", name="56 failed jobs with 56 errors")).to_be_visible()


def test_history_and_the_job_lead_to_the_error(ground: Ground, page: Page) -> None:
    (id,) = failed(ground, "the goose is loose")
    page.goto(f"/history?id={id}")
    page.get_by_role("link", name="the goose is loose").click()
    page.wait_for_url(f"**/failures/{fingerprint_of(ground, id)}")
    page.get_by_role("link", name=id[:8]).first.click()
    page.wait_for_url(f"**/job/{id}")
    page.get_by_role("link", name="The failure").click()
    page.wait_for_url(f"**/failures/{fingerprint_of(ground, id)}")


def test_a_job_that_kills_its_process_is_found_among_the_buried_and_replayed(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        id = crash.enqueue().id
    ground.await_end(id, State.FAILED)
    show_until_there(page, "/failures?view=buried", "its process died 3 times")
    page.get_by_role("link", name="its process died 3 times").click()
    expect(page.get_by_text("3 times", exact=True)).to_be_visible()
    page.get_by_role("button", name="Replay").click()
    expect(page.locator("#notice")).to_contain_text("1 replayed")
    with reading(ground.database_url) as connection:
        (row,) = letters.list_letters(connection, letters.LetterFilter(job_id=id), 2)
    assert (row.resolution, row.resolved_by) == (Resolution.REPLAYED, OTTO)
    assert row.replay_job_id is not None
    ground.await_end(row.replay_job_id, State.FAILED)
    expect(page.get_by_role("link", name=row.replay_job_id)).to_be_visible()
    page.goto("/failures?view=resolved")
    expect(page.locator("#entries")).to_contain_text(f"by {OTTO}")


def test_an_unreadable_message_is_shown_as_it_is_without_harm_or_secrets_and_given_up(
    ground: Ground, page: Page
) -> None:
    push(ground, b"<script>alert(1)</script> \x00\x1b password=hunter2 {")
    show_until_there(page, "/failures?view=quarantined", "not JSON")
    page.get_by_role("link", name="not JSON").click()
    bytes_shown = page.get_by_label("Bytes")
    expect(bytes_shown).to_contain_text("<script>alert(1)</script>")
    expect(bytes_shown).not_to_contain_text("hunter2")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#notice")).to_contain_text("1 discarded")
    assert letters_of(ground, Kind.QUARANTINED) == []


def test_selected_and_all_fitting_entries_are_given_up(ground: Ground, page: Page) -> None:
    push(ground, b"[1", b"[2", b"[3")
    wait_for(lambda: len(letters_of(ground, Kind.QUARANTINED)) == 3, "all are put aside")
    first = letters_of(ground, Kind.QUARANTINED)[0].id
    page.goto("/failures?view=quarantined")
    page.locator(f"input[name=entry][value='{first}']").check()
    page.get_by_role("group", name="selected failures").get_by_role("button", name="Discard").click()
    expect(page.locator("#notice")).to_contain_text("1 discarded")
    assert first not in {letter.id for letter in letters_of(ground, Kind.QUARANTINED)}
    page.get_by_role("button", name="Discard all 2").click()
    expect(page.locator("#notice")).to_contain_text("2 discarded")
    assert letters_of(ground, Kind.QUARANTINED) == []
    expect(page.get_by_text("No message is quarantined")).to_be_visible()


def test_more_than_a_page_is_paged_and_given_up_as_an_errand(ground: Ground, page: Page) -> None:
    push(ground, *(b"[%d" % number for number in range(51)))
    wait_for(lambda: len(letters_of(ground, Kind.QUARANTINED)) == 51, "all are put aside")
    page.goto("/failures?view=quarantined")
    rows = page.locator("#entries tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(rows).to_have_count(1)
    page.get_by_label("Speed limit").fill("")
    page.get_by_role("button", name="Discard all 51").click()
    expect(page.locator("#outcome")).to_contain_text("51 discarded")
    assert letters_of(ground, Kind.QUARANTINED) == []


def test_messages_of_an_unknown_task_are_shown_without_secrets_and_deleted(ground: Ground, page: Page) -> None:
    task = "tests.flower.removed"
    push(ground, *(raw_message(f"unknown-{n}", {"password": "hunter2"}, task=task) for n in range(7)))
    show_until_there(page, f"/failures?view=unknown&task={task}", task)
    wait_for(lambda: page.reload() and page.locator("#entries").get_by_text("7").count() == 1, "all are put aside")
    page.get_by_role("link", name=task).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("no worker that claimed them knew the task")
    expect(page.get_by_label("Arguments").first).to_contain_text('"password": "***"')
    page.get_by_role("button", name="Discard 7").click()
    expect(page.locator("#notice")).to_contain_text("7 discarded")
    rows = [ground.await_end(f"unknown-{n}", State.CANCELLED) for n in range(7)]
    assert len(rows) == 7
    assert (OTTO, {"unknown task": task, "queue": "default", "messages": 7}) in noted(ground, "discard")


def test_arguments_by_position_are_hidden_by_the_names_of_the_tasks_parameters(ground: Ground, page: Page) -> None:
    message = json.loads(raw_message("kept", "shown", "hunter2", task=fail.name))
    message["headers"]["argsrepr"] = "('shown', 'hunter2')"
    letter = DeadLetter(
        id="main@here/1a2b3c4d:7:0",
        kind=Kind.BURIED,
        queue="default",
        step=0,
        reason="its process died 3 times",
        payload=json.dumps(message).encode(),
        deliveries=3,
        at=datetime.now(UTC),
        job=Delivery(id="kept", task=fail.name, queue="default"),
    )
    with writing(ground.database_url) as connection:
        letters.bury(connection, [letter])
    page.goto(f"/failures/{letter.id}")
    expect(page.get_by_label("Arguments")).to_contain_text("shown")
    page.get_by_text("Headers and properties").click()
    expect(page.get_by_label("Headers")).to_contain_text("kept")
    expect(page.locator("main")).not_to_contain_text("hunter2")


def test_whoever_looks_on_sees_no_button_and_may_do_nothing(ground: Ground, flower: Flower) -> None:
    (id,) = failed(ground, "the moon is full")
    push(ground, b"{none of your business")
    wait_for(lambda: letters_of(ground, Kind.QUARANTINED), "it is put aside")
    (letter,) = letters_of(ground, Kind.QUARANTINED)
    vera = flower.visitor("vera")
    error = f"/failures/{fingerprint_of(ground, id)}"
    for path in (error, f"/failures/{letter.id}", "/failures?view=quarantined"):
        shown = vera.get(path)
        assert shown.status == 200
        assert 'name="deed"' not in shown.text
        assert "none of your business" not in text_of(shown.text)
        for deed in ("replay", "discard", "replay-all", "discard-all"):
            assert vera.post(path, {"deed": deed, "entry": letter.id}).status == 403
    assert replays_of(ground, [id]) == []
    assert len(letters_of(ground, Kind.QUARANTINED)) == 1


def test_without_redis_errors_are_shown_all_the_same(ground: Ground) -> None:
    (id,) = failed(ground, "the bridge is down")
    with (
        Proxy(redis.connection.parse_url(ground.broker_url)["port"]) as proxy,
        replace(ground, broker_url=proxy.url).flower(FLOWER_INSPECT_TIMEOUT="100") as flower,
    ):
        proxy.retarget(free_port())
        visitor = flower.visitor()
        assert "the bridge is down" in text_of(visitor.get("/failures").text)
        shown = visitor.get(f"/failures/{fingerprint_of(ground, id)}")
        assert "raise ValueError(message)" in text_of(shown.text)
        assert "Replay all" not in text_of(shown.text)
        assert visitor.get("/failures?view=buried").status == 503


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/failures?view=lost", 400, "there are errors, buried"),
        ("/failures?since=soon", 400, "neither an age"),
        ("/failures?since=0001-01-01", 400, "neither an age"),
        ("/failures?since=1492-10-12", 200, "in whole hours since 1492-10-12"),
        ("/failures?shown=-7&since=1h", 200, "in whole hours since"),
        ("/failures?view=buried&after=never", 404, "begin with the first page"),
        ("/failures/0123456789ab", 404, "there is no failure 0123456789ab"),
        ("/failures/unknown:default:0:no/such:task", 404, "there is no failure unknown:default:0:no/such:task"),
    ],
)
def test_what_cannot_be_is_told(flower: Flower, path: str, status: int, reason: str) -> None:
    shown = flower.visitor().get(path)
    assert shown.status == status
    assert reason in text_of(shown.text)


def test_on_a_phone_nothing_scrolls_sideways(ground: Ground, flower: Flower, new_view: NewView) -> None:
    (id,) = failed(ground, f"{'x' * 200} is too long")
    push(ground, b"y" * 300)
    page = new_view(flower, viewport={"width": 390, "height": 844}).new_page()
    wait_for(lambda: letters_of(ground, Kind.QUARANTINED), "it is put aside")
    letter = letters_of(ground, Kind.QUARANTINED)[0].id
    for path in (
        "/failures",
        "/failures?view=quarantined",
        f"/failures/{fingerprint_of(ground, id)}",
        f"/failures/{letter}",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


def test_all_failed_jobs_of_a_queue_are_replayed_at_a_pace(ground: Ground, page: Page) -> None:
    with producer(ground.environment):
        ids = [fail.options(queue="letters").enqueue("the post horn is lost").id for _ in range(3)]
    with ground.worker("-Q", "letters"):
        for id in ids:
            ground.await_end(id, State.FAILED)
        page.goto("/failures?since=1h")
        page.get_by_label("Only of queue").fill("letters")
        page.get_by_label("Speed limit").fill("20/s")
        page.get_by_role("button", name="Replay all that fit").click()
        expect(page.locator("#outcome, #notice")).to_contain_text("3 replayed")
        assert sorted(str(row.replay_of) for row in replays_of(ground, ids)) == sorted(ids)
    details = [details for who, details in noted(ground, "replay") if who == OTTO and details.get("queue") == "letters"]
    assert [(each["kind"], each["count"], each["rate"]) for each in details] == [("failed", 3, "20/s")]
