"""A beat that is told to end does so within seconds and in order, whatever it is doing; nothing is lost by that."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from penstock.ledger.session import engine_for, reading
from tests.scheduler.live.beats import together, wait_for
from tests.scheduler.live.books import ON_TIME
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground
from tests.scheduler.live.steps import INNER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
QUICKLY = 10.0
"""Seconds; what manages processes waits for so long at least before it kills them."""


@dataclass(frozen=True)
class Ends:
    """What was there after a beat had been told to end at each step, while others were at work."""

    ground: Ground
    codes: dict[str, int]
    seconds: dict[str, float]
    noted: dict[str, bool]
    """Whether a beat that had ended was still in the list of those that are at work."""


@pytest.fixture(scope="module")
def ends(database: str, new_ground: NewGround) -> Iterator[Ends]:
    with new_ground(database, "fast") as ground:
        found = Ends(ground, {}, {}, {})
        told = {step: ground.halting_beat(step, "SIGTERM") for step in INNER}
        with together(ground.beat(), *(beat for beat, _ in told.values())):
            for step, (beat, armed) in told.items():
                armed.touch()
                wait_for(lambda armed=armed: not armed.exists(), "the beat has been told to end")
                started = time.monotonic()
                wait_for(lambda beat=beat: beat.has_ended, "it has ended")
                found.seconds[step] = time.monotonic() - started
                found.codes[step] = beat.stop()
                found.noted[step] = beat.is_noted
        yield found


def test_it_ends_in_order_at_each_step(ends: Ends) -> None:
    assert ends.codes == dict.fromkeys(INNER, 0)


def test_it_ends_quickly_at_each_step(ends: Ends) -> None:
    assert {step: seconds for step, seconds in ends.seconds.items() if seconds > QUICKLY} == {}


def test_it_is_in_no_list_any_more_at_each_step(ends: Ends) -> None:
    assert ends.noted == dict.fromkeys(INNER, False)


def test_it_keeps_nobody_waiting(ends: Ends) -> None:
    assert ends.ground.books.latest < ON_TIME


def test_every_planned_time_has_one_fire_all_the_same(ends: Ends) -> None:
    ends.ground.judged()


def test_each_job_runs_once(ends: Ends) -> None:
    with ends.ground.worker():
        ends.ground.assert_done_once()


def test_a_second_signal_right_after_the_first_changes_nothing(ends: Ends) -> None:
    with ends.ground.beat() as beat:
        assert beat.process is not None
        beat.tell_to_end(signal.SIGINT)
        beat.process.send_signal(signal.SIGTERM)
        assert beat.stop() in (0, -signal.SIGTERM)  # The latter, if Python was gone already.
    ends.ground.judged()


@pytest.fixture
def postgresql_ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground("postgresql", "fast") as made:
        yield made


@contextmanager
def closed_books(ground: Ground) -> Iterator[None]:
    """Inside of the block no beat can go on with its transaction: somebody else has locked the fires."""
    with engine_for(ground.database_url).connect() as connection:
        connection.execute(text("LOCK TABLE fires IN SHARE ROW EXCLUSIVE MODE"))
        wait_for(lambda: someone_waits(ground), "the beat waits for the lock")
        yield
        connection.rollback()


def someone_waits(ground: Ground) -> bool:
    with reading(ground.database_url) as connection:
        return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


def test_it_ends_quickly_while_it_waits_for_a_lock_that_nobody_gives_back(postgresql_ground: Ground) -> None:
    with postgresql_ground.beat() as beat:
        postgresql_ground.await_fires(10)
        with closed_books(postgresql_ground):
            started = time.monotonic()
            assert beat.stop() == 0
            assert time.monotonic() - started < QUICKLY
    with postgresql_ground.beat():
        postgresql_ground.await_fires(10)
    postgresql_ground.judged()
