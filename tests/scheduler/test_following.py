"""What comes after a fire's job: failures are counted, and fires that waited for its end start."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import redis

from penstock.broker.keys import Keys
from penstock.job import State
from penstock.ledger import fires, schedules
from penstock.ledger.fires import FireState, Origin
from penstock.ledger.rows import Outcome
from penstock.ledger.session import reading, writing
from tests.ledger.making import SUCCEEDED
from tests.live import wait_for
from tests.scheduler.ground import BROKEN, HEAR, NAME, Ground

CANCELLED = Outcome(state=State.CANCELLED)
FIRED, WAITING = FireState.FIRED, FireState.WAITING
UNREADABLE = {"task": "tests.jobs.add", "when": {"kind": "sundial"}}


def run_and_end(ground: Ground, *outcomes: Outcome, name: str = NAME) -> None:
    """Fires whose jobs end like that, one after the other."""
    for outcome in outcomes:
        ground.an_hour_passes(name)
        ground.fire_due()
        ground.end_all(outcome, name)
        ground.look()


# -- failures in a row ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "failures"),
    [
        ([BROKEN, BROKEN], 2),
        ([BROKEN, SUCCEEDED], 0),
        ([BROKEN, SUCCEEDED, BROKEN], 1),
        ([BROKEN, CANCELLED], 1),
        ([CANCELLED, BROKEN, CANCELLED, BROKEN], 2),
        ([SUCCEEDED, CANCELLED], 0),
    ],
)
def test_failures_in_a_row_are_counted(ground: Ground, outcomes: list[Outcome], failures: int) -> None:
    ground.add(ground.sums())
    run_and_end(ground, *outcomes)
    assert ground.row().failures == failures


def test_ends_that_are_seen_together_count_in_the_order_of_their_times(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.insert(*(ground.fire(number, is_followed=True) for number in (-3, -2, -1)))
    for number, outcome in ((-1, BROKEN), (-2, SUCCEEDED), (-3, BROKEN)):
        ground.end(f"sums {number}", outcome)
    ground.look()
    assert ground.row().failures == 1


def test_an_end_counts_once_however_often_somebody_looks(ground: Ground) -> None:
    ground.add(ground.sums())
    run_and_end(ground, BROKEN)
    for _ in range(3):
        ground.look()
    assert ground.row().failures == 1


def test_an_end_that_two_have_seen_counts_once(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.insert(ground.fire(0, is_followed=True))
    ground.end("sums 0", BROKEN)
    with reading(ground.url) as connection:
        seen = fires.ended(connection, 10)
    ground.look()
    with writing(ground.url) as connection:
        assert fires.follow_no_more(connection, seen) == []


def test_a_job_that_has_not_ended_counts_as_nothing(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.fire_due()
    ground.look()
    (fire,) = ground.fires()
    ground.start(fire.job_id)
    ground.look()
    assert ground.fires()[0].is_followed


def test_a_job_of_which_nothing_is_known_any_more_is_followed_no_more(ground: Ground) -> None:
    """Its row has gone by retention, or somebody has emptied the queue of a stock producer's."""
    ground.add(ground.sums(), failures=1)
    ground.insert(ground.fire(0, is_followed=True))
    ground.look()
    assert (ground.fires()[0].is_followed, ground.row().failures) == (False, 1)


def test_jobs_of_a_schedule_that_is_gone_are_followed_no_more(ground: Ground) -> None:
    ground.insert(ground.fire(0, is_followed=True))
    ground.end("sums 0", BROKEN)
    ground.look()
    assert not ground.fires()[0].is_followed


