"""What becomes of each planned time: rows in, decisions out."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.ledger.fires import FireState
from penstock.scheduler import At, Cron, Every, Schedule
from penstock.scheduler.planning import GRACE, NEWER, ONE_WAITS, OVERLAP, Decision, Plan, Standing, plan
from tests.scheduler.ground import sums

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
FIRED, WAITING, SKIPPED, MISSED = FireState.FIRED, FireState.WAITING, FireState.SKIPPED, FireState.MISSED


def planned(made: Schedule, now: datetime = NOON, *, hours: float = 0, **standing: Any) -> Plan:
    """What is decided at noon of a schedule on which nothing was decided since so many hours ago."""
    return plan(made, Standing(NOON - timedelta(hours=hours), **standing), now)


def states(plan: Plan) -> list[FireState]:
    return [decision.state for decision in plan.decisions]


def reasons(plan: Plan) -> list[str | None]:
    return [decision.reason for decision in plan.decisions]


# -- one time ---------------------------------------------------------------------------------------------------------


def test_what_is_due_fires_and_the_next_time_is_planned() -> None:
    done = planned(sums())
    assert done == Plan(Standing(NOON + HOUR, fires=1, is_busy=True, due_at=NOON + HOUR), [Decision(NOON, FIRED)])


def test_what_is_not_due_is_left_alone() -> None:
    standing = Standing(NOON, fires=3)
    assert plan(sums(), standing, NOON - SECOND / 1000) == Plan(standing)


def test_a_schedule_that_is_over_plans_nothing() -> None:
    assert plan(sums(), Standing(None), NOON) == Plan(Standing(None))


def test_the_last_time_ends_a_schedule() -> None:
    assert planned(sums(when=At(NOON))).standing.planned_at is None
    assert planned(sums(end=NOON)).standing.planned_at is None


def test_with_jitter_a_time_is_due_later() -> None:
    made = sums(jitter=3600)
    due = made.due(NOON)
    assert planned(made, due - timedelta(microseconds=1)).decisions == []
    assert states(planned(made, due)) == [FIRED]


# -- late ones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_the_first_minute_is_not_late(catch_up: Any) -> None:
    assert states(planned(sums(catch_up=catch_up), NOON + GRACE)) == [FIRED]


def test_after_it_a_time_that_is_not_caught_up_with_is_missed() -> None:
    done = planned(sums(catch_up="none"), NOON + GRACE + SECOND)
    assert (states(done), reasons(done)) == ([MISSED], ["no scheduler was up until 61 s later"])


def test_of_late_ones_the_latest_starts() -> None:
    done = planned(sums(), NOON + 10 * MINUTE, hours=3)
    assert states(done) == [MISSED, MISSED, MISSED, FIRED]
    assert reasons(done)[0] == "no scheduler was up until 3:10:00 later, and a newer one was due"


def test_of_late_ones_all_start_if_that_is_wanted() -> None:
    assert states(planned(sums(catch_up="all", overlap="allow"), hours=3)) == [FIRED] * 4


def test_of_late_ones_none_but_the_punctual_start_if_that_is_wanted() -> None:
    assert states(planned(sums(catch_up="none"), hours=3)) == [MISSED, MISSED, MISSED, FIRED]


def test_of_late_ones_those_start_that_are_within_the_window() -> None:
    done = planned(sums(catch_up=2 * HOUR, overlap="allow"), hours=3)
    assert states(done) == [MISSED, FIRED, FIRED, FIRED]
    assert reasons(done)[0] == "no scheduler was up until 3:00:00 later, its window is 2:00:00"


def test_how_late_a_time_is_counts_from_when_it_was_due() -> None:
    made = sums(catch_up="none", jitter=3600)
    assert states(planned(made, made.due(NOON) + GRACE)) == [FIRED]


# -- rules that leave out ---------------------------------------------------------------------------------------------


def test_what_falls_on_an_excluded_day_is_skipped() -> None:
    done = planned(sums(exclude=(date(2026, 3, 1),)))
    assert (states(done), reasons(done)) == ([SKIPPED], ["excluded: 2026-03-01"])


@pytest.mark.parametrize(("note", "reason"), [("", "paused"), ("until Ada is back", "paused: until Ada is back")])
def test_what_is_planned_in_a_pause_is_skipped_with_its_note(note: str, reason: str) -> None:
    done = planned(sums(), hours=1, pause=note)
    assert (states(done), reasons(done)) == ([SKIPPED] * 2, [reason] * 2)
    assert done.standing == Standing(NOON + HOUR, pause=note, due_at=NOON + HOUR)


def test_a_pause_comes_before_lateness() -> None:
    assert reasons(planned(sums(catch_up="none"), hours=3, pause="")) == ["paused"] * 4


def test_what_started_no_job_does_not_count_to_the_most() -> None:
    done = planned(sums(max_fires=1, catch_up="none"), hours=5)
    assert states(done) == [MISSED] * 5 + [FIRED]
    assert done.standing.planned_at is None


def test_after_its_most_fires_a_schedule_is_over() -> None:
    done = planned(sums(max_fires=3, catch_up="all", overlap="allow"), hours=9, fires=1)
    assert (states(done), done.standing) == ([FIRED] * 2, Standing(None, fires=3, is_busy=True))


# -- while a job runs -------------------------------------------------------------------------------------------------


def test_while_a_job_runs_a_fire_is_skipped() -> None:
    done = planned(sums(), is_busy=True)
    assert (states(done), reasons(done)) == ([SKIPPED], [OVERLAP])


def test_while_a_job_runs_one_fire_waits_and_further_ones_are_skipped() -> None:
    done = planned(sums(overlap="buffer one", catch_up="all"), hours=2, is_busy=True)
    assert (states(done), reasons(done)) == ([WAITING, SKIPPED, SKIPPED], [OVERLAP, ONE_WAITS, ONE_WAITS])


def test_a_fire_that_waits_already_keeps_its_place() -> None:
    assert reasons(planned(sums(overlap="buffer one"), is_busy=True, waiting=1)) == [ONE_WAITS]


def test_while_a_job_runs_all_fires_wait() -> None:
    done = planned(sums(overlap="buffer all", catch_up="all"), hours=2, is_busy=True, waiting=4)
    assert (states(done), done.standing.waiting, done.standing.fires) == ([WAITING] * 3, 7, 3)


def test_while_a_job_runs_the_newest_fire_waits_in_place_of_all_others() -> None:
    done = planned(sums(overlap="cancel other", catch_up="all"), hours=2, is_busy=True, waiting=1, fires=2)
    assert (states(done), reasons(done)) == ([SKIPPED, SKIPPED, WAITING], [NEWER, NEWER, OVERLAP])
    assert done.drops_waiting
    assert (done.standing.waiting, done.standing.fires) == (1, 2)


def test_while_a_job_runs_a_fire_starts_if_that_is_allowed() -> None:
    assert states(planned(sums(overlap="allow"), is_busy=True)) == [FIRED]


def test_the_first_of_several_starts_and_the_others_overlap_it() -> None:
    done = planned(sums(catch_up="all"), hours=2)
    assert (states(done), reasons(done)) == ([FIRED, SKIPPED, SKIPPED], [None, OVERLAP, OVERLAP])


def test_what_is_missed_does_not_wait() -> None:
    assert states(planned(sums(overlap="buffer all", catch_up="none"), hours=2, is_busy=True)) == [
        MISSED,
        MISSED,
        WAITING,
    ]


# -- whatever the rules -----------------------------------------------------------------------------------------------

WINDOWS = st.integers(61, 86_400).map(lambda seconds: timedelta(seconds=seconds))
SCHEDULES = st.builds(
    sums,
    when=st.sampled_from((Every(60), Every(3600), Every(7000, phase=11), At(NOON), Cron("*/20 3-9 * * *"))),
    overlap=st.sampled_from(("skip", "buffer one", "buffer all", "cancel other", "allow")),
    catch_up=st.sampled_from(("none", "latest", "all")) | WINDOWS,
    jitter=st.sampled_from((0.0, 0.0, 30.0, 5000.0)),
    max_fires=st.none() | st.integers(1, 30),
    exclude=st.just(()) | st.just((date(2026, 3, 1),)),
    end=st.none() | st.integers(0, 600).map(lambda minutes: NOON + minutes * MINUTE),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Schedule, Standing, datetime]:
    """A schedule of which something is due, and how far it is."""
    made = draw(SCHEDULES)
    start = NOON - timedelta(minutes=draw(st.integers(1, 2000)))
    is_busy, fires = draw(st.booleans()), draw(st.integers(0, 9))
    waits = is_busy and made.overlap not in ("skip", "allow")
    waiting = draw(st.integers(0, 1 if made.overlap in ("buffer one", "cancel other") else 5)) if waits else 0
    pause = draw(st.none() | st.just("") | st.just("a note"))
    standing = Standing(made.after(start), fires + waiting, pause, is_busy, waiting)
    return made, standing, start + timedelta(seconds=draw(st.integers(0, 100_000)))


def chain(made: Schedule, first: datetime | None, now: datetime) -> list[datetime]:
    """The times from the first on that are due, as far as the one before was."""
    found: list[datetime] = []
    while first is not None and made.due(first) <= now:
        found.append(first)
        first = made.after(first)
    return found


@settings(max_examples=300, deadline=None)
@given(situations())
def test_every_time_that_is_due_gets_one_decision_in_order(situation: tuple[Schedule, Standing, datetime]) -> None:
    made, standing, now = situation
    done = plan(made, standing, now, most=10**6)
    due = chain(made, standing.planned_at, now)
    decided = [decision.planned_at for decision in done.decisions]
    assert decided == due[: len(decided)]
    is_over = made.max_fires is not None and done.standing.fires >= made.max_fires
    assert len(decided) == len(due) or (is_over and done.standing.planned_at is None)


@settings(max_examples=300, deadline=None)
@given(situations())
def test_every_decision_but_a_fire_says_why(situation: tuple[Schedule, Standing, datetime]) -> None:
    for decision in plan(*situation, most=10**6).decisions:
        assert (decision.state is FIRED) == (decision.reason is None)


@settings(max_examples=300, deadline=None)
@given(situations())
def test_what_fires_and_what_waits_is_counted(situation: tuple[Schedule, Standing, datetime]) -> None:
    made, standing, now = situation
    done = plan(made, standing, now, most=10**6)
    fired, waiting = states(done).count(FIRED), states(done).count(WAITING)
    kept = 0 if done.drops_waiting else standing.waiting
    assert done.standing.waiting == kept + waiting
    assert done.standing.fires == standing.fires - standing.waiting + kept + fired + waiting
    assert made.max_fires is None or done.standing.fires <= max(made.max_fires, standing.fires + 1)


@settings(max_examples=300, deadline=None)
@given(situations())
def test_overlap_is_obeyed(situation: tuple[Schedule, Standing, datetime]) -> None:
    made, standing, now = situation
    done = plan(made, standing, now, most=10**6)
    if made.overlap == "allow":
        assert WAITING not in states(done)
    else:
        assert states(done).count(FIRED) <= (0 if standing.is_busy else 1)
    if made.overlap in ("skip", "buffer one", "cancel other"):
        assert done.standing.waiting <= (0 if made.overlap == "skip" else 1)


@settings(max_examples=300, deadline=None)
@given(situations(), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_in_slices_of_any_size_the_decisions_are_those_of_one_go(
    situation: tuple[Schedule, Standing, datetime], sizes: list[int]
) -> None:
    """A scheduler that was away for long decides in several transactions, and may die between them."""
    made, standing, now = situation
    whole = plan(made, standing, now, most=10**6)
    decisions, turn, drops = list[Decision](), 0, False
    while (part := plan(made, standing, now, most=sizes[turn % len(sizes)])).decisions:
        if part.drops_waiting:
            drops, decisions = True, [dropped(each) for each in decisions]
        decisions += part.decisions
        standing, turn = part.standing, turn + 1
    assert (decisions, standing, drops) == (whole.decisions, whole.standing, whole.drops_waiting)


def dropped(decision: Decision) -> Decision:
    """As the ledger does it to fires that wait."""
    return replace(decision, state=SKIPPED, reason=NEWER) if decision.state is WAITING else decision


@settings(max_examples=100, deadline=None)
@given(situations())
def test_times_that_were_asked_before_make_the_same_plan(situation: tuple[Schedule, Standing, datetime]) -> None:
    made, standing, now = situation
    due = chain(made, standing.planned_at, now)
    asked = {each: made.after(each) for each in due}
    assert plan(made, standing, now, asked.__getitem__, 10**6) == plan(made, standing, now, most=10**6)


# -- times that jitter puts behind later ones, and days that are left out ---------------------------------------------


def test_a_time_that_jitter_puts_behind_a_later_one_takes_that_along_and_neither_is_missed() -> None:
    made = sums(when=Every(60), jitter=3600, catch_up="none", overlap="allow")
    standing, decided = Standing(NOON), list[Decision]()
    for minute in range(600):
        done = plan(made, standing, NOON + minute * MINUTE)
        standing = done.standing
        decided += done.decisions
    assert {decision.state for decision in decided} == {FIRED}
    assert [decision.planned_at for decision in decided] == [NOON + n * MINUTE for n in range(len(decided))]
    assert len(decided) > 500


def test_the_latest_time_that_may_start_starts_though_a_later_one_is_left_out() -> None:
    made = sums(when=Every(86400), exclude=(NOON.date(),), catch_up="latest")
    done = plan(made, Standing(datetime(2026, 2, 27, tzinfo=UTC)), NOON)
    assert states(done) == [MISSED, FIRED, SKIPPED]


@pytest.mark.parametrize(
    ("overlap", "state"), [("buffer one", SKIPPED), ("buffer all", WAITING), ("cancel other", WAITING)]
)
def test_a_fire_does_not_overtake_one_that_waits_for_a_job_that_has_just_ended(overlap: Any, state: FireState) -> None:
    done = planned(sums(overlap=overlap), waiting=1, is_busy=False)
    assert states(done) == [state]


def test_a_whole_day_of_minutes_that_is_left_out_hides_no_time_before_it() -> None:
    made = sums(when=Every(60), exclude=(NOON.date(),), catch_up="latest", overlap="allow")
    done = plan(made, Standing(NOON - 12 * HOUR - MINUTE), NOON, most=3)
    assert states(done) == [FIRED, SKIPPED, SKIPPED]
