"""The pages of schedules, in a real browser beside a real beat: what they tell, and what can be done there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from sqlalchemy import select

from penstock.job import State
from penstock.ledger import fires, schedules
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.ledger.schedules import ScheduleRow
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import audit
from penstock.scheduler import At, Schedule
from penstock.scheduler.changes import Schedules
from penstock.scheduler.declarations import new_row
from tests.conftest import producer
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.tasks import add
from tests.live import wait_for
from tests.scheduler.live.beats import Beat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FIRED, SKIPPED, MISSED = FireState.FIRED, FireState.SKIPPED, FireState.MISSED
NEVER_YET = datetime(2040, 1, 1, tzinfo=UTC)
PUNCTUAL, LATE = "punctual", "late"
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    """Schedules that a beat has declared and left; two have been due for two hours."""
    with new_ground() as made:
        made.app = "tests.flower.live.scheduled_app"
        with made.beat():
            wait_for(lambda: row(made, "ticks"), "the schedules are declared")
        due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
        with writing(made.database_url) as connection:
            for name in (PUNCTUAL, LATE):
                schedules.change(connection, name, {"planned_at": due, "due_at": due}, due)
        with made.worker():
            yield made
            made.gate.touch()


@pytest.fixture(scope="module")
def beat(ground: Ground) -> Iterator[Beat]:
    with ground.beat() as running:
        yield running


@pytest.fixture
def page(flower: Flower, new_view: NewView) -> Page:
    return new_view(flower).new_page()


def row(ground: Ground, name: str) -> ScheduleRow | None:
    with reading(ground.database_url) as connection:
        return schedules.find(connection, name)


def fires_of(ground: Ground, name: str, state: FireState | None = None) -> list[FireRow]:
    """The newest first."""
    with reading(ground.database_url) as connection:
        return fires.list_fires(connection, name, 200, state=state)


def made_up(ground: Ground, name: str) -> list[FireRow]:
    """Fires of a backfill, the newest first."""
    return [fire for fire in fires_of(ground, name, FIRED) if fire.origin is Origin.BACKFILLED]


def await_fire(ground: Ground, name: str, state: FireState, since: datetime | None = None) -> FireRow:
    """The newest fire in a state, planned after a time, as soon as there is one."""

    def look() -> FireRow | None:
        found = fires_of(ground, name, state)
        return found[0] if found and (since is None or found[0].planned_at > since) else None

    return wait_for(look, f"a fire of {name} is {state}")


def deeds_on(ground: Ground, name: str) -> list[tuple[str, str]]:
    """Who did what to a schedule, for the audit."""
    with reading(ground.database_url) as connection:
        rows = connection.execute(select(audit.c.actor, audit.c.action, audit.c.details).order_by(audit.c.id)).all()
    return [(actor, action) for actor, action, details in rows if (details or {}).get("schedule") == name]


def has_no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


# -- what is wrong ----------------------------------------------------------------------------------------------------


def test_without_a_beat_the_late_ones_come_first_and_the_remedy_is_named(ground: Ground, page: Page) -> None:
    page.goto("/schedules")
    expect(page.locator("#beats")).to_have_text("0")
    expect(page.locator(".metric-card", has_text="Beats at work")).to_contain_text("start one")
    names = page.locator("#schedules tbody tr td:first-child > div > a:first-child").all_inner_texts()
    assert {PUNCTUAL, LATE} <= set(names[:4])
    expect(page.locator("#schedules tr", has_text="punctual").locator(".state-late")).to_be_visible()
    page.get_by_role("link", name="late", exact=True).last.click()
    page.goto(f"/schedules/{LATE}")
    expect(page.locator("#phase")).to_contain_text("2h overdue")
    expect(page.locator("#phase")).to_contain_text("No beat is at work: start one")


def test_which_schedule_missed_its_fire_and_why_is_answered_by_the_first_page(
    ground: Ground, beat: Beat, page: Page
) -> None:
    missed = await_fire(ground, PUNCTUAL, MISSED)
    assert missed.reason is not None
    assert "no scheduler was up" in missed.reason
    page.goto("/history")
    page.get_by_role("link", name="Schedules").click()
    told = page.locator("#lately tr", has_text=PUNCTUAL)
    expect(told).to_contain_text("missed")
    expect(told).to_contain_text(missed.reason)
    expect(told).to_contain_text(f"{missed.planned_at:%Y-%m-%d %H:%M}")
    expect(page.locator("#beats")).to_have_text("1")
    told.get_by_role("link", name=PUNCTUAL).click()
    expect(page).to_have_url(re.compile(r"/schedules/punctual\?state=missed"))
    expect(page.locator("#fires tbody tr").first).to_contain_text(missed.reason)
    page.goto("/schedules")
    page.locator("#missed").get_by_role("link").click()
    expect(page.locator("#fires tr", has_text=PUNCTUAL).first).to_contain_text(missed.reason)


def test_a_fire_that_started_late_says_by_how_much(ground: Ground, beat: Beat, page: Page) -> None:
    await_fire(ground, LATE, FIRED)
    first = fires_of(ground, LATE, FIRED)[-1]
    page.goto(f"/schedules/{LATE}")
    told = page.locator("#fires tbody tr", has_text=f"{first.planned_at:%H:%M:%S}")
    expect(told).to_contain_text(re.compile("2h( 1m)?"))


def test_a_fire_that_an_open_job_held_back_is_skipped_and_names_the_rule(
    ground: Ground, beat: Beat, page: Page
) -> None:
    skipped = await_fire(ground, "held", SKIPPED)
    page.goto("/schedules")
    told = page.locator("#lately tr", has_text="held")
    expect(told).to_contain_text("overlap: a job of this schedule has not ended")
    told.get_by_role("link", name="held").click()
    expect(page.locator("#phase")).to_contain_text("Not ended:")
    expect(page.locator("#fires tbody")).to_contain_text(f"{skipped.planned_at:%H:%M:%S}")
    states = page.locator("#fires nav")
    states.get_by_role("link", name=re.compile("^fired")).click()
    expect(page.locator("#fires tbody tr")).to_have_count(1)
    expect(page.locator("#fires tbody tr")).to_contain_text("planned")


# -- deeds ------------------------------------------------------------------------------------------------------------


def test_a_pause_with_its_note_stops_fires_until_it_is_resumed(ground: Ground, beat: Beat, page: Page) -> None:
    await_fire(ground, "ticks", FIRED)
    page.goto("/schedules/ticks")
    page.get_by_label("Note").fill("stocktaking")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#phase")).to_contain_text("by otto (Flower): stocktaking")
    paused = row(ground, "ticks")
    assert paused is not None
    assert paused.paused_at is not None
    assert (paused.paused_by, paused.pause_note) == ("otto (Flower)", "stocktaking")
    skipped = await_fire(ground, "ticks", SKIPPED, paused.paused_at + timedelta(seconds=1))
    assert skipped.reason == "paused: stocktaking"
    assert fires_of(ground, "ticks", FIRED)[0].planned_at <= paused.paused_at
    page.goto("/schedules?only=paused")
    expect(page.locator("#schedules tbody tr")).to_have_count(1)
    expect(page.locator("#schedules tbody tr")).to_contain_text("by otto (Flower): stocktaking")
    page.get_by_role("link", name="ticks", exact=True).last.click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#notice")).to_contain_text("is resumed")
    await_fire(ground, "ticks", FIRED, skipped.planned_at)
    assert deeds_on(ground, "ticks") == [
        ("otto (Flower)", "pause schedule"),
        ("otto (Flower)", "resume schedule"),
    ]


def test_a_second_pause_is_refused_in_words(ground: Ground, flower: Flower) -> None:
    otto = flower.visitor()
    assert "is paused" in otto.post("/schedules/by%20hand", {"deed": "pause"}).text
    refusal = otto.post("/schedules/by%20hand", {"deed": "pause"})
    assert "has been paused by otto (Flower) already" in refusal.text
    otto.post("/schedules/by%20hand", {"deed": "resume"})
    assert "is not paused" in otto.post("/schedules/by%20hand", {"deed": "resume"}).text


def test_a_trigger_gives_a_job_and_no_secret_is_shown(ground: Ground, page: Page) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/schedules/by%20hand")
    expect(page.locator("#rules")).to_contain_text('"password": "***"')
    page.get_by_role("button", name="Trigger now").click()
    expect(page.locator("#notice")).to_contain_text("is on its way")
    (fire,) = fires_of(ground, "by hand", FIRED)
    assert fire.job_id is not None
    assert fire.origin is Origin.TRIGGERED
    ground.await_end(fire.job_id, State.FAILED)
    page.reload()
    told = page.locator("#fires tbody tr").first
    expect(told).to_contain_text("triggered")
    expect(told.locator(".state-failed")).to_be_visible()
    assert "open sesame" not in page.content()
    assert deeds_on(ground, "by hand")[-1] == ("otto (Flower)", "trigger schedule")
    told.get_by_role("link").click()
    expect(page.locator("body")).to_contain_text(fire.job_id)


def test_a_backfill_shows_what_it_would_start_and_then_gives_the_missing_fires(ground: Ground, page: Page) -> None:
    known = row(ground, "hourly")
    assert known is not None
    assert known.planned_at is not None
    times = [known.planned_at - hours * timedelta(hours=1) for hours in (1, 2, 3)]

    def preview() -> None:
        page.goto("/schedules/hourly")
        page.get_by_label("Since").fill(times[-1].isoformat())
        page.get_by_label("Until").fill(times[0].isoformat())
        page.get_by_label("All at once").check()
        page.get_by_role("button", name="Show what would start").click()

    preview()
    expect(page.locator("#preview")).to_contain_text("3 planned times would be made up for")
    assert made_up(ground, "hourly") == []
    page.get_by_role("button", name="Start 3 jobs").click()
    expect(page.locator("#outcome")).to_have_text("3 jobs started")
    found = made_up(ground, "hourly")
    assert [fire.planned_at for fire in found] == times
    for fire in found:
        assert fire.job_id is not None
        ground.await_end(fire.job_id, State.SUCCEEDED)
    page.get_by_role("link", name="Go back").click()
    expect(page.locator("#fires tbody tr", has_text="backfilled")).to_have_count(3)
    assert deeds_on(ground, "hourly") == [("otto (Flower)", "backfill schedule")]
    preview()
    expect(page.locator("#preview")).to_contain_text("0 planned times would be made up for")
    expect(page.locator("#preview")).to_contain_text("3 in that range have their jobs already")
    expect(page.get_by_role("button", name=re.compile("^Start"))).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "since", "until", "refusal"),
    [
        ("hourly", "yesterday", "", "neither an age such as 30m"),
        ("hourly", "1h", "3h", "ends before it begins"),
        ("ticks", "7d", "", "more than 1,000 fires"),
    ],
)
def test_a_range_that_cannot_be_is_refused_beside_the_form(
    ground: Ground, page: Page, name: str, since: str, until: str, refusal: str
) -> None:
    page.goto(f"/schedules/{name}")
    page.get_by_label("Since").fill(since)
    page.get_by_label("Until").fill(until)
    page.get_by_role("button", name="Show what would start").click()
    expect(page.locator("#refusal")).to_contain_text(refusal)
    expect(page.locator("#preview")).to_have_count(0)


def test_a_viewer_sees_everything_and_can_do_nothing(ground: Ground, flower: Flower, new_view: NewView) -> None:
    page = new_view(flower, user="vera").new_page()
    page.goto("/schedules/ticks?since=1h")
    expect(page.locator("#rules")).to_contain_text("its jobs run beside each other")
    expect(page.locator("main button[name=deed], form[method=post]")).to_have_count(0)
    vera = flower.visitor("vera")
    for deed in ("pause", "resume", "trigger", "backfill"):
        assert vera.post("/schedules/punctual", {"deed": deed, "since": "1h"}).status == 403
    assert deeds_on(ground, PUNCTUAL) == []


# -- what it says -----------------------------------------------------------------------------------------------------


def test_rules_and_next_fires_are_told_in_the_zone_of_the_schedule(ground: Ground, page: Page) -> None:
    page.goto("/schedules")
    page.get_by_role("link", name="monthly sales/Berlin").click()
    for told in (
        "0 4 1 * *, Europe/Berlin",
        "while a job of it has not ended, one fire waits and further ones are skipped",
        "1m",
        "500",
        "2030-12-24",
        "by the application tests",
    ):
        expect(page.locator("#rules")).to_contain_text(told)
    times = page.locator("#next li").all_inner_texts()
    assert len(times) == 10
    assert all(re.search(r"-01 04:00 \+0[12]:00", time) for time in times)
    offsets = [re.findall(r"\+0[12]", time)[0] for time in times]
    shifted = [number for number in range(1, 10) if offsets[number] != offsets[number - 1]]
    assert shifted, "ten months in a row hold a shift"
    assert all("clocks go" in times[number] for number in shifted)


def test_names_and_tags_find_schedules(page: Page, ground: Ground) -> None:
    page.goto("/schedules")
    page.get_by_label("Name").fill("BERLIN")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#schedules tbody tr")).to_have_count(1)
    page.goto("/schedules")
    page.get_by_role("link", name="often").click()
    expect(page.locator("#schedules tbody tr")).to_have_count(1)
    expect(page.locator("#schedules tbody tr")).to_contain_text("ticks")


def test_what_somebody_has_called_a_schedule_or_noted_runs_nowhere(ground: Ground, page: Page) -> None:
    name = "<img src=x onerror=alert(1)>"
    with producer(ground.environment) as app:
        asked = Schedules(app, ground.database_url, "ada")
        asked.add(Schedule(name=name, task=add.name, args=(1,), when=At(NEVER_YET), tags=('"><b>',)))
        asked.pause(name, "<script>alert(1)</script>")
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto("/schedules")
    page.get_by_role("link", name=name).click()
    expect(page.locator("h1")).to_have_text(name)
    expect(page.locator("#phase")).to_contain_text("<script>alert(1)</script>")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/schedules/no%20such", 404),
        ("/schedules/ticks?state=lost", 400),
        ("/schedules/ticks?before=noon", 400),
        ("/schedules?only=some", 400),
        ("/schedules?after=x", 400),
        ("/unfired/fired", 400),
        ("/unfired/missed?after=x", 400),
        ("/schedules?name='%3B%20DROP%20TABLE%20schedules", 200),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_a_page(
    ground: Ground, flower: Flower, path: str, status: int
) -> None:
    assert flower.visitor().get(path).status == status


@pytest.mark.parametrize("path", ["/schedules", "/schedules/held", "/schedules/hourly?since=30d", "/unfired/skipped"])
def test_the_pages_fit_a_phone_and_have_no_serious_barrier(
    ground: Ground, beat: Beat, flower: Flower, new_view: NewView, path: str
) -> None:
    await_fire(ground, "held", SKIPPED)
    for theme in ("light", "dark"):
        page = new_view(flower, viewport={"width": 390, "height": 844}, color_scheme=theme).new_page()
        page.goto(path)
        assert has_no_sideways_scroll(page)
        grave = [each["id"] for each in Axe().run(page).response["violations"] if each["impact"] in GRAVE]
        assert not grave


def test_a_schedule_that_another_version_has_written_is_shown_as_far_as_it_can_be(
    ground: Ground, flower: Flower
) -> None:
    with writing(ground.database_url) as connection:
        now = schedules.clock(connection)
        made = new_row(Schedule(name="tomorrow's", task=add.name, args=(1,), when=At(NEVER_YET)), None, now)
        schedules.add(connection, [{**made, "definition": {"task": add.name, "when": {"kind": "moon"}}}])
    otto = flower.visitor()
    for path in ("/schedules?name=tomorrow", "/schedules/tomorrow%27s?since=1h"):
        answer = otto.get(path)
        assert answer.status == 200
        assert "written by another version" in answer.text
    assert "cannot be read by this version" in otto.post("/schedules/tomorrow%27s", {"deed": "trigger"}).text


def test_hundreds_of_schedules_are_paged(ground: Ground, page: Page) -> None:
    made = [Schedule(name=f"tenant {n:03}", task=add.name, args=(1,), when=At(NEVER_YET)) for n in range(205)]
    with writing(ground.database_url) as connection:
        now = schedules.clock(connection)
        schedules.add(connection, [new_row(each, None, now) for each in made])
    page.goto("/schedules?name=tenant")
    seen: list[str] = []
    for count in (100, 100, 5):
        rows = page.locator("#schedules tbody tr")
        expect(rows).to_have_count(count)
        seen += rows.locator("td:first-child a").all_inner_texts()
        if count == 100:
            page.get_by_role("link", name="More").click()
    assert seen == [each.name for each in made]
