"""Three beats at once: each planned time is decided once, in time, and has one job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from penstock.ledger.fires import FireState
from penstock.scheduler.planning import OVERLAP
from tests.scheduler.live.beats import Beat, together
from tests.scheduler.live.books import AT_ONCE, ON_TIME, Books
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import ON_THEIR_WAY, Ground, told_times

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FIRES = 150


@dataclass(frozen=True)
class Run:
    """What was there while three beats were at work, and after it."""

    ground: Ground
    beats: list[Beat]
    codes: list[int]
    during: Books
    after: Books


@pytest.fixture(scope="module")
def run(database: str, new_ground: NewGround) -> Iterator[Run]:
    """Some seconds of three beats; no worker takes what they start."""
    with new_ground(database, "orderly") as ground:
        beats = [ground.beat() for _ in range(3)]
        with together(*beats):
            ground.await_fires(FIRES)
            during = ground.books
        codes = [beat.stop() for beat in beats]
        yield Run(ground, beats, codes, during, ground.books)


def test_every_planned_time_has_one_fire_and_nothing_else_has(run: Run) -> None:
    assert len(run.after.fires) >= FIRES
    run.ground.judged()


def test_every_fire_has_one_job_which_is_in_the_outbox_and_on_its_queue(run: Run) -> None:
    run.ground.assert_published_once()


def test_no_fire_is_late(run: Run) -> None:
    assert run.after.latest < ON_TIME
    assert run.after.typical < AT_ONCE


def test_where_jobs_may_overlap_every_fire_starts_one(run: Run) -> None:
    names = run.after.schedules.keys() - {"one at a time"}
    assert {fire.state for name in names for fire in run.after.of(name)} == {FireState.FIRED}


def test_while_the_first_job_waits_no_beat_starts_a_second_one(run: Run) -> None:
    first, *others = run.after.of("one at a time")
    assert first.state is FireState.FIRED
    assert others
    assert {(fire.state, fire.reason) for fire in others} == {(FireState.SKIPPED, OVERLAP)}


def test_each_job_is_told_of_its_own_time_and_the_one_before_whichever_beat_made_that(run: Run) -> None:
    told = {call.job: (call.kwargs["planned"], call.kwargs["previous"]) for call in run.ground.calls()}
    expected = told_times(run.after)
    # What was on its way when a beat ended may be in the outbox alone.
    assert len(expected) - ON_THEIR_WAY <= len(told)
    assert told == {job: expected[job] for job in told}


def test_each_beat_is_in_the_list_while_it_is_at_work_and_no_longer(run: Run) -> None:
    assert {beat.name for beat in run.during.beats} == {beat.name for beat in run.beats}
    assert run.after.beats == []


def test_each_beat_ends_in_order(run: Run) -> None:
    assert run.codes == [0, 0, 0]
