"""Hosts whose clocks are wrong: on PostgreSQL the server's clock is everybody's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from tests.scheduler.live.beats import together
from tests.scheduler.live.books import ON_TIME
from tests.scheduler.live.clocks import Clock
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WRONG_BY = (timedelta(hours=1), timedelta(hours=-1), timedelta(days=400))


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    """Where three beats have been at work, each on a host of its own with a wrong clock."""
    with new_ground("postgresql", "fast") as made, ExitStack() as stack:
        clocks = [stack.enter_context(Clock(datetime.now(UTC) + wrong)) for wrong in WRONG_BY]
        with together(*(made.beat(**clock.variables) for clock in clocks)):
            made.await_fires(60)
        yield made


def test_fires_are_on_time_by_the_clock_of_the_database(ground: Ground) -> None:
    assert ground.books.latest < ON_TIME
    assert max(fire.planned_at for fire in ground.books.fires) < datetime.now(UTC)


def test_every_planned_time_has_one_fire(ground: Ground) -> None:
    ground.judged()


def test_each_job_runs_once(ground: Ground) -> None:
    with ground.worker():
        ground.assert_done_once()
