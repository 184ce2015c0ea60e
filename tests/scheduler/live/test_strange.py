"""Timetables that somebody else has written, in a real beat: slow ones, and broken ones, delay nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import pytest

from penstock.ledger.fires import FireState
from tests.scheduler.live.beats import Beat, together
from tests.scheduler.live.books import ON_TIME, Books
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Run:
    """What two beats left behind."""

    ground: Ground
    beats: list[Beat]
    codes: list[int]
    found: Books


@pytest.fixture(scope="module")
def run(database: str, new_ground: NewGround) -> Iterator[Run]:
    with new_ground(database, "strange") as ground:
        beats = [ground.beat(), ground.beat()]
        with together(*beats):
            ground.await_fires_of("Slow", 2)
        yield Run(ground, beats, [beat.stop() for beat in beats], ground.books)


def test_those_that_can_be_reckoned_with_are_on_time(run: Run) -> None:
    usual = [fire for fire in run.found.fires if fire.schedule not in ("Slow", "Hanging", "Failing")]
    assert len(usual) > 50
    assert max(fire.decided_at - run.found.due(fire) for fire in usual) < ON_TIME


def test_a_slow_one_comes_at_its_own_times(run: Run) -> None:
    planned = run.found.planned("Slow")
    assert {later - sooner for sooner, later in pairwise(planned)} == {timedelta(seconds=4)}
    assert {fire.state for fire in run.found.of("Slow")} == {FireState.FIRED}


@pytest.mark.parametrize("name", ["Hanging", "Failing"])
def test_one_that_cannot_say_when_has_no_fires(run: Run, name: str) -> None:
    assert run.found.of(name) == []
    assert run.found.schedules[name].planned_at is None


def test_a_failing_one_is_told_by_its_name(run: Run) -> None:
    for beat in run.beats:
        assert "schedule 'Failing' cannot say when it is due: LookupError: the calendar has burnt" in beat.log


def test_a_beat_ends_in_order_though_somebodys_code_hangs_in_it(run: Run) -> None:
    assert run.codes == [0, 0]
    assert run.found.beats == []
