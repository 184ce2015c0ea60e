"""Rows from declarations: what an application declares is what the ledger has, and what was added by hand stays."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.beat import BeatLazyFunc
from celery.schedules import crontab, solar

from penstock.adoption import adopt
from penstock.errors import DeclarationError
from penstock.ledger.fires import FireState
from penstock.scheduler import At, Cron, Every, Foreign, Schedule
from penstock.scheduler.declarations import Reconciled, declared_by, zone_name
from tests import jobs
from tests.live import wait_for
from tests.scheduler.ground import HEAR, HOUR, NAME, SUM, Ground, Odd, foreign, sums
from tests.scheduler.test_schedule import EVERYTHING

NOTHING = Reconciled([], [], [])
FIRED, WAITING = FireState.FIRED, FireState.WAITING


# -- added ------------------------------------------------------------------------------------------------------------


def test_what_is_declared_comes_into_the_ledger_with_its_first_time(ground: Ground) -> None:
    made = ground.sums(jitter=30.0)
    assert ground.reconcile(made) == Reconciled([NAME], [], [])
    row = ground.row()
    assert (row.kind, row.definition, row.declared_by, row.version) == ("interval", made.words(), "tests", 1)
    assert (row.planned_at, row.due_at) == (ground.hour(1), made.due(ground.hour(1)))


def test_what_is_over_before_it_begins_is_there_and_plans_nothing(ground: Ground) -> None:
    ground.reconcile(sums(when=At(ground.hour(-1))))
    assert (ground.row().planned_at, ground.row().due_at) == (None, None)


@pytest.mark.parametrize("made", [EVERYTHING, sums(), sums(when=Foreign(solar("sunset", 52.5, 13.4)))])
def test_what_is_declared_again_stays_as_it_is(ground: Ground, made: Schedule) -> None:
    ground.reconcile(made)
    before = ground.row()
    assert ground.reconcile(made) == NOTHING
    assert ground.row() == before


class Plain:
    """A schedule object without a word on how it looks."""

    def __init__(self, hours: float) -> None:
        self.hours = hours
        self.nowfun: Any = None

    def is_due(self, last: datetime) -> tuple[bool, float]:
        return False, self.hours * 3600


def test_an_object_looks_the_same_in_every_process(ground: Ground) -> None:
    """Python's own way to show one has its address in memory."""
    one, other = sums(when=Foreign(Plain(1))), sums(when=Foreign(Plain(1)))
    ground.reconcile(one)
    assert ground.reconcile(other) == NOTHING
    assert ground.reconcile(sums(when=Foreign(Plain(2)))) == Reconciled([], [NAME], [])


def test_schedulers_that_begin_at_once_agree(ground: Ground) -> None:
    declared = [ground.sums(f"schedule {number}") for number in range(20)]
    found: list[Reconciled] = []
    gate = threading.Barrier(3)

    def begin() -> None:
        gate.wait()
        found.append(ground.reconcile(*declared))

    threads = [threading.Thread(target=begin) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for done in found for name in done.added) == sorted(each.name for each in declared)
    assert all((done.changed, done.removed) == ([], []) for done in found)


# -- changed ----------------------------------------------------------------------------------------------------------


def test_a_change_that_moves_no_time_leaves_the_next_one_where_it_is(ground: Ground) -> None:
    ground.add(ground.sums(), since=1, by="tests")
    changed = ground.sums(kwargs={"left": 3, "right": 4}, overlap="allow", tags=("new",))
    assert ground.reconcile(changed) == Reconciled([], [NAME], [])
    row = ground.row()
    assert (row.definition, row.version, row.planned_at) == (changed.words(), 2, ground.hour(1))


def test_a_change_that_moves_no_time_takes_nothing_from_what_is_due(ground: Ground) -> None:
    ground.add(ground.sums(), since=0, by="tests")
    ground.reconcile(ground.sums(kwargs={"left": 3, "right": 4}))
    assert (ground.fires(), ground.row().planned_at) == ([], ground.hour(0))
    ground.fire_due()
    assert ground.messages[0].kwargs == {"left": 3, "right": 4}


