"""From times that are due to jobs: one transaction, one fire for each time, however many schedulers there are."""

import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from penstock.ledger import schedules
from penstock.ledger.fires import FireState, Origin
from penstock.ledger.session import own_connection, writing
from penstock.ledger.tables import fires as fires_table
from penstock.scheduler import firing
from penstock.scheduler.timetables.timing import kind
from penstock.scheduler.timetables.zones import zone_of
from tests import jobs
from tests.scheduler.ground import HEAR, NAME, Ground, planned

UNREADABLE = {"task": "tests.jobs.add", "when": {"kind": "sundial"}}


# -- what a fire leaves behind ----------------------------------------------------------------------------------------


def test_a_time_that_is_due_becomes_a_fire_and_its_job_a_message(ground: Ground) -> None:
    ground.add(ground.sums())
    (published,) = ground.fire_due()
    (fire,), (message,) = ground.fires(), ground.messages
    assert (fire.planned_at, fire.origin, fire.state, fire.reason) == (
        ground.hour(0),
        Origin.PLANNED,
        FireState.FIRED,
        None,
    )
    assert fire.job_id == published.job_id == message.headers["id"]
    assert (message.headers["task"], message.kwargs) == ("tests.jobs.add", {"left": 1, "right": 2})


def test_its_message_is_in_the_outbox_as_published_by_whoever_wrote_it(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.fire_due()
    assert ground.messages[0].row.published_at is not None


def test_its_schedule_has_moved_on(ground: Ground) -> None:
    made = ground.sums(jitter=1.0)
    ground.add(made, fires=6)
    ground.fire_due()
    row = ground.row()
    assert (row.planned_at, row.due_at) == (ground.hour(1), made.due(ground.hour(1)))
    assert (row.previous_at, row.fires) == (ground.hour(0), 7)


def test_what_was_decided_is_decided_by_the_databases_clock(ground: Ground) -> None:
    ground.add(ground.sums())
    with closing(own_connection(ground.url)) as connection, connection.begin():
        before = schedules.clock(connection)
    ground.fire_due()
    assert ground.fires()[0].decided_at >= before


def test_nothing_is_due_before_its_time(ground: Ground) -> None:
    ground.add(ground.sums(), since=1)
    assert ground.fire_due() == []
    assert ground.fires() == []


def test_a_schedule_that_was_away_for_long_is_decided_in_slices(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "MOST_AT_ONCE", 3)
    ground.add(ground.sums(), since=-9)
    ground.fire_due()
    assert ground.states() == ["missed"] * 9 + ["fired"]
    assert planned(ground.fires()) == [ground.hour(n) for n in range(-9, 1)]


def test_a_batch_has_a_bound_and_the_longest_due_comes_first(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "BATCH", 1)
    ground.add(ground.sums("newer"), ground.sums("older"))
    ground.set("older", due_at=ground.last - timedelta(seconds=1))
    with closing(own_connection(ground.url)) as connection:
        ground.firing().fire_due(connection)
    assert (ground.states("older"), ground.states("newer")) == (["fired"], [])


def test_a_time_that_has_a_fire_gets_no_second_job(ground: Ground) -> None:
    """Whoever made it: the row of the schedule may have been restored from a backup, the fires not."""
    ground.add(ground.sums())
    ground.insert(ground.fire(0))
    assert ground.fire_due() == []
    assert (ground.messages, ground.fires()[0].job_id) == ([], "sums 0")
    assert ground.row().planned_at == ground.hour(1)


def test_without_a_commit_nothing_has_happened(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    ground.add(ground.sums())
    monkeypatch.setattr(schedules, "move_on", die)
    with closing(own_connection(ground.url)) as connection, pytest.raises(KeyboardInterrupt):
        ground.firing().fire_due(connection)
    assert (ground.fires(), ground.messages, ground.row().planned_at) == ([], [], ground.hour(0))


# -- several schedulers -----------------------------------------------------------------------------------------------


def test_a_schedule_that_somebody_has_is_passed_over(postgresql_ground: Ground) -> None:
    ground = postgresql_ground
    ground.add(ground.sums(), ground.sums("free"))
    with ground.held():
        ground.fire_due()
        assert (ground.states(), ground.states("free")) == ([], ["fired"])
    ground.fire_due()
    assert ground.states() == ["fired"]


def test_schedulers_that_decide_at_once_share_the_schedules(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"schedule {number}" for number in range(40)]
    ground.add(*(ground.sums(name) for name in names))
    monkeypatch.setattr(firing, "BATCH", 3)
    gate = threading.Barrier(3)

    def work() -> None:
        gate.wait()
        ground.fire_due()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ground.states(name) for name in names] == [["fired"]] * 40
    assert len({message.headers["id"] for message in ground.messages}) == 40


def test_the_key_of_a_fire_decides_when_two_have_read_the_same_schedule(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if there were no lock: the second one takes what the first has decided on meanwhile."""
    ground.add(ground.sums())
    row = ground.row()
    ground.fire_due()
    monkeypatch.setattr(schedules, "take_due", lambda *_, since=None: [row] if since else [])
    with closing(own_connection(ground.url)) as connection:
        assert ground.firing().fire_due(connection) == (1, [])
    assert (len(ground.fires()), len(ground.messages)) == (1, 1)


# -- overlap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["waits", "runs"])
@pytest.mark.parametrize(
    ("overlap", "state"),
    [("skip", "skipped"), ("buffer one", "waiting"), ("buffer all", "waiting"), ("cancel other", "waiting")],
)
def test_a_job_that_has_not_ended_holds_up_the_next_fire(ground: Ground, overlap: Any, state: str, stage: str) -> None:
    ground.add(ground.sums(overlap=overlap))
    ground.fire_due()
    if stage == "runs":
        ground.start(ground.fires()[0].job_id)
    ground.an_hour_passes()
    ground.fire_due()
    assert ground.states() == ["fired", state]


def test_a_job_that_has_ended_holds_up_nothing(ground: Ground) -> None:
    ground.add(ground.sums())
    ground.fire_due()
    ground.end_all()
    ground.an_hour_passes()
    ground.fire_due()
    assert ground.states() == ["fired", "fired"]


def test_jobs_whose_ends_have_no_consequences_are_not_followed(ground: Ground) -> None:
    ground.add(ground.sums(overlap="allow"))
    ground.add(ground.sums("ruled", overlap="allow", pause_after_failures=2))
    ground.fire_due()
    ground.an_hour_passes()
    ground.fire_due()
    assert ground.states() == ["fired", "fired"]
    assert [fire.is_followed for fire in [*ground.fires(), *ground.fires("ruled")]] == [False, False, True]


def test_a_newer_fire_takes_the_place_of_one_that_waits(ground: Ground) -> None:
    ground.add(ground.sums(overlap="cancel other"), fires=2)
    ground.insert(ground.fire(-2, is_followed=True), ground.fire(-1, FireState.WAITING))
    ground.start("sums -2")
    ground.fire_due()
    assert ground.states() == ["fired", "skipped", "waiting"]
    assert ground.reasons()[1] == "overlap: a newer fire has taken its place"
    assert ground.row().fires == 2


def test_it_does_not_take_the_place_of_one_that_is_made_up_for(ground: Ground) -> None:
    ground.add(ground.sums(overlap="cancel other"))
    ground.insert(ground.fire(-9, is_followed=True), ground.fire(-8, FireState.WAITING, origin=Origin.BACKFILLED))
    ground.start("sums -9")
    ground.fire_due()
    assert ground.states() == ["fired", "waiting", "waiting"]


def test_what_is_made_up_for_counts_to_no_buffer(ground: Ground) -> None:
    ground.add(ground.sums(overlap="buffer one"))
    ground.insert(ground.fire(-9, is_followed=True), ground.fire(-8, FireState.WAITING, origin=Origin.BACKFILLED))
    ground.start("sums -9")
    ground.fire_due()
    assert ground.states()[-1] == "waiting"


# -- what is wrong with one keeps no other from its time --------------------------------------------------------------


def test_a_call_that_is_broken_ends_as_missed_and_the_others_fire(ground: Ground) -> None:
    ground.add(ground.sums("broken", kwargs={"left": 1}), ground.sums())
    ground.fire_due()
    assert (ground.states("broken"), ground.states()) == (["missed"], ["fired"])
    (reason,) = ground.reasons("broken")
    assert reason is not None
    assert reason.startswith("error: ArgumentError: tests.jobs.add")
    assert "right" in reason


def test_a_call_that_is_broken_counts_to_no_most_and_is_no_previous_fire(ground: Ground) -> None:
    ground.add(ground.sums(kwargs={}, max_fires=1))
    ground.fire_due()
    row = ground.row()
    assert (row.fires, row.previous_at, row.planned_at) == (0, None, ground.hour(1))


def test_a_call_that_is_broken_holds_up_no_later_one(ground: Ground) -> None:
    """Nothing runs, so nothing overlaps."""
    ground.add(ground.sums(kwargs={}, catch_up="all"), since=-2)
    ground.fire_due()
    assert ground.states() == ["missed"] * 3


def test_a_definition_that_this_version_cannot_read_is_left_alone(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    ground.add(ground.sums("newer"), definition=UNREADABLE)
    ground.add(ground.sums())
    ground.fire_due()
    assert (ground.states("newer"), ground.states()) == ([], ["fired"])
    assert ground.row("newer").planned_at == ground.hour(0)
    assert len([each for each in caplog.messages if "'newer' cannot be read by this version" in each]) == 1


def test_it_fires_when_somebody_has_mended_it(ground: Ground) -> None:
    ground.add(ground.sums(), definition=UNREADABLE)
    mine = ground.firing()
    ground.fire_due(mine)
    ground.set(definition=ground.sums().words(), version=2)
    mine.known.reconsider()
    ground.fire_due(mine)
    assert ground.states() == ["fired"]


class Sundial:
    """A timetable with a mistake in it."""

    kind = "sundial of the tests"

    def after(self, *_: object) -> None:
        raise RuntimeError("no sun")

    def words(self) -> dict[str, Any]:
        return {"kind": self.kind}


def test_a_timetable_that_fails_keeps_no_other_from_its_time(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    kind(Sundial.kind, lambda _: Sundial())  # type: ignore[arg-type,return-value]
    ground.add(ground.sums("dark"), definition={"task": "tests.jobs.add", "when": {"kind": Sundial.kind}})
    ground.add(ground.sums())
    ground.fire_due()
    assert (ground.states("dark"), ground.states()) == ([], ["fired"])
    assert "'dark'" in caplog.text
    assert "no sun" in caplog.text


# -- what was missed --------------------------------------------------------------------------------------------------


def test_who_wants_to_know_is_told_once_of_all_that_was_missed(ground: Ground) -> None:
    ground.add(ground.sums(on_missed=HEAR, catch_up="none", timezone="Asia/Tokyo"), since=-3)
    ground.fire_due()
    told = [message for message in ground.messages if message.headers["task"] == HEAR]
    (message,) = told
    name, times, reason = message.args
    assert name == NAME
    assert times == [ground.hour(n).astimezone(zone_of("Asia/Tokyo")).isoformat() for n in (-3, -2, -1)]
    assert reason.startswith("no scheduler was up until ")
    assert reason.count("; ") == 2
    assert message.headers["schedule"] == NAME


def test_a_listener_that_is_not_there_keeps_nothing_from_its_time(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    # tests.jobs.add takes no three arguments.
    ground.add(ground.sums(on_missed=jobs.add.name), since=-1)
    ground.fire_due()
    assert ground.states() == ["missed", "fired"]
    assert "its on_missed cannot be told" in caplog.text


def test_what_was_not_missed_is_told_to_nobody(ground: Ground) -> None:
    ground.add(ground.sums(on_missed=HEAR))
    ground.fire_due()
    assert len(ground.messages) == 1


def test_who_wants_to_know_is_told_some_of_many_reasons(ground: Ground) -> None:
    ground.add(ground.sums(on_missed=HEAR, catch_up="none"), since=-9)
    ground.fire_due()
    (message,) = (message for message in ground.messages if message.headers["task"] == HEAR)
    _, times, reason = message.args
    assert len(times) == 9
    assert reason.endswith("; and 6 more")


# -- more than a transaction should hold ------------------------------------------------------------------------------


def test_what_is_due_now_comes_before_all_that_is_late(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage, a schedule that is in time does not wait until all others have caught up."""
    monkeypatch.setattr(firing, "LATE_BATCH", 2)
    ground.add(*(ground.sums(f"late {number}", catch_up="all", overlap="allow") for number in range(5)), since=-4)
    ground.add(ground.sums("in time"))
    mine = ground.firing()
    with closing(own_connection(ground.url)) as connection:
        count, _ = mine.fire_due(connection)
    assert count == 3
    assert ground.states("in time") == ["fired"]
    ground.fire_due(mine)
    assert {tuple(ground.states(f"late {number}")) for number in range(5)} == {("fired",) * 5}


def test_a_transaction_ends_after_a_moment_and_leaves_the_rest_due(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "DECIDE_SECONDS", 0.0)
    ground.add(*(ground.sums(f"{number}") for number in range(3)))
    mine = ground.firing()
    with closing(own_connection(ground.url)) as connection:
        assert [mine.fire_due(connection)[0] for _ in range(4)] == [1, 1, 1, 0]
    assert len(ground.messages) == 3


def test_a_schedule_that_is_made_again_under_its_name_goes_by_what_it_says_now(ground: Ground) -> None:
    mine = ground.firing()
    ground.add(ground.sums(kwargs={"left": 1, "right": 1}))
    ground.fire_due(mine)
    ground.changes.remove(NAME)
    ground.add(ground.sums(kwargs={"left": 99, "right": 1}), since=1)
    ground.put_back(number=0)
    with writing(ground.url) as connection:
        connection.execute(delete(fires_table))
    ground.fire_due(mine)
    assert [message.kwargs["left"] for message in ground.messages] == [1, 99]
