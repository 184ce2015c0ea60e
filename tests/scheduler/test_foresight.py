"""Timetables that somebody else has written are asked ahead of time, in threads, and delay nobody."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from penstock.ledger.session import own_connection
from penstock.scheduler import Foreign, Schedule, firing, foresight, planning
from penstock.scheduler.firing import Firing
from penstock.scheduler.foresight import Foresight
from tests.live import wait_for
from tests.scheduler.ground import NAME, Ground, Odd, foreign, planned, sums


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(foresight, "AGAIN_SECONDS", 0.1)


class Scheduler:
    """One that looks ahead in threads, and fires when it is told."""

    def __init__(self, ground: Ground, *declared: Schedule) -> None:
        self.ground, self.foresight = ground, Foresight(ground.url, declared)
        self.firing = Firing(ground.app, self.foresight)
        self.foresight.start()

    def fires(self, name: str = NAME, count: int = 1) -> list[datetime]:
        """The planned times of its first fires."""

        def look() -> bool:
            self.ground.fire_due(self.firing)
            return len(self.ground.fires(name)) >= count

        wait_for(look, f"{count} fires of {name}", 10)
        return planned(self.ground.fires(name))


@contextmanager
def scheduler(ground: Ground, *declared: Schedule) -> Iterator[Scheduler]:
    made = Scheduler(ground, *declared)
    try:
        yield made
    finally:
        made.foresight.stop()


def of_these_hours(ground: Ground, **values: Any) -> Schedule:
    """A schedule with an object that is due at the ground's hours."""
    return sums(when=Foreign(Shifted(3600, ground.last)), **values)


class Shifted(Odd):
    """Due every so many seconds, counted from a moment."""

    def __init__(self, seconds: float, origin: datetime, also: Any = lambda: None) -> None:
        super().__init__(seconds, also)
        self.origin = origin

    def is_due(self, last: datetime) -> tuple[bool, float]:
        self._also()
        assert self.nowfun is not None
        passed = (self.nowfun() - self.origin).total_seconds()
        return passed // self.seconds > (last - self.origin).total_seconds() // self.seconds, (
            self.seconds - passed % self.seconds
        )


# -- in time ----------------------------------------------------------------------------------------------------------


def test_a_new_one_gets_its_first_time(ground: Ground) -> None:
    made = of_these_hours(ground, jitter=30.0)
    ground.reconcile(made)
    with scheduler(ground, made):
        wait_for(lambda: ground.row().planned_at, "it is planned")
    assert (ground.row().planned_at, ground.row().due_at) == (ground.hour(1), made.due(ground.hour(1)))


def test_it_fires_when_it_is_due(ground: Ground) -> None:
    made = of_these_hours(ground)
    ground.add(made, since=-2)
    with scheduler(ground, made) as mine:
        assert mine.fires(count=3) == [ground.hour(n) for n in (-2, -1, 0)]
    assert ground.states() == ["missed", "missed", "fired"]
    assert (ground.row().planned_at, ground.messages[0].kwargs) == (ground.hour(1), {"left": 1, "right": 2})


def test_it_comes_at_the_same_times_whoever_asks(ground: Ground) -> None:
    made = sums(when=Foreign(Odd(1)), overlap="allow")
    ground.reconcile(made)
    with scheduler(ground, made) as mine, scheduler(ground, made) as other:
        mine.fires(count=1)
        other.fires(count=2)
        times = mine.fires(count=3)
    assert [at.microsecond for at in times] == [0] * len(times)
    assert {after - before for before, after in pairwise(times)} == {timedelta(seconds=1)}


def test_nothing_is_taken_before_its_times_are_known(ground: Ground) -> None:
    made = of_these_hours(ground)
    ground.add(made, since=-2)
    with closing(own_connection(ground.url)) as connection:
        assert ground.firing(made).fire_due(connection) == (0, [])
    assert ground.row().planned_at == ground.hour(-2)


def test_whoever_does_not_declare_it_leaves_it_alone(ground: Ground) -> None:
    ground.add(of_these_hours(ground))
    with scheduler(ground, foreign(name="other")) as mine:
        assert ground.fire_due(mine.firing) == []
    assert ground.fires() == []


def test_without_any_there_is_no_thread(ground: Ground) -> None:
    before = threading.active_count()
    with scheduler(ground, sums()):
        assert threading.active_count() == before


def test_one_that_is_over_is_asked_no_more(ground: Ground) -> None:
    asked: list[int] = []
    made = sums(when=Foreign(Shifted(3600, ground.last, lambda: asked.append(1))), max_fires=1)
    ground.add(made)
    with scheduler(ground, made) as mine:
        mine.fires()
        wait_for(lambda: ground.row().planned_at is None, "it is over")
        count = len(asked)
        for _ in range(5):
            mine.foresight._look()
    assert len(asked) == count
    assert ground.states() == ["fired"]


def test_one_whose_end_has_come_is_asked_once_more(ground: Ground) -> None:
    made = of_these_hours(ground, end=ground.last)
    ground.add(made)
    with scheduler(ground, made) as mine:
        mine.fires()
        wait_for(lambda: mine.foresight._asked[NAME].again_at == float("inf"), "it is known to be over")
    assert ground.row().planned_at is None


# -- slow, wrong and far behind ---------------------------------------------------------------------------------------


def test_one_that_hangs_delays_no_other(ground: Ground) -> None:
    hanging, asked = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        hanging.wait(30)

    stuck = sums("stuck", when=Foreign(Shifted(3600, ground.last, hang)))
    ground.add(stuck, of_these_hours(ground), ground.sums("ours"))
    with scheduler(ground, stuck, of_these_hours(ground)) as mine:
        assert asked.wait(10)
        mine.fires()
        mine.fires("ours")
        assert ground.fires("stuck") == []
        hanging.set()
        mine.fires("stuck")