def test_another_timetable_plans_from_now_on(ground: Ground) -> None:
    ground.add(ground.sums(), since=1, by="tests")
    ground.reconcile(ground.sums(when=Every(7200, phase=ground.last.timestamp() % 7200)))
    assert (ground.row().planned_at, ground.row().version) == (ground.hour(2), 2)
    assert ground.fires() == []


def test_what_was_due_before_ends_by_the_old_definition(ground: Ground) -> None:
    ground.add(ground.sums(), since=-2, by="tests")
    ground.reconcile(ground.sums(when=Every(7200, phase=ground.last.timestamp() % 7200), kwargs={}))
    assert ground.states() == ["missed", "missed", "fired"]
    (message,) = ground.messages
    assert (message.kwargs, message.headers["id"]) == (SUM, ground.fires()[-1].job_id)
    row = ground.row()
    assert (row.planned_at, row.previous_at, row.fires) == (ground.hour(2), ground.hour(0), 1)


def test_its_messages_are_left_to_the_relay(ground: Ground) -> None:
    """Nobody publishes them right after the commit, and the reconciler would take an hour to find that out."""
    ground.add(ground.sums(), by="tests")
    ground.reconcile(ground.sums(when=Every(7200)))
    assert ground.messages[0].row.published_at is None


def test_what_was_due_before_waits_if_a_job_runs(ground: Ground) -> None:
    ground.add(ground.sums(overlap="buffer one"), by="tests")
    ground.insert(ground.fire(-9, is_followed=True))
    ground.start("sums -9")
    ground.reconcile(ground.sums(overlap="skip", when=Every(7200)))
    assert ground.states() == ["fired", "waiting"]


def test_a_definition_that_nobody_can_read_any_more_is_replaced(ground: Ground) -> None:
    ground.add(ground.sums(), by="tests", definition={"task": "t", "when": {"kind": "sundial"}}, version=7)
    ground.reconcile(ground.sums())
    assert (ground.row().version, ground.row().planned_at, ground.states()) == (8, ground.hour(1), ["missed"])


def test_a_pause_outlives_a_change(ground: Ground) -> None:
    ground.add(ground.sums(), since=1, by="tests", failures=2)
    ground.changes.pause(NAME, "moving house")
    ground.reconcile(ground.sums(when=Every(7200)))
    assert (ground.row().pause_note, ground.row().failures) == ("moving house", 2)


def test_another_jitter_moves_the_moment_and_not_the_time(ground: Ground) -> None:
    """Otherwise the next fire comes by the old one: late, and perhaps counted as missed."""
    ground.add(ground.sums(jitter=3600.0), since=1, by="tests")
    ground.reconcile(ground.sums())
    assert (ground.row().planned_at, ground.row().due_at) == (ground.hour(1), ground.hour(1))


def test_a_schedule_that_has_had_its_most_fires_stays_over(ground: Ground) -> None:
    ground.add(ground.sums(max_fires=3), since=None, by="tests", planned_at=None, due_at=None, fires=3)
    ground.reconcile(ground.sums(max_fires=3, kwargs={"left": 0, "right": 0}))
    assert ground.row().planned_at is None
    ground.reconcile(ground.sums(max_fires=3, when=Every(60)))
    assert ground.row().planned_at is None


def test_it_goes_on_when_it_may_have_more(ground: Ground) -> None:
    ground.add(ground.sums(max_fires=3), since=None, by="tests", planned_at=None, due_at=None, fires=3)
    ground.reconcile(ground.sums(max_fires=4))
    assert ground.row().planned_at == ground.hour(1)


def test_what_was_due_before_counts_to_the_most_fires(ground: Ground) -> None:
    ground.add(ground.sums(max_fires=3), by="tests", fires=2)
    ground.reconcile(ground.sums(max_fires=3, when=Every(7200)))
    assert (ground.row().fires, ground.row().planned_at) == (3, None)


# -- removed ----------------------------------------------------------------------------------------------------------


