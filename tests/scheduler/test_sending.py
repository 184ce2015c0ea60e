"""The message of a fire's job, as the application would have sent it."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import shared_task, signals

from penstock import Retry, task
from penstock.client import HARD_LIMIT_GRACE
from penstock.errors import ArgumentError
from penstock.ledger.records import FollowUp
from penstock.ledger.session import writing
from penstock.outbox import current_outbox
from penstock.scheduler import Every, Schedule, patience, schedule
from penstock.scheduler.sending import message_of, message_of_missed
from penstock.scheduler.timetables.zones import zone_of
from tests import jobs
from tests.scheduler.ground import HEAR, NAME, SUM, Ground, Message, sums

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LEGACY, TWICE = "tests.scheduler.legacy", "tests.scheduler.twice"


@task(queue="web", priority=4, expires=3600, timeout=7, retry=Retry(attempts=3))
def declared(day: str | None = None) -> None: ...


@task(tags=["own"])
def tagged() -> None: ...


@shared_task(name=LEGACY)
def legacy(*args: Any, **kwargs: Any) -> None: ...


@shared_task(name=TWICE)
def twice() -> None: ...


def made(ground: Ground, schedule: Schedule, previous: datetime | None = None) -> tuple[FollowUp, Message]:
    """The message of noon, and how a worker reads it."""
    message = message_of(ground.app, schedule, NOON, previous)
    return message, Message(message)


def untold(ground: Ground) -> bool:
    """Whether nothing has been sent."""
    return ground.messages == []


# -- declared tasks ---------------------------------------------------------------------------------------------------


def test_a_declared_task_is_sent_as_it_sends_itself(ground: Ground) -> None:
    follow_up, message = made(ground, sums(task=declared.name, kwargs={}))
    assert (follow_up.task, follow_up.queue, follow_up.step, follow_up.due) == (declared.name, "web", 3, None)
    assert message.headers["timelimit"] == [7 + HARD_LIMIT_GRACE, 7]
    assert (message.args, message.kwargs) == ([], {})
    assert untold(ground)


def test_its_id_is_a_new_one_and_its_key_in_the_outbox(ground: Ground) -> None:
    first, message = made(ground, sums())
    second, _ = made(ground, sums())
    assert first.job_id == first.key == message.headers["id"] == message.headers["outbox"]
    assert first.job_id != second.job_id


def test_a_job_says_which_schedule_has_started_it(ground: Ground) -> None:
    for each in (sums(), sums(task=LEGACY), sums(task="nobody.knows")):
        assert made(ground, each)[1].headers["schedule"] == NAME


@pytest.mark.parametrize("task", [jobs.add.name, LEGACY, "nobody.knows"])
def test_a_job_has_the_tags_of_its_schedule(ground: Ground, task: str) -> None:
    assert made(ground, sums(task=task, tags=("nightly",)))[1].headers["tags"] == ["nightly"]
    assert "tags" not in made(ground, sums(task=task))[1].headers


def test_a_job_has_the_tags_of_its_schedule_beside_those_of_its_task_or_its_call(ground: Ground) -> None:
    assert made(ground, sums(task=tagged.name, kwargs={}, tags=("a", "b")))[1].headers["tags"] == ["a", "b", "own"]
    call = schedule("s", tagged.options(tags=["b", "c"]).bind(), Every(60), tags=["a", "b"])
    assert made(ground, call)[1].headers["tags"] == ["a", "b", "c"]
    assert made(ground, Schedule.of("s", call.words()))[1].headers["tags"] == ["a", "b", "c"]
    celerys = {"headers": {"tags": ["d"]}}
    assert made(ground, sums(task=LEGACY, tags=("a",), options=celerys))[1].headers["tags"] == ["a", "d"]


def test_a_schedule_and_its_call_with_many_tags_make_a_job_with_the_first_ones(ground: Ground) -> None:
    own, call = [f"s{number}" for number in range(9)], [f"c{number}" for number in range(9)]
    message = made(ground, schedule("s", tagged.options(tags=call).bind(), Every(60), tags=own))[1]
    assert message.headers["tags"] == [*own, "c0"]


def test_a_job_of_a_schedule_may_wait_for_a_worker_for_as_long_as_its_call_says(ground: Ground) -> None:
    call = schedule("s", tagged.options(schedule_timeout=60).bind(), Every(60))
    for each in (call, Schedule.of("s", call.words())):
        headers = made(ground, each)[1].headers
        assert headers["schedule_timeout"] == 60
        assert datetime.fromisoformat(headers["expires"]) > datetime.now(UTC)


def test_the_options_of_a_schedule_come_before_those_of_its_task(ground: Ground) -> None:
    options = {"queue": "mail", "priority": 9, "expires": 60.0}
    follow_up, message = made(ground, sums(task=declared.name, kwargs={}, options=options))
    assert (follow_up.queue, follow_up.step) == ("mail", 9)
    expires = datetime.fromisoformat(message.headers["expires"])
    assert timedelta(seconds=50) < expires - datetime.now(UTC) <= timedelta(seconds=60)


def test_a_job_expires_counted_from_when_it_is_made(ground: Ground) -> None:
    _, message = made(ground, sums(task=declared.name, kwargs={}))
    expires = datetime.fromisoformat(message.headers["expires"])
    assert timedelta(minutes=59) < expires - datetime.now(UTC) <= timedelta(hours=1)


def test_arguments_that_do_not_fit_any_more_are_an_error(ground: Ground) -> None:
    with pytest.raises(ArgumentError, match="right"):
        made(ground, sums(kwargs={"left": 1}))


def test_arguments_that_are_too_large_are_an_error(ground: Ground) -> None:
    with pytest.raises(ArgumentError, match="take"):
        made(ground, sums(task=jobs.echo.name, kwargs={"value": "x" * 2**21}))


# -- the times of a fire ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [jobs.add.name, LEGACY, "nobody.knows"])
def test_arguments_carry_the_times_of_their_fire(ground: Ground, task: str) -> None:
    call = {"left": "{fire_time:%Y-%m-%d}", "right": "{previous_fire_time}"}
    schedule = sums(task=task, kwargs=call, timezone="Asia/Tokyo")
    assert made(ground, schedule)[1].kwargs == {"left": "2026-03-01", "right": None}
    assert made(ground, schedule, NOON - DAY)[1].kwargs["right"] == "2026-02-28T21:00:00+09:00"


def test_braces_of_celerys_entries_stay_as_they_are(ground: Ground) -> None:
    schedule = sums(task=LEGACY, args=("{fire_time}",), kwargs={}, is_template=False)
    assert made(ground, schedule)[1].args == ["{fire_time}"]


# -- plain tasks of celery's ------------------------------------------------------------------------------------------


def test_a_plain_task_is_sent_by_itself(ground: Ground) -> None:
    follow_up, message = made(ground, sums(task=LEGACY, args=(1,), kwargs={"x": 2}))
    assert (follow_up.task, follow_up.queue, follow_up.step) == (LEGACY, "default", 0)
    assert (message.args, message.kwargs) == ([1], {"x": 2})
    assert untold(ground)


def test_a_task_that_nobody_knows_here_is_sent_by_its_name(ground: Ground) -> None:
    """Its code is in workers of another deployment."""
    follow_up, message = made(ground, sums(task="nobody.knows", args=(1,), kwargs={}, options={"queue": "theirs"}))
    assert (follow_up.task, follow_up.queue, message.args) == ("nobody.knows", "theirs", [1])
    assert untold(ground)


@pytest.mark.parametrize("task", [LEGACY, "nobody.knows"])
def test_options_of_celerys_are_handed_on(ground: Ground, task: str) -> None:
    options = {"queue": "mail", "priority": 9, "expires": 60, "headers": {"tenant": "a"}, "countdown": 30}
    follow_up, message = made(ground, sums(task=task, kwargs={}, options=options))
    assert (follow_up.queue, follow_up.step) == ("mail", 9)
    assert (message.headers["tenant"], message.headers["schedule"]) == ("a", NAME)
    assert message.headers["expires"] is not None
    assert follow_up.due is not None
    assert timedelta(seconds=20) < follow_up.due - datetime.now(UTC) <= timedelta(seconds=30)


def test_options_that_only_celery_has_make_a_declared_task_go_celerys_way(ground: Ground) -> None:
    options = {"headers": {"tenant": "a"}}
    follow_up, message = made(ground, sums(task=declared.name, kwargs={}, options=options))
    assert (follow_up.queue, message.headers["tenant"]) == ("web", "a")


def test_a_schedule_keeps_its_headers_for_the_next_fire(ground: Ground) -> None:
    schedule = sums(task=LEGACY, kwargs={}, options={"headers": {"tenant": "a"}})
    made(ground, schedule)
    assert schedule.options == {"headers": {"tenant": "a"}}


def test_signals_of_publishing_are_sent_as_for_any_other_job(ground: Ground) -> None:
    heard: list[str] = []

    def listen(sender: str, headers: dict[str, Any], **_: Any) -> None:
        heard.append(sender)
        headers["heard"] = True

    signals.before_task_publish.connect(listen)
    try:
        for name in (jobs.add.name, LEGACY):
            assert made(ground, sums(task=name))[1].headers["heard"]
    finally:
        signals.before_task_publish.disconnect(listen)
    assert heard == [jobs.add.name, LEGACY]


def test_a_task_that_sends_nothing_is_an_error(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground.app.tasks[LEGACY], "apply_async", lambda *_, **__: None)
    with pytest.raises(ValueError, match="not enough values"):
        made(ground, sums(task=LEGACY))


def test_a_task_that_sends_something_else_as_well_is_an_error(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def send_both(*args: Any, **options: Any) -> None:
        ground.app.send_task("one")
        ground.app.send_task("other")

    monkeypatch.setattr(ground.app.tasks[TWICE], "apply_async", send_both)
    with pytest.raises(ValueError, match="too many values"):
        made(ground, sums(task=TWICE, kwargs={}))
    assert untold(ground)


def test_nothing_is_left_open_by_a_call_that_fails(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(ground.app.tasks[LEGACY], "apply_async", fail)
    with pytest.raises(RuntimeError):
        made(ground, sums(task=LEGACY))
    assert current_outbox() is None


def test_a_block_of_somebody_elses_gets_nothing(ground: Ground) -> None:
    import penstock

    with writing(ground.url) as connection, penstock.outbox(connection):
        for name in (jobs.add.name, LEGACY):
            made(ground, sums(task=name))
    assert untold(ground)


# -- what was missed --------------------------------------------------------------------------------------------------


def test_whoever_is_told_hears_the_times_in_the_zone_of_the_schedule(ground: Ground) -> None:
    schedule = sums(timezone="Asia/Tokyo", on_missed=HEAR, options={"queue": "mail"})
    message = message_of_missed(ground.app, schedule, [NOON, NOON + DAY], "because")
    zone = zone_of("Asia/Tokyo")
    times = [NOON.astimezone(zone).isoformat(), (NOON + DAY).astimezone(zone).isoformat()]
    assert Message(message).args == [NAME, times, "because"]
    assert (message.task, message.queue) == (HEAR, "default")


def test_what_is_said_to_it_is_no_template(ground: Ground) -> None:
    schedule = sums("{fire_time}", on_missed=HEAR)
    assert Message(message_of_missed(ground.app, schedule, [NOON], "{fire_time}")).args[2] == "{fire_time}"


def test_calls_of_a_schedule_and_of_a_person_differ_in_the_schedule_only(ground: Ground) -> None:
    """So that whatever a worker, Flower or the ledger shows of a job is there for both."""
    with writing(ground.url) as connection:
        jobs.add.options(session=connection).enqueue(**SUM)
    (theirs,), (_, ours) = ground.messages, made(ground, sums())
    assert ours.headers.keys() - theirs.headers.keys() == {"schedule"}
    assert theirs.headers.keys() <= ours.headers.keys()


# -- calls that take long ---------------------------------------------------------------------------------------------


def test_a_call_that_takes_long_is_given_up_and_the_next_one_does_not_wait_for_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.05)
    hold = threading.Event()
    slow = sums(args=(1,), is_template=False)
    monkeypatch.setattr(ground.app.tasks[TWICE], "apply_async", lambda *_, **__: hold.wait(3))
    with pytest.raises(patience.TooSlow, match="compute in the task"):
        message_of(ground.app, replace(slow, task=TWICE, kwargs={}), NOON, None)
    assert message_of(ground.app, replace(slow, task=LEGACY, kwargs={}), NOON, None).task == LEGACY
    hold.set()


def test_a_call_that_runs_out_of_its_own_time_says_so_itself(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, **__: Any) -> None:
        raise TimeoutError("its own")

    monkeypatch.setattr(ground.app.tasks[TWICE], "apply_async", late)
    with pytest.raises(TimeoutError, match="its own"):
        message_of(ground.app, sums(args=(1,), task=TWICE, kwargs={}), NOON, None)


def test_each_fire_has_an_id_of_its_own_whatever_its_options_say(ground: Ground) -> None:
    made = sums(args=(1,), task=LEGACY, kwargs={}, options={"task_id": "always"})
    assert {message_of(ground.app, made, NOON, None).job_id for _ in range(2)} & {"always"} == set()