def test_it_fires_what_was_known_before_it_hung(ground: Ground) -> None:
    made = of_these_hours(ground)
    ground.add(made, since=-1)
    asked = Foresight(ground.url, [made])
    asked._asked[NAME].times = {ground.hour(n): ground.hour(n + 1) for n in (-1, 0)}
    asked._asked[NAME].planned_at = ground.hour(-1)
    asked._asked[NAME].is_in_hand = True
    ground.fire_due(Firing(ground.app, asked))
    assert ground.states() == ["missed", "fired"]


def test_one_that_fails_is_asked_again(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    failures = iter([RuntimeError("no sun"), RuntimeError("no moon")])

    def fail() -> None:
        if error := next(failures, None):
            raise error

    made = sums(when=Foreign(Shifted(3600, ground.last, fail)))
    ground.add(made)
    with scheduler(ground, made) as mine:
        mine.fires()
    said = [each for each in caplog.messages if "cannot say when it is due" in each]
    assert said == [f"schedule 'sums' cannot say when it is due: RuntimeError: no {what}" for what in ("sun", "moon")]


def test_one_that_is_far_behind_catches_up_in_slices(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """More times have passed than are ever kept."""
    monkeypatch.setattr(foresight, "MOST", 10)
    monkeypatch.setattr(planning, "MOST", 4)
    monkeypatch.setattr(firing, "MOST_AT_ONCE", 4)
    made = of_these_hours(ground)
    ground.add(made, since=-34)
    with scheduler(ground, made) as mine:
        assert mine.fires(count=35) == [ground.hour(n) for n in range(-34, 1)]
    assert ground.states() == ["missed"] * 34 + ["fired"]


def test_one_that_somebody_else_has_moved_on_is_taken_from_there(ground: Ground) -> None:
    made = of_these_hours(ground)
    ground.add(made, since=-2)
    with scheduler(ground, made) as mine:
        wait_for(lambda: mine.foresight.ready(ground.last), "its times are known")
        mine.foresight.stop()
        ground.put_back(number=-1)
        assert mine.fires(count=2) == [ground.hour(-1), ground.hour(0)]


def test_one_that_somebody_else_has_moved_to_a_time_that_is_not_known_waits(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """And does not keep the scheduler busy meanwhile."""
    made = of_these_hours(ground)
    ground.add(made, since=-2)
    with scheduler(ground, made) as mine:
        wait_for(lambda: mine.foresight.ready(ground.last), "its times are known")
    between = ground.hour(-1) + timedelta(minutes=1)
    ground.set(planned_at=between, due_at=between)
    with closing(own_connection(ground.url)) as connection:
        wait_for(lambda: mine.firing.fire_due(connection)[0] == 0, "it is left alone")
    assert (ground.fires(), caplog.messages) == ([], [])


# -- declared anew ----------------------------------------------------------------------------------------------------


def test_one_that_has_fired_goes_on_with_another_timetable(ground: Ground) -> None:
    ground.add(of_these_hours(ground), by="tests", since=1, fires=5, previous_at=ground.hour(0))
    changed = sums(when=Foreign(Shifted(1800, ground.last)))
    ground.reconcile(changed)
    assert ground.row().planned_at is None
    with scheduler(ground, changed):
        wait_for(lambda: ground.row().planned_at, "it is planned again")
    assert ground.row().planned_at in (ground.last + timedelta(minutes=30), ground.hour(1))


def test_one_of_ours_goes_on_as_somebody_elses(ground: Ground) -> None:
    ground.add(ground.sums(), by="tests", since=1, fires=5, previous_at=ground.hour(0))
    changed = of_these_hours(ground)
    ground.reconcile(changed)
    with scheduler(ground, changed):
        wait_for(lambda: ground.row().planned_at == ground.hour(1), "it is planned again")


def test_a_timetable_that_another_release_has_declared_is_left_to_it(ground: Ground) -> None:
    """Its object would be asked for times that the ledger's definition does not mean."""
    newer, older = sums(when=Foreign(Shifted(1800, ground.last))), of_these_hours(ground)
    ground.add(newer, since=-1)
    with scheduler(ground, older) as old:
        for _ in range(5):
            old.foresight._look()
            ground.fire_due(old.firing)
        assert ground.fires() == []
        with scheduler(ground, newer) as new:
            assert len(new.fires(count=3)) == 3


def test_arguments_that_another_release_has_declared_are_sent_all_the_same(ground: Ground) -> None:
    older = of_these_hours(ground)
    ground.add(replace(older, kwargs={"left": 3, "right": 4}))
    with scheduler(ground, older) as old:
        old.fires()
    assert ground.messages[0].kwargs == {"left": 3, "right": 4}


def test_the_first_scheduler_to_ask_gives_the_first_time(ground: Ground) -> None:
    made = of_these_hours(ground)
    ground.reconcile(made)
    row = ground.row()
    ground.set(planned_at=ground.hour(3), due_at=ground.hour(3))
    mine = Foresight(ground.url, [made])
    mine._begin(mine._asked[NAME], row, datetime.now(UTC))
    assert ground.row().planned_at == ground.hour(3)


def test_a_ledger_that_is_away_is_asked_again(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "penstock.beat")
    made = of_these_hours(ground)
    ground.add(made)
    with scheduler(ground, made) as mine:
        mine.foresight._url, url = "postgresql+psycopg://127.0.0.1:1/x", mine.foresight._url
        wait_for(lambda: "foreign schedules cannot be looked at" in caplog.text, "it has noticed")
        mine.foresight._url = url
        mine.fires()
