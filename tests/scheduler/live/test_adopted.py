"""`celery beat` of a Celery app whose ``beat_schedule`` is as it was before the app was adopted, twice at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ephem
import pytest

from penstock.ledger.fires import FireState
from tests.scheduler.live.beats import together
from tests.scheduler.live.books import Books
from tests.scheduler.live.clocks import Clock, ledger_with_clock
from tests.scheduler.live.conftest import emptied
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
APP = "tests.scheduler.live.adopted"
START = datetime(2026, 6, 1, 19, 17, 20, tzinfo=UTC)
"""In Berlin, a minute and a half before the sun sets."""
END = START + timedelta(minutes=5)
SPEED = 40


@dataclass(frozen=True)
class Evening:
    """What two beats made of it."""

    ground: Ground
    codes: list[int]
    found: Books


@pytest.fixture(scope="module")
def evening(database: str, live_broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    folder = tmp_path_factory.mktemp("evening")
    with (
        emptied(live_broker_url) as broker_url,
        Clock(START) as clock,
        ledger_with_clock(database, clock, folder) as (url, variables),
    ):
        clock.stand(START)
        ground = Ground(folder, broker_url, url, "none")
        beats = [ground.beat(app=APP, **variables) for _ in range(2)]
        with together(*beats):
            clock.run(END, SPEED)
            clock.stand(END)
            ground.await_decisions(END)
        yield Evening(ground, [beat.stop() for beat in beats], ground.books)


def sunset() -> datetime:
    """By the library that Celery asks as well, without Celery."""
    place = ephem.Observer()
    place.lat, place.lon, place.horizon, place.pressure = "52.5", "13.4", "-0:34", 0
    found: datetime = place.next_setting(ephem.Sun(), start=START.replace(tzinfo=None)).datetime()
    return found.replace(tzinfo=UTC)


def test_each_entry_has_its_fires_and_two_beats_double_none(evening: Evening) -> None:
    evening.ground.judged()
    assert evening.found.planned("each minute") == [
        START.replace(minute=minute, second=0) for minute in range(18, END.minute + 1)
    ]
    assert [at.minute for at in evening.found.planned("each second minute")] == [18, 20, 22]
    assert len(evening.found.planned("each 30 s")) == 10


def test_the_sun_sets_once(evening: Evening) -> None:
    (fire,) = evening.found.of("sunset")
    assert fire.state is FireState.FIRED
    assert abs(fire.planned_at - sunset()) < timedelta(seconds=1)


def test_each_job_is_on_the_queue_that_its_entry_says_and_runs_once(evening: Evening) -> None:
    queues = {call.kwargs.get("schedule") or call.args[0]: call.queue for call in evening.ground.calls()}
    assert queues == {name: "other" if name == "each 45 s" else "celery" for name in evening.found.schedules}
    with evening.ground.worker("-Q", "celery,other", app=APP):
        evening.ground.assert_done_once()


def test_the_beats_end_in_order(evening: Evening) -> None:
    assert evening.codes == [0, 0]
    assert evening.found.beats == []