def test_what_is_declared_no_more_goes(ground: Ground) -> None:
    ground.reconcile(ground.sums(), ground.sums("other"))
    assert ground.reconcile(ground.sums("other")) == Reconciled([], [], [NAME])
    assert ground.names == ["other"]
    assert ground.fires() == []


def test_what_waited_then_is_skipped(ground: Ground) -> None:
    ground.add(ground.sums(), since=1, by="tests")
    ground.insert(ground.fire(-9, is_followed=True), ground.fire(-1, WAITING))
    ground.reconcile()
    assert (ground.states(), ground.reasons()[1]) == (["fired", "skipped"], "its schedule was taken away")


def test_what_was_added_by_hand_is_left_alone(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    before = ground.row()
    assert ground.reconcile(ground.sums("declared")) == Reconciled(["declared"], [], [])
    assert ground.reconcile() == Reconciled([], [], ["declared"])
    assert ground.row() == before


def test_what_was_added_by_hand_becomes_the_applications_when_it_is_declared(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert ground.reconcile(ground.sums()) == Reconciled([], [NAME], [])
    assert (ground.row().declared_by, ground.row().planned_at) == ("tests", ground.hour(1))


def test_what_another_application_declares_is_left_alone(ground: Ground) -> None:
    ground.add(ground.sums(), since=1, by="somebody")
    assert ground.reconcile() == NOTHING
    assert ground.names == [NAME]


# -- what an application declares -------------------------------------------------------------------------------------


def declared(ground: Ground, entry: Any, name: str = "entry") -> Schedule:
    ground.app.conf.beat_schedule = {name: entry}
    (made,) = declared_by(ground.app)
    return made


def test_ours_and_celerys_are_declared_together(ground: Ground) -> None:
    ground.app.schedules = (ground.sums(),)
    ground.app.conf.beat_schedule = {"theirs": {"task": "legacy", "schedule": 5}}
    assert [each.name for each in declared_by(ground.app)] == [NAME, "theirs"]


def test_one_name_for_both_is_refused(ground: Ground) -> None:
    ground.app.schedules = (ground.sums(),)
    ground.app.conf.beat_schedule = {NAME: {"task": "legacy", "schedule": 5}}
    with pytest.raises(DeclarationError, match="'sums' is declared twice: as ours, and in beat_schedule"):
        declared_by(ground.app)


def test_a_schedule_is_in_the_deployments_zone_unless_it_names_its_own(ground: Ground) -> None:
    ground.app.conf.timezone = "Asia/Tokyo"
    ground.app.schedules = (sums("a"), sums("b", timezone="Europe/Berlin"))
    ground.app.conf.beat_schedule = {"c": {"task": "legacy", "schedule": crontab(hour=2, minute=0)}}
    assert [each.timezone for each in declared_by(ground.app)] == ["Asia/Tokyo", "Europe/Berlin", "Asia/Tokyo"]


@pytest.mark.parametrize(
    ("given", "when"),
    [
        (5, Every(5)),
        (2.5, Every(2.5)),
        (timedelta(minutes=5), Every(300)),
        (crontab(minute="*/15", hour="2-3"), Cron("0,15,30,45 2,3 * * *", days="both")),
    ],
)
def test_an_entry_of_celerys_has_the_same_times(ground: Ground, given: Any, when: Any) -> None:
    assert declared(ground, {"task": "legacy", "schedule": given}).when == when


def test_an_object_of_celerys_knows_its_application(ground: Ground) -> None:
    """Otherwise it asks the application that is current, which in a thread is none, or another one."""
    asked: list[Any] = []

    class Asking(solar):
        def is_due(self, last: datetime) -> tuple[bool, float]:
            asked.append(self.app)
            return True, 60

    ground.app.schedules = (sums(when=Foreign(Asking("sunset", 52.5, 13.4))),)
    (made,) = declared_by(ground.app)
    made.after(ground.last)
    assert all(app is ground.app for app in asked)


def test_an_entry_of_celerys_is_called_as_celery_calls_it(ground: Ground) -> None:
    entry = {"task": "legacy", "schedule": 5, "args": (1,), "kwargs": {"text": "{fire_time}"}}
    made = declared(ground, {**entry, "options": {"queue": "old", "expires": 3}})
    assert (made.args, made.kwargs, made.options) == ((1,), {"text": "{fire_time}"}, {"queue": "old", "expires": 3})
    assert (made.overlap, made.is_template) == ("allow", False)


def test_times_in_arguments_of_celerys_entries_stay_times(ground: Ground) -> None:
    entry = {"task": "legacy", "schedule": 5, "args": (datetime(2026, 1, 1, tzinfo=UTC),)}
    ground.reconcile(made := declared(ground, entry))
    assert Schedule.of("entry", ground.row("entry").definition or {}).args == made.args
    assert ground.reconcile(made) == NOTHING


@pytest.mark.parametrize(
    "entry",
    [
        {"task": "legacy"},
        {"schedule": 5},
        {"task": "legacy", "schedule": "hourly"},
        {"task": "legacy", "schedule": None},
        {"task": "legacy", "schedule": 0},
        {"task": None, "schedule": 5},
        {"task": "legacy", "schedule": 5, "args": (object(),)},
        {"task": "legacy", "schedule": 5, "kwargs": {"x": float("nan")}},
        {"task": "legacy", "schedule": 5, "options": {"producer": object()}},
    ],
)
def test_an_entry_that_makes_no_sense_is_refused_by_name(ground: Ground, entry: Any) -> None:
    with pytest.raises(DeclarationError, match="'entry'"):
        declared(ground, entry)


def test_schedules_without_a_ledger_are_refused_where_they_are_given(ground: Ground) -> None:
    from celery import Celery

    with pytest.raises(DeclarationError, match="schedules are rows of the ledger"):
        adopt(Celery("plain"), schedules=[ground.sums()])


def test_an_adopted_application_declares_what_it_was_given(ground: Ground) -> None:
    from celery import Celery

    app = adopt(Celery("plain", set_as_current=False), ledger=ground.url, schedules=[ground.sums()])
    app.conf.beat_schedule = {"theirs": {"task": "legacy", "schedule": 5}}
    assert [each.name for each in declared_by(app)] == [NAME, "theirs"]


def test_what_is_not_there_yet_fires_at_its_first_time_and_not_before(ground: Ground) -> None:
    """A new declaration has no past, however long its timetable has been going on."""
    ground.reconcile(ground.sums(when=Every(1), end=ground.last + HOUR))
    wait_for(lambda: ground.fire_due() or ground.fires(), "it fires")
    assert ground.fires()[0].planned_at > ground.row().created_at


def test_a_foreign_one_is_asked_later(ground: Ground) -> None:
    ground.reconcile(sums(when=Foreign(Odd(60))))
    row = ground.row()
    assert (row.kind, row.planned_at, row.definition["when"]) == (  # type: ignore[index]
        "celery",
        None,
        {"kind": "celery", "looks": "<odd: 60 s>"},
    )


# -- times that jitter puts off ---------------------------------------------------------------------------------------


def put_off(ground: Ground) -> Schedule:
    """A schedule one of whose times has come, and is not due yet."""
    made = next(
        each
        for number in range(100)
        if (each := ground.sums(f"sums {number}", jitter=3600)).due(ground.last) > ground.last + HOUR / 4
    )
    ground.add(made, by="tests")
    return made


def test_what_jitter_puts_off_fires_before_its_timetable_changes(ground: Ground) -> None:
    made = put_off(ground)
    ground.reconcile(replace(made, when=Every(60)))
    assert ground.states(made.name) == ["fired"]


def test_what_jitter_puts_off_is_on_the_books_when_its_schedule_goes(ground: Ground) -> None:
    made = put_off(ground)
    ground.reconcile()
    assert ground.states(made.name) == ["missed"]


# -- what Celery's entries may hold besides ---------------------------------------------------------------------------


def test_arguments_that_celery_computes_when_they_are_due_are_computed_then(ground: Ground) -> None:
    numbers = iter(range(10))
    entry = {
        "task": jobs.add.name,
        "schedule": ground.hourly.seconds,
        "args": (BeatLazyFunc(lambda: next(numbers)),),
        "kwargs": {"right": BeatLazyFunc(lambda: 7)},
    }
    ground.app.conf.beat_schedule = {"lazy": entry}
    (made,) = declared_by(ground.app)
    ground.add(made, since=-2)
    ground.put_back("lazy", -2)
    ground.fire_due()
    assert [(message.args, message.kwargs) for message in ground.messages] == [
        ([number], {"right": 7}) for number in range(len(ground.messages))
    ]
    assert ground.messages


def test_an_application_that_does_not_declare_them_cannot_compute_them(ground: Ground) -> None:
    entry = {"task": jobs.add.name, "schedule": 3600, "args": (BeatLazyFunc(lambda: 1), 2)}
    made = declared(ground, entry)
    ground.app.conf.beat_schedule = {}
    ground.add(made)
    ground.put_back("entry")
    ground.fire_due()
    (reason,) = ground.reasons("entry")
    assert "functions that are not declared here" in str(reason)


def test_a_name_that_celery_makes_of_a_whole_call_is_cut(ground: Ground) -> None:
    ground.app.conf.beat_schedule = {f"call({'x' * 300}{end})": {"task": "legacy", "schedule": 5} for end in "ab"}
    first, second = declared_by(ground.app)
    assert first.name.startswith("call(xxx")
    assert len(first.name) <= 200
    assert first.name != second.name


def test_a_schedule_that_is_taken_from_another_application_is_said(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    ground.add(ground.sums(), since=1, by="other")
    ground.reconcile(ground.sums())
    assert ground.row().declared_by == "tests"
    assert "was declared by other" in caplog.text


def test_keywords_keep_their_names_in_whatever_order_they_are_declared(ground: Ground) -> None:
    entry = {"task": jobs.add.name, "schedule": ground.hourly.seconds}
    first = {**entry, "kwargs": {"left": BeatLazyFunc(lambda: 1), "right": 2}}
    made = declared(ground, first)
    ground.app.conf.beat_schedule = {"entry": {**entry, "kwargs": {"right": 2, "left": BeatLazyFunc(lambda: 1)}}}
    ground.add(made)
    ground.put_back("entry")
    ground.fire_due()
    (message,) = ground.messages
    assert message.kwargs == {"left": 1, "right": 2}


# -- all that was due ---------------------------------------------------------------------------------------------


def test_every_time_that_was_due_is_on_the_books_when_a_schedule_goes(ground: Ground) -> None:
    ground.add(ground.sums(on_missed=HEAR), since=-5, by="tests")
    ground.reconcile()
    assert ground.states() == ["missed"] * 6
    (message,) = ground.messages
    assert len(message.args[1]) == 6


def test_a_foreign_time_that_was_due_is_on_the_books_when_its_timetable_changes(ground: Ground) -> None:
    ground.add(foreign(), since=-1, by="tests")
    ground.reconcile(foreign(1800))
    assert (ground.states(), ground.reasons()) == (["missed"], ["its timetable was changed"])


def test_jobs_that_run_count_from_when_their_schedule_begins_to_care(ground: Ground) -> None:
    ground.add(ground.sums(overlap="allow"), by="tests")
    ground.fire_due()
    ground.reconcile(ground.sums(overlap="skip"))
    ground.an_hour_passes()
    ground.fire_due()
    assert ground.states() == ["fired", "skipped"]


def test_a_schedule_that_is_over_before_it_begins_is_said(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    ground.reconcile(ground.sums(when=At(ground.last)))
    assert "never fires" in caplog.text


def test_of_two_that_begin_at_once_with_other_declarations_the_last_one_is_heard(ground: Ground) -> None:
    ground.reconcile(ground.sums(tags=("a",)))
    assert ground.reconcile(ground.sums(tags=("b",))).changed == [NAME]


def test_without_utc_celerys_own_zone_counts(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.app.conf.timezone = "America/New_York"
    monkeypatch.delitem(vars(ground.app), "timezone", raising=False)
    assert zone_name(ground.app) == "America/New_York"
