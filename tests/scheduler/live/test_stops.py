"""A beat that stands still (SIGSTOP, a host that is suspended, a virtual machine that is moved) and goes on later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.scheduler.live.beats import together, wait_for
from tests.scheduler.live.books import ON_TIME
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BEHIND, IDLE_LIMIT = timedelta(seconds=2), timedelta(seconds=5)
"""The latter: after which PostgreSQL ends a transaction in which nothing happens: a beat asks it to."""


@pytest.fixture
def ground(database: str, new_ground: NewGround) -> Iterator[Ground]:
    with new_ground(database, "fast") as made:
        yield made


@pytest.fixture
def postgresql_ground(new_ground: NewGround) -> Iterator[Ground]:
    """For what cannot be on SQLite: there, whoever stands still in a transaction keeps all others from writing."""
    with new_ground("postgresql", "fast") as made:
        yield made


def goes_on(ground: Ground) -> bool:
    """Whether no schedule is behind."""
    return not ground.overdue(datetime.now(UTC) - BEHIND)


def test_one_that_stands_still_in_a_transaction_holds_up_its_schedules_for_seconds_and_no_others(
    postgresql_ground: Ground,
) -> None:
    ground = postgresql_ground
    halting, armed = ground.halting_beat("all is written and not committed", "SIGSTOP")
    with together(halting, ground.beat(), ground.beat()):
        armed.touch()
        halting.await_pause()
        stopped = datetime.now(UTC)
        held = {name for name, row in ground.books.schedules.items() if row.due_at and row.due_at < stopped}
        wait_for(lambda: not goes_on(ground), "some schedules are held up")
        wait_for(lambda: goes_on(ground), "others take over")
        halting.resume()
        wait_for(lambda: "schedules wait" in halting.log, "it finds its transaction ended")
        wait_for(lambda: "the ledger answers again" in halting.log, "it goes on")
        ground.await_fires(20)
    found = ground.judged()
    late = {fire.schedule for fire in found.fires if fire.decided_at - found.due(fire) > ON_TIME}
    assert late
    assert late <= held
    assert late < found.schedules.keys()
    assert found.latest < IDLE_LIMIT + ON_TIME
    ground.assert_published_once()


def test_one_that_stands_still_before_it_publishes_doubles_nothing_when_it_goes_on(ground: Ground) -> None:
    halting, armed = ground.halting_beat("committed and not published", "SIGSTOP")
    with halting:
        armed.touch()
        halting.await_pause()
        with ground.worker():
            ground.assert_done_once()  # What it has not published as well, thanks to the reconciler.
        halting.resume()
        wait_for(lambda: set(ground.in_redis()) & done(ground), "it publishes jobs that have been done")
    with ground.worker():
        ground.assert_done_once()


def done(ground: Ground) -> set[str]:
    return {effect["job"] for effect in ground.effects()}
