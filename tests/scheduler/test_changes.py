"""What people do to schedules at run time, each with its row in the audit."""

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from penstock.errors import ArgumentError, DeclarationError, LedgerUnavailable, ScheduleNotFound, ScheduleRefused
from penstock.ledger import fires, schedules
from penstock.ledger.fires import FireState, Origin
from penstock.ledger.session import writing
from penstock.scheduler import At, Every, changes
from penstock.scheduler.changes import Schedules
from tests.ledger.making import SUCCEEDED
from tests.scheduler.ground import BROKEN, HOUR, NAME, SUM, Ground, foreign, planned, sums

FIRED, WAITING, SKIPPED, MISSED = FireState.FIRED, FireState.WAITING, FireState.SKIPPED, FireState.MISSED
ALL = ("pause", "resume", "trigger", "remove", "show")


def audited(ground: Ground) -> list[tuple[str, str, Any]]:
    """Who did what to which schedule."""
    return [(row.actor, row.action, (row.details or {}).get("schedule")) for row in ground.audited]


# -- whatever is done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ALL)
def test_a_schedule_that_is_not_there_is_named_with_one_that_is_spelt_alike(ground: Ground, what: str) -> None:
    ground.add(ground.sums("nightly sales"))
    with pytest.raises(ScheduleNotFound, match="no schedule 'nightly sale'; did you mean 'nightly sales'"):
        getattr(ground.changes, what)("nightly sale")
    assert ground.audited == []


def test_without_one_that_is_spelt_alike_the_list_is_named(ground: Ground) -> None:
    with pytest.raises(ScheduleNotFound, match="`schedules list` shows all"):
        ground.changes.trigger("x")


def test_a_ledger_that_is_down_is_one_clear_error(ground: Ground) -> None:
    away = Schedules(ground.app, "postgresql+psycopg://127.0.0.1:1/x", "ada")
    with pytest.raises(LedgerUnavailable):
        away.trigger(NAME)


def test_every_change_has_its_row_in_the_audit(ground: Ground) -> None:
    ground.changes.add(ground.sums())
    ground.changes.edit(NAME, overlap="allow")
    ground.changes.pause(NAME, "moving house")
    ground.changes.resume(NAME)
    fire = ground.changes.trigger(NAME)
    ground.changes.backfill(NAME, ground.hour(-1))
    ground.changes.remove(NAME)
    done = ["add", "edit", "pause", "resume", "trigger", "backfill", "remove"]
    assert audited(ground) == [("ada", f"{what} schedule", NAME) for what in done]
    assert [row.job_id for row in ground.audited] == [None] * 4 + [fire.job_id, None, None]
    details: list[Any] = [row.details for row in ground.audited]
    assert details[0]["definition"] == ground.sums(timezone="UTC").words()
    assert details[1]["changes"] == {"overlap": "allow"}
    assert details[2]["note"] == "moving house"
    assert (details[5]["since"], details[5]["fires"]) == (ground.hour(-1).isoformat(), "2")


# -- added ------------------------------------------------------------------------------------------------------------


def test_a_schedule_is_added_with_its_first_time(ground: Ground) -> None:
    known = ground.changes.add(ground.sums())
    assert (known.row.declared_by, known.row.planned_at, known.row.version) == (None, ground.hour(1), 1)
    assert known.row == ground.row()


def test_it_is_in_the_deployments_zone_unless_it_names_its_own(ground: Ground) -> None:
    ground.app.conf.timezone = "Asia/Tokyo"
    zones = [ground.changes.add(each).schedule.timezone for each in (sums("a"), sums("b", timezone="UTC"))]
    assert zones == ["Asia/Tokyo", "UTC"]


@pytest.mark.parametrize("by", [None, "tests"])
def test_a_name_is_there_once(ground: Ground, by: str | None) -> None:
    ground.add(ground.sums(), by=by)
    before = ground.row()
    with pytest.raises(ScheduleRefused, match="there is a schedule 'sums' already"):
        ground.changes.add(ground.sums(kwargs={"left": 0, "right": 0}))
    assert (ground.row(), ground.audited) == (before, [])


def test_one_that_would_never_fire_is_refused(ground: Ground) -> None:
    with pytest.raises(ScheduleRefused, match="'sums' would never fire: all its times have passed"):
        ground.changes.add(sums(when=At(ground.hour(-1))))
    assert ground.names == []


def test_one_whose_arguments_do_not_fit_is_refused(ground: Ground) -> None:
    with pytest.raises(DeclarationError, match=r"tests\.jobs\.add"):
        ground.changes.add(ground.sums(kwargs={"left": 1}))
    assert ground.names == []


