"""The schedules that a scheduler has read, ahead of their time."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from penstock.ledger import schedules
from penstock.ledger.session import own_connection
from penstock.scheduler import known
from penstock.scheduler.firing import Firing
from tests.scheduler.ground import Ground

UNREADABLE = {"task": "tests.jobs.add", "when": {"kind": "sundial"}}


def read_ahead(ground: Ground, mine: Firing, until: datetime) -> int:
    """How many slices it took."""
    mine.known.begin_ahead(until)
    slices = 1
    with closing(own_connection(ground.url)) as connection, connection.begin():
        while mine.known.go_ahead(connection):
            slices += 1
    return slices


def refuse(_connection: Connection, names: Sequence[str]) -> Any:
    pytest.fail(f"{names} are read once more")


@pytest.mark.parametrize("count", [1, 5])
def test_schedules_are_read_before_they_are_due_slice_by_slice(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(known, "SLICE", 2)
    names = [f"s{number}" for number in range(count)]
    ground.add(*(ground.sums(name) for name in names))
    mine = ground.firing()
    assert read_ahead(ground, mine, ground.hour(0) + timedelta(seconds=1)) == count // 2 + 1
    monkeypatch.setattr(schedules, "definitions", refuse)
    ground.fire_due(mine)
    assert [ground.states(name) for name in names] == [["fired"]] * count


def test_what_is_due_later_is_not_read_yet(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.add(ground.sums())
    monkeypatch.setattr(schedules, "definitions", refuse)
    read_ahead(ground, ground.firing(), ground.hour(0) - timedelta(seconds=1))


def test_no_more_are_read_ahead_than_are_kept(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "SLICE", 1)
    monkeypatch.setattr(known, "MOST", 2)
    ground.add(*(ground.sums(f"s{number}") for number in range(4)))
    mine = ground.firing()
    read_ahead(ground, mine, ground.hour(1))
    assert list(mine.known._read) == ["s0", "s1"]


def test_schedules_that_are_kept_have_a_bound(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    mine = ground.firing()
    for round in range(2):
        ground.add(*(ground.sums(f"{round} {number}") for number in range(2)))
        ground.fire_due(mine)
    assert list(mine.known._read) == ["1 0", "1 1"]
    assert all(ground.states(f"{round} {number}") == ["fired"] for round in range(2) for number in range(2))


def test_another_version_of_a_schedule_is_read_again(ground: Ground) -> None:
    ground.add(ground.sums(overlap="allow"))
    mine = ground.firing()
    ground.fire_due(mine)
    ground.set(definition=ground.sums(kwargs={"left": 5, "right": 5}, overlap="allow").words(), version=2)
    ground.an_hour_passes()
    ground.fire_due(mine)
    assert ground.messages[-1].kwargs == {"left": 5, "right": 5}


def test_one_that_cannot_be_read_is_not_read_again_and_again(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    ground.add(ground.sums("newer"), definition=UNREADABLE)
    mine = ground.firing()
    for _ in range(3):
        ground.fire_due(mine)
        read_ahead(ground, mine, ground.hour(1))
    assert len(caplog.messages) == 1


def test_a_scheduler_with_time_to_spare_reads_all_that_is_due_soon(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "SLICE", 1)
    mine = ground.turning()
    mine.turn()
    due = schedules_due(ground, timedelta(seconds=4))
    mine._ahead_at = 0.0
    pauses = [mine._work() for _ in range(4)]
    assert pauses[:3] == [0.0, 0.0, 0.0]
    assert pauses[3] > 0
    assert len(mine._firing.known._read) == due


def test_a_scheduler_reads_nothing_ahead_when_something_is_about_to_be_due(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ground.turning()
    mine.turn()
    monkeypatch.setattr(mine._firing.known, "go_ahead", refuse_to_go_ahead)
    schedules_due(ground, timedelta(seconds=0.05))
    mine._ahead_at = 0.0
    mine._work()


def refuse_to_go_ahead(_: Connection) -> bool:
    pytest.fail("it reads ahead")


def schedules_due(ground: Ground, ahead: timedelta) -> int:
    """Adds schedules that are due so long from now; how many."""
    names = ("a", "b", "c")
    ground.add(*(ground.sums(name) for name in names), since=None)
    with closing(own_connection(ground.url)) as connection, connection.begin():
        due = schedules.clock(connection) + ahead
    for name in names:
        ground.set(name, planned_at=due, due_at=due)
    return len(names)