def test_a_schedule_that_somebody_has_is_looked_at_later(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    ground.add(ground.sums())
    ground.insert(ground.fire(0, is_followed=True))
    ground.end("sums 0", BROKEN)
    with ground.held():
        ground.look()
        assert ground.fires()[0].is_followed
    ground.look()
    assert (ground.row().failures, ground.fires()[0].is_followed) == (1, False)


# -- a pause that a schedule gives itself -----------------------------------------------------------------------------


def test_after_so_many_failures_a_schedule_pauses_itself_and_says_why(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    ground.add(ground.sums(pause_after_failures=2))
    run_and_end(ground, BROKEN)
    assert ground.row().paused_at is None
    run_and_end(ground, BROKEN)
    row, last = ground.row(), ground.fires()[-1].job_id
    note = f"2 jobs in a row have failed, the last one, {last}, with ValueError"
    assert (row.paused_by, row.pause_note, row.failures) == ("beat", note, 2)
    assert f"schedule 'sums' is paused: {note}" in caplog.text


def test_such_a_pause_is_in_the_audit_with_the_job(ground: Ground) -> None:
    ground.add(ground.sums(pause_after_failures=1))
    run_and_end(ground, BROKEN)
    (row,) = ground.audited
    assert (row.actor, row.action, row.job_id) == ("beat", "pause schedule", ground.fires()[0].job_id)
    assert row.details["schedule"] == NAME


def test_its_fires_are_then_skipped_with_that_note(ground: Ground) -> None:
    ground.add(ground.sums(pause_after_failures=1))
    run_and_end(ground, BROKEN)
    ground.an_hour_passes()
    ground.fire_due()
    assert ground.states() == ["fired", "skipped"]
    assert (ground.reasons()[1] or "").startswith("paused: job ")


def test_a_pause_by_somebody_else_keeps_its_note(ground: Ground) -> None:
    ground.add(ground.sums(pause_after_failures=1))
    ground.fire_due()
    ground.changes.pause(NAME, "moving house")
    ground.end_all(BROKEN)
    ground.look()
    assert (ground.row().pause_note, ground.row().failures) == ("moving house", 1)


def test_a_bound_that_was_lowered_counts_from_the_next_failure_on(ground: Ground) -> None:
    """Seen together, a success and two failures leave the count as it was."""
    ground.add(ground.sums(pause_after_failures=2), failures=2)
    ground.insert(*(ground.fire(number, is_followed=True) for number in (-3, -2, -1)))
    for number, outcome in ((-3, SUCCEEDED), (-2, BROKEN), (-1, BROKEN)):
        ground.end(f"sums {number}", outcome)
    ground.look()
    assert ground.row().paused_at is not None


# -- fires that wait --------------------------------------------------------------------------------------------------


def waiting(ground: Ground, *numbers: int, overlap: Any = "buffer all", origin: Origin = Origin.PLANNED) -> None:
    """A job that runs, and fires that wait for its end."""
    ground.add(ground.sums(overlap=overlap, kwargs={"left": "{fire_time}", "right": "{previous_fire_time}"}), since=1)
    ground.insert(ground.fire(-9, is_followed=True))
    ground.insert(*(ground.fire(number, WAITING, origin=origin) for number in numbers))
    ground.start("sums -9")


def test_a_fire_starts_when_the_job_before_it_has_ended(ground: Ground) -> None:
    waiting(ground, -1)
    assert ground.look() == []
    ground.end("sums -9")
    (published,) = ground.look()
    fire, (message,) = ground.fires()[-1], ground.messages
    assert (fire.state, fire.reason, fire.job_id, fire.is_followed) == (FIRED, None, published.job_id, True)
    assert message.headers["id"] == fire.job_id
    assert message.row.published_at is not None


def test_its_job_is_of_the_time_that_was_planned(ground: Ground) -> None:
    waiting(ground, -1)
    ground.end("sums -9")
    ground.look()
    assert ground.messages[0].kwargs == {"left": ground.hour(-1).isoformat(), "right": ground.hour(-9).isoformat()}
    assert ground.row().previous_at == ground.hour(-1)


def test_fires_start_one_after_the_other_the_oldest_first(ground: Ground) -> None:
    waiting(ground, -1, -3, -2)
    ground.end("sums -9")
    for number in range(1, 4):
        ground.look()
        ground.look()
        assert ground.states() == ["fired"] * (1 + number) + ["waiting"] * (3 - number)
        ground.end_all()
    assert len(ground.messages) == 0


def test_what_starts_is_followed_whatever_its_schedule_says_by_now(ground: Ground) -> None:
    """Others wait behind it."""
    waiting(ground, -2, -1, overlap="allow", origin=Origin.BACKFILLED)
    ground.end("sums -9")
    ground.look()
    ground.look()
    assert ground.states() == ["fired", "fired", "waiting"]


def test_a_fire_of_before_does_not_take_the_previous_time_back(ground: Ground) -> None:
    waiting(ground, -5, origin=Origin.BACKFILLED)
    ground.set(previous_at=ground.hour(-2))
    ground.end("sums -9")
    ground.look()
    assert ground.row().previous_at == ground.hour(-2)


def test_a_job_that_has_started_meanwhile_is_noticed_at_the_last_moment(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the lock somebody has triggered the schedule."""
    waiting(ground, -1)
    monkeypatch.setattr(fires, "free_with_waiting", lambda *_: [NAME])
    ground.look()
    assert ground.states() == ["fired", "waiting"]


def test_a_fire_that_somebody_has_started_meanwhile_gets_no_second_job(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(ground, -1)
    ground.end("sums -9")
    with reading(ground.url) as connection:
        stale = fires.first_waiting(connection, NAME, planned_first=False)
    ground.look()
    ground.end_all()
    monkeypatch.setattr(fires, "with_waiting", lambda *_: {NAME: True})
    monkeypatch.setattr(fires, "free_with_waiting", lambda *_: [NAME])
    monkeypatch.setattr(fires, "first_waiting", lambda *_, **__: stale)
    before = ground.fires()
    assert ground.look() == []
    assert (ground.messages, [fire.job_id for fire in ground.fires()]) == ([], [fire.job_id for fire in before])


def test_those_who_look_at_once_start_each_fire_once(ground: Ground) -> None:
    waiting(ground, *range(-8, 0))
    ground.end("sums -9")
    for _ in range(3):
        threads = [threading.Thread(target=ground.look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ground.messages) == 1
        ground.end_all()
    assert ground.states().count("fired") == 4


def test_what_waits_when_its_schedule_is_paused_is_skipped_with_the_note(ground: Ground) -> None:
    waiting(ground, -2, -1)
    ground.changes.pause(NAME, "moving house")
    ground.look()
    assert ground.states() == ["fired", "waiting", "waiting"]
    ground.end("sums -9")
    ground.look()
    assert (ground.states(), ground.reasons()) == (
        ["fired", "skipped", "skipped"],
        [None, *["paused: moving house"] * 2],
    )


def test_a_call_that_is_broken_ends_as_missed_and_the_next_one_starts(ground: Ground) -> None:
    waiting(ground, -2, -1)
    ground.set(definition=ground.sums(kwargs={"left": 1}).words())
    ground.end("sums -9")
    ground.look()
    assert ground.states() == ["fired", "missed", "waiting"]
    assert (ground.reasons()[1] or "").startswith("error: ArgumentError: tests.jobs.add")
    ground.set(definition=ground.sums().words())
    ground.look()
    assert ground.states() == ["fired", "missed", "fired"]


def test_who_wants_to_know_is_told_of_it(ground: Ground) -> None:
    waiting(ground, -1)
    ground.set(definition=ground.sums(kwargs={}, on_missed=HEAR).words())
    ground.end("sums -9")
    (told,) = ground.look()
    assert told.task == HEAR
    assert ground.messages[0].args[1] == [ground.hour(-1).isoformat()]


def test_a_definition_that_this_version_cannot_read_is_left_alone(ground: Ground) -> None:
    waiting(ground, -1)
    ground.set(definition=UNREADABLE)
    ground.end("sums -9")
    assert ground.look() == []
    assert ground.states() == ["fired", "waiting"]


def test_a_schedule_that_somebody_has_starts_nothing(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    waiting(ground, -1)
    ground.end("sums -9")
    with ground.held():
        assert ground.look() == []
    assert len(ground.look()) == 1


# -- those that run in the way ----------------------------------------------------------------------------------------


def revoked(broker: redis.Redis) -> dict[str, str]:
    """Jobs that are revoked, and how they are ended."""
    signals: Any = broker.hgetall(Keys().revoked_signals)
    ids: Any = broker.zrange(Keys().revoked, 0, -1)
    return {id: signals.get(id, "") for id in ids}


def test_the_job_that_runs_is_ended_when_a_newer_fire_waits(ground: Ground, broker: redis.Redis) -> None:
    waiting(ground, -1, overlap="cancel other")
    ground.look()
    assert wait_for(lambda: revoked(broker), "it is revoked") == {"sums -9": "SIGTERM"}


def test_it_is_revoked_again_until_it_has_ended(ground: Ground, broker: redis.Redis) -> None:
    """Redis may have lost it, or the job's worker was away."""
    waiting(ground, -1, overlap="cancel other")
    ground.look()
    wait_for(lambda: revoked(broker), "it is revoked")
    broker.flushdb()
    wait_for(lambda: ground.look() == [] and revoked(broker), "it is revoked again")
    ground.end("sums -9", CANCELLED)
    wait_for(
        lambda: not any(thread.name == "cancelling" for thread in threading.enumerate()), "nobody revokes any more"
    )
    broker.flushdb()
    assert len(ground.look()) == 1
    assert revoked(broker) == {}


@pytest.mark.parametrize("overlap", ["buffer one", "buffer all", "skip"])
def test_other_rules_end_nothing(ground: Ground, broker: redis.Redis, overlap: Any) -> None:
    waiting(ground, -1, overlap=overlap)
    ground.look()
    assert revoked(broker) == {}


def test_what_is_made_up_for_ends_nothing(ground: Ground, broker: redis.Redis) -> None:
    waiting(ground, -1, overlap="cancel other", origin=Origin.BACKFILLED)
    ground.look()
    assert revoked(broker) == {}


def test_a_broker_that_is_away_keeps_nobody_waiting(ground: Ground) -> None:
    waiting(ground, -1, overlap="cancel other")
    ground.add(ground.sums("free"), since=1)
    ground.insert(ground.fire(-1, WAITING, "free"))
    ground.app.conf.broker_write_url = "redis://127.0.0.1:1/0"
    begun = time.monotonic()
    assert len(ground.look()) == 1
    # Celery itself tries again and again, for six seconds.
    assert time.monotonic() - begun < 3


# -- what it costs ----------------------------------------------------------------------------------------------------


def test_a_look_at_nothing_is_two_statements(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.add(ground.sums())
    ground.fire_due()
    for each in ("lock_free", "find", "change"):
        monkeypatch.setattr(schedules, each, refuse)
    assert ground.look() == []


def refuse(*_: Any) -> Any:
    pytest.fail("there was nothing to do")


def test_one_batch_has_a_bound(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.scheduler.following.BATCH", 2)
    ground.add(ground.sums())
    ground.insert(*(ground.fire(number, is_followed=True) for number in range(-3, 0)))
    ground.look()
    assert [fire.is_followed for fire in ground.fires()] == [False, False, True]
    ground.look()
    assert not ground.fires()[-1].is_followed
    assert ground.fires()[-1].decided_at < ground.last + timedelta(hours=1)


# -- what waits behind a pause, behind what is made up for, and to the most -------------------------------------------


def test_what_is_made_up_for_waits_for_the_end_of_a_pause(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.changes.pause(NAME, "repairs")
    ground.changes.backfill(NAME, ground.hour(-2), ground.hour(-1))
    ground.look()
    assert ground.states() == ["waiting", "waiting"]
    ground.changes.resume(NAME)
    ground.look()
    assert ground.states() == ["fired", "waiting"]


def test_the_newest_fire_comes_before_what_is_made_up_for_if_it_cancels_others(ground: Ground) -> None:
    waiting(ground, -1, overlap="cancel other")
    ground.insert(ground.fire(-5, WAITING, origin=Origin.BACKFILLED))
    ground.end("sums -9")
    ground.look()
    assert [fire.state for fire in ground.fires()] == [FIRED, WAITING, FIRED]


def test_fires_that_waited_for_nothing_do_not_count_to_the_most(ground: Ground) -> None:
    ground.add(ground.sums(max_fires=3, overlap="buffer all"), since=None, fires=3, planned_at=None, due_at=None)
    ground.insert(ground.fire(-9, is_followed=True), ground.fire(-2, WAITING), ground.fire(-1, WAITING))
    ground.changes.pause(NAME)
    ground.end("sums -9")
    ground.look()
    assert (ground.row().fires, ground.row().planned_at) == (1, ground.hour(1))