# -- edited -----------------------------------------------------------------------------------------------------------


def test_an_edited_schedule_goes_by_its_new_definition(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    known = ground.changes.edit(NAME, kwargs={"left": 3, "right": 4}, tags=("x",))
    assert (known.row.version, known.row.planned_at, known.schedule.tags) == (2, ground.hour(1), ("x",))
    assert known.row.definition == ground.row().definition


def test_what_was_due_before_an_edit_ends_as_it_was(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.changes.edit(NAME, when=Every(7200), kwargs={"left": 9, "right": 9})
    assert ground.states() == ["fired"]
    assert ground.messages[0].kwargs == SUM


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kwargs": {"left": 1}}, "right"),
        ({"overlap": "queue"}, "overlap='queue'"),
        ({"jitter": -1}, "jitter"),
    ],
)
def test_an_edit_that_makes_no_sense_changes_nothing(ground: Ground, change: dict[str, Any], error: str) -> None:
    ground.add(ground.sums())
    before = ground.row()
    with pytest.raises(DeclarationError, match=error):
        ground.changes.edit(NAME, **change)
    assert (ground.row(), ground.audited) == (before, [])


@pytest.mark.parametrize(("what", "done"), [("edit", "edited"), ("remove", "removed")])
def test_a_declared_schedule_is_changed_where_it_is_declared(ground: Ground, what: str, done: str) -> None:
    ground.add(ground.sums(), by="tests")
    with pytest.raises(ScheduleRefused, match=f"'sums' is declared by 'tests' and cannot be {done} here"):
        getattr(ground.changes, what)(NAME)
    assert ground.names == [NAME]


# -- paused and resumed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [None, "tests"])
def test_a_paused_schedule_says_who_and_why(ground: Ground, by: str | None) -> None:
    ground.add(ground.sums(), by=by)
    known = ground.changes.pause(NAME, "moving house")
    assert (known.row.paused_by, known.row.pause_note) == ("ada", "moving house")
    assert known.row.paused_at is not None


def test_what_was_due_and_not_decided_belongs_to_the_pause(ground: Ground) -> None:
    ground.add(ground.sums(), since=-1)
    ground.changes.pause(NAME, "moving house")
    ground.fire_due()
    assert ground.reasons() == ["paused: moving house"] * 2


def test_a_pause_needs_no_note(ground: Ground) -> None:
    ground.add(ground.sums())
    assert ground.changes.pause(NAME).row.pause_note is None
    ground.fire_due()
    assert ground.reasons() == ["paused"]


