"""A schedule that is taken away and added again under its name, with other arguments, while beats live on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from penstock.scheduler.changes import Schedules
from penstock.scheduler.schedule import schedule
from penstock.scheduler.timetables.interval import Every
from penstock.scheduler.timetables.zones import zone_of
from tests.conftest import producer
from tests.scheduler.live.beats import together
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground
from tests.scheduler.live.tasks import note

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NAME = "by hand"
OLD, NEW = Every(0.25), Every(0.4)
MOST = 5
"""So many fires each of the two has."""
RULES: dict[str, Any] = {"overlap": "allow", "max_fires": MOST}


@pytest.fixture(scope="module")
def ground(database: str, new_ground: NewGround) -> Iterator[Ground]:
    """Where two beats have been at work while one schedule came after the other."""
    with new_ground(database, "none") as made, producer(made.environment) as app:
        schedules = Schedules(app, made.database_url, "somebody")
        with together(made.beat(), made.beat()):
            schedules.add(schedule(NAME, note.bind(schedule="old", planned="{fire_time}"), OLD, **RULES))
            made.await_fires_of(NAME, MOST)
            schedules.remove(NAME)
            schedules.add(schedule(NAME, note.bind(schedule="new", planned="{fire_time}"), NEW, **RULES))
            made.await_fires_of(NAME, 2 * MOST)
        yield made


def test_the_new_one_fires_by_its_own_timetable_and_with_its_own_arguments(ground: Ground) -> None:
    calls = [(call.kwargs["schedule"], datetime.fromisoformat(call.kwargs["planned"])) for call in ground.calls()]
    assert [name for name, _ in sorted(calls, key=lambda call: call[1])] == ["old"] * MOST + ["new"] * MOST
    for name, when in (("old", OLD), ("new", NEW)):
        times = sorted(at for each, at in calls if each == name)
        assert times[1:] == [when.after(at, zone_of("UTC"), "cron") for at in times[:-1]]