def test_what_is_paused_is_not_paused_again(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.changes.pause(NAME, "first")
    with pytest.raises(ScheduleRefused, match="has been paused by ada already"):
        ground.changes.pause(NAME, "second")
    assert ground.row().pause_note == "first"


def test_what_is_not_paused_is_not_resumed(ground: Ground) -> None:
    ground.add(ground.sums())
    with pytest.raises(ScheduleRefused, match="'sums' is not paused"):
        ground.changes.resume(NAME)


def test_a_resumed_schedule_goes_on(ground: Ground) -> None:
    ground.add(ground.sums(), since=1, failures=3)
    ground.changes.pause(NAME, "moving house")
    row = ground.changes.resume(NAME).row
    assert (row.paused_at, row.paused_by, row.pause_note, row.failures) == (None, None, None, 0)
    ground.an_hour_passes()
    ground.fire_due()
    assert ground.states() == ["fired"]


def test_what_was_planned_in_a_pause_stays_skipped_though_nobody_was_up(ground: Ground) -> None:
    ground.add(ground.sums(catch_up="all", overlap="allow"), since=-2)
    ground.changes.pause(NAME, "moving house")
    ground.changes.resume(NAME)
    assert (ground.reasons(), ground.row().planned_at) == (["paused: moving house"] * 3, ground.hour(1))
    assert ground.fire_due() == []


def test_a_schedule_that_has_paused_itself_counts_anew_when_it_is_resumed(ground: Ground) -> None:
    ground.add(ground.sums(pause_after_failures=2))
    for _ in range(2):
        ground.an_hour_passes()
        ground.fire_due()
        ground.end_all(BROKEN)
        ground.look()
    ground.changes.resume(NAME)
    ground.an_hour_passes()
    ground.fire_due()
    ground.end_all(BROKEN)
    ground.look()
    assert (ground.row().paused_at, ground.row().failures) == (None, 1)


# -- triggered --------------------------------------------------------------------------------------------------------


def test_a_triggered_schedule_starts_its_task_now(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    fire = ground.changes.trigger(NAME)
    (message,) = ground.messages
    assert (fire.origin, fire.state, fire.job_id) == (Origin.TRIGGERED, FIRED, message.headers["id"])
    assert (message.kwargs, message.headers["schedule"]) == (SUM, NAME)
    assert ground.fires() == [fire]
    assert datetime.now(UTC) - fire.planned_at < timedelta(minutes=1)


def test_its_message_is_left_to_the_relay(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.changes.trigger(NAME)
    assert ground.messages[0].row.published_at is None


def test_a_trigger_moves_nothing(ground: Ground) -> None:
    ground.add(ground.sums(max_fires=1), since=1)
    before = ground.row()
    ground.changes.trigger(NAME)
    assert ground.row() == before


def test_neither_a_pause_nor_a_job_that_runs_is_in_its_way(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.changes.pause(NAME)
    ground.changes.trigger(NAME)
    ground.changes.trigger(NAME)
    assert ground.states() == ["fired", "fired"]


def test_its_job_is_in_the_way_of_the_next_fire(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.changes.trigger(NAME)
    ground.fire_due()
    assert sorted(ground.states()) == ["fired", "skipped"]


def test_two_triggers_at_one_moment_are_two_fires(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.add(ground.sums(), since=1)
    monkeypatch.setattr(schedules, "clock", lambda _: ground.hour(0))
    for _ in range(3):
        ground.changes.trigger(NAME)
    assert planned(ground.fires()) == [ground.hour(0) + timedelta(microseconds=n) for n in range(3)]
    assert len({message.headers["id"] for message in ground.messages}) == 3


def test_people_who_trigger_at_once_get_a_job_each(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    threads = [threading.Thread(target=ground.changes.trigger, args=(NAME,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ground.fires()) == len(ground.messages) == 6


def test_a_call_that_is_broken_is_said_at_once(ground: Ground) -> None:
    ground.add(ground.sums(kwargs={"left": 1}))
    with pytest.raises(ArgumentError, match="right"):
        ground.changes.trigger(NAME)
    assert (ground.fires(), ground.audited) == ([], [])


def test_the_previous_time_is_that_of_the_last_planned_fire(ground: Ground) -> None:
    call = {"left": "{previous_fire_time}", "right": 0}
    ground.add(ground.sums(kwargs=call), since=1, previous_at=ground.hour(0))
    ground.changes.trigger(NAME)
    ground.changes.trigger(NAME)
    assert [message.kwargs["left"] for message in ground.messages] == [ground.hour(0).isoformat()] * 2


# -- made up for ------------------------------------------------------------------------------------------------------


def test_past_times_wait_to_start_one_after_the_other(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    done = ground.changes.backfill(NAME, ground.hour(-2))
    assert (done.started, done.waiting, done.kept) == ([], [ground.hour(n) for n in (-2, -1, 0)], 0)
    assert {(fire.origin, fire.state) for fire in ground.fires()} == {(Origin.BACKFILLED, WAITING)}
    for number in range(1, 4):
        ground.look()
        ground.look()
        assert ground.states() == ["fired"] * number + ["waiting"] * (3 - number)
        ground.end_all(SUCCEEDED)


def test_past_times_start_together_if_that_is_wanted(ground: Ground) -> None:
    ground.add(ground.sums(kwargs={"left": "{fire_time}", "right": "{previous_fire_time}"}), since=1)
    done = ground.changes.backfill(NAME, ground.hour(-2), at_once=True)
    assert done.started == [ground.hour(n) for n in (-2, -1, 0)]
    hours = [ground.hour(n).isoformat() for n in (-2, -1, 0)]
    assert [message.kwargs for message in ground.messages] == [
        {"left": hour, "right": previous} for hour, previous in zip(hours, [None, *hours], strict=False)
    ]


def test_what_was_skipped_or_missed_is_made_up_for_and_the_rest_is_kept(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.insert(ground.fire(-4), ground.fire(-3, MISSED), ground.fire(-2, SKIPPED), ground.fire(-1, WAITING))
    done = ground.changes.backfill(NAME, ground.hour(-4), at_once=True)
    assert (done.started, done.kept) == ([ground.hour(-3), ground.hour(-2), ground.hour(0)], 2)
    assert (ground.states(), ground.fires()[0].job_id) == (["fired", "fired", "fired", "waiting", "fired"], "sums -4")
    assert ground.reasons() == [None, None, None, "because", None]


def test_a_preview_names_the_times_that_a_backfill_would_make_up_for_and_changes_nothing(ground: Ground) -> None:
    ground.add(ground.sums(), since=-1)
    ground.insert(ground.fire(-4), ground.fire(-3, MISSED))
    triggered = ground.fire(-2, origin=Origin.TRIGGERED)
    ground.insert(replace(triggered, planned_at=triggered.planned_at + timedelta(minutes=1)))
    preview = ground.changes.preview_backfill(NAME, ground.hour(-4))
    assert (preview.times, preview.kept) == ([ground.hour(-3), ground.hour(-2)], 1)
    done = ground.changes.backfill(NAME, ground.hour(-4))
    assert (done.waiting, done.kept) == (preview.times, preview.kept)
    assert ground.changes.preview_backfill(NAME, ground.hour(-4)).times == []


def test_a_preview_refuses_what_a_backfill_refuses(ground: Ground) -> None:
    ground.add(ground.sums(when=Every(1)), since=1)
    with pytest.raises(ScheduleRefused, match="more than 1,000 fires"):
        ground.changes.preview_backfill(NAME, ground.hour(-1))


def test_both_ends_belong_to_the_range(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert len(ground.changes.backfill(NAME, ground.hour(-3), ground.hour(-1)).waiting) == 3


def test_what_is_still_to_be_decided_on_is_left_to_the_schedulers(ground: Ground) -> None:
    ground.add(ground.sums(), since=-1)
    done = ground.changes.backfill(NAME, ground.hour(-3), at_once=True)
    assert done.started == [ground.hour(-3), ground.hour(-2)]


def test_the_future_cannot_be_made_up_for(ground: Ground) -> None:
    ground.add(ground.sums(), since=None, planned_at=None, due_at=None)
    done = ground.changes.backfill(NAME, ground.hour(-1), ground.hour(9))
    assert done.waiting == [ground.hour(-1), ground.hour(0)]


def test_days_that_are_excluded_stay_excluded(ground: Ground) -> None:
    day = ground.hour(-1).date()
    ground.add(ground.sums(exclude=(day, ground.last.date())), since=1)
    assert all(at.date() < day for at in ground.changes.backfill(NAME, ground.hour(-30)).waiting)


def test_a_pause_is_not_in_the_way_of_what_starts_together(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.changes.pause(NAME)
    ground.changes.backfill(NAME, ground.hour(0), at_once=True)
    assert ground.states() == ["fired"]


def test_too_many_are_refused(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_BACKFILLED", 3)
    ground.add(ground.sums(), since=1)
    assert len(ground.changes.backfill(NAME, ground.hour(-2)).waiting) == 3
    with pytest.raises(ScheduleRefused, match="more than 3 fires"):
        ground.changes.backfill(NAME, ground.hour(-3))


def test_one_call_that_is_broken_starts_none(ground: Ground) -> None:
    ground.add(ground.sums(kwargs={}), since=1)
    with pytest.raises(ArgumentError):
        ground.changes.backfill(NAME, ground.hour(-2), at_once=True)
    assert (ground.fires(), ground.messages, ground.audited) == ([], [], [])


# -- removed ----------------------------------------------------------------------------------------------------------


def test_a_removed_schedule_leaves_its_fires(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    ground.insert(ground.fire(-1))
    ground.changes.remove(NAME)
    assert (ground.names, ground.states()) == ([], ["fired"])


def test_what_waited_or_was_due_is_on_the_books(ground: Ground) -> None:
    ground.add(ground.sums(), since=-1)
    ground.insert(ground.fire(-9, is_followed=True), ground.fire(-5, WAITING))
    ground.changes.remove(NAME)
    assert ground.states() == ["fired", "skipped", "missed", "missed"]


# -- looked at --------------------------------------------------------------------------------------------------------


def test_all_schedules_are_listed_by_name_or_by_a_tag(ground: Ground) -> None:
    ground.add(sums("b", tags=("x", "y")), sums("a", tags=("y",)), sums("c"))
    listed = [[each.schedule.name for each in ground.changes.all(tag)] for tag in (None, "y", "z")]
    assert listed == [["a", "b", "c"], ["a", "b"], []]


def test_a_portrait_has_the_last_fires_and_the_counts_of_all(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.insert(*(ground.fire(n, FireState.SKIPPED) for n in range(-5, 0)), ground.fire(0, is_followed=True))
    ground.start("sums 0")
    portrait = ground.changes.show(NAME, limit=2)
    assert planned(portrait.fires) == [ground.hour(0), ground.hour(-1)]
    assert portrait.counts == {SKIPPED: 5, FIRED: 1}
    assert portrait.open_jobs == ["sums 0"]
    assert len(ground.changes.show(NAME, state=SKIPPED).fires) == 5


def test_the_next_times_begin_with_the_one_that_is_planned(ground: Ground) -> None:
    ground.add(ground.sums(), since=-1)
    assert ground.changes.next_times(NAME, 3) == [ground.hour(n) for n in (-1, 0, 1)]


def test_the_next_times_are_in_its_zone_and_leave_out_excluded_days(ground: Ground) -> None:
    ground.add(sums(when=Every(86_400), timezone="Asia/Tokyo", exclude=(date(2030, 1, 2),)), since=1)
    found = ground.changes.next_times(NAME, 2, datetime(2030, 1, 1, tzinfo=UTC) - HOUR)
    assert [each.isoformat() for each in found] == ["2030-01-01T09:00:00+09:00", "2030-01-03T09:00:00+09:00"]


def test_no_more_times_come_than_the_schedule_has_fires_left(ground: Ground) -> None:
    ground.add(ground.sums(max_fires=3), since=1, fires=2)
    assert len(ground.changes.next_times(NAME, 9)) == 1


def test_a_schedule_that_is_over_has_no_next_times(ground: Ground) -> None:
    ground.add(ground.sums(), since=None, planned_at=None, due_at=None)
    assert ground.changes.next_times(NAME, 9) == []


def test_times_of_somebody_elses_object_are_known_where_it_is_declared(ground: Ground) -> None:
    made = foreign()
    ground.add(made, since=1)
    with pytest.raises(ScheduleRefused, match="odd: 3600 s is known only where it is declared"):
        ground.changes.next_times(NAME, 2)
    ground.app.schedules = (made,)
    assert len(ground.changes.next_times(NAME, 2)) == 2


def test_the_schedulers_are_listed(ground: Ground) -> None:
    turning = ground.turning()
    turning.turn()
    (beat,) = ground.changes.beats()
    assert beat.name == turning.name


def test_a_change_waits_for_whoever_has_the_schedule(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    ground.add(ground.sums())
    done = threading.Event()

    def trigger() -> None:
        ground.changes.trigger(NAME)
        done.set()

    thread = threading.Thread(target=trigger)
    with ground.held():
        thread.start()
        assert not done.wait(0.3)
    thread.join()
    assert ground.states() == ["fired"]


def test_a_fire_that_was_waited_for_by_hand_is_seen_by_all(ground: Ground) -> None:
    """What is made up for has a key of its own, so that two backfills of one range are one."""
    ground.add(ground.sums(), since=1)
    ground.changes.backfill(NAME, ground.hour(-1))
    assert ground.changes.backfill(NAME, ground.hour(-1)).kept == 2
    with writing(ground.url) as connection:
        assert fires.counts(connection, NAME) == {WAITING: 2}


# -- what another version has written ---------------------------------------------------------------------------------


def spoil(ground: Ground, name: str) -> None:
    """Makes it so that this version cannot read a schedule."""
    ground.set(name, definition={"task": "t", "when": {"kind": "lunar"}})


def test_a_schedule_that_cannot_be_read_hides_no_other(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    ground.add(sums("a"), sums("b"))
    spoil(ground, "b")
    assert [known.row.name for known in ground.changes.all()] == ["a"]
    assert "'b' cannot be read" in caplog.text


@pytest.mark.parametrize("what", ["pause", "remove"])
def test_a_schedule_that_cannot_be_read_can_be_stopped(ground: Ground, what: str) -> None:
    ground.add(sums("b"))
    spoil(ground, "b")
    getattr(ground.changes, what)("b")
    assert what == "remove" or ground.row("b").paused_by == "ada"


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_after_its_most_fires_no_time_is_next_from_whenever_one_looks(ground: Ground) -> None:
    ground.add(ground.sums(max_fires=2), since=1)
    assert ground.changes.next_times(NAME, 5, ground.hour(1)) == [ground.hour(2)]
    assert ground.changes.next_times(NAME, 5, ground.hour(10)) == []


def test_a_rule_that_is_taken_away_is_in_the_audit(ground: Ground) -> None:
    ground.add(ground.sums(tags=("x",)), since=1)
    ground.changes.edit(NAME, tags=())
    assert (ground.audited[-1].details or {})["changes"] == {"tags": None}


def test_after_a_backfill_at_once_the_next_fire_begins_where_that_has_ended(ground: Ground) -> None:
    ground.add(ground.sums(), since=0, previous_at=ground.hour(-5))
    ground.changes.backfill(NAME, ground.hour(-4), ground.hour(-1), at_once=True)
    assert ground.row().previous_at == ground.hour(-1)
