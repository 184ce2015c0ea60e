"""All beats are down for a while: what was planned meanwhile starts later, or is on the books as missed, as each
schedule's ``catch_up`` says. And a clock that somebody sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from penstock.ledger.fires import FireState
from tests.scheduler.live.beats import Beat, together, wait_for
from tests.scheduler.live.books import Books
from tests.scheduler.live.clocks import Clock, ledger_with_clock
from tests.scheduler.live.conftest import emptied
from tests.scheduler.live.ground import Ground
from tests.scheduler.live.timetables import LONG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
START = datetime(2026, 6, 1, 12, 0, 50, tzinfo=UTC)
"""50 s before one of the times that come each 100 s."""
FIRST = START + timedelta(seconds=50)
BACK = FIRST + timedelta(seconds=9 * LONG + 80)
"""80 s after the tenth."""
HOUR = timedelta(hours=1)
TEN = [FIRST + number * timedelta(seconds=LONG) for number in range(10)]


@dataclass(frozen=True)
class Outage:
    """What two beats made of a quarter of an hour without any; and after an hour that came twice."""

    ground: Ground
    found: Books
    told: list[tuple[str, list[str], str]]
    """Arguments of the jobs that tell of fires that were missed."""
    after_set_back: Books
    at_the_end: Books


@pytest.fixture(scope="module")
def outage(database: str, live_broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """The clock stands still, so that it is known how late everything is, however busy the machine."""
    folder = tmp_path_factory.mktemp("down")
    with (
        emptied(live_broker_url) as broker_url,
        Clock(START) as clock,
        ledger_with_clock(database, clock, folder) as (url, variables),
    ):
        clock.stand(START)
        ground = Ground(folder, broker_url, url, "down", variables)
        with ground.beat():
            assert ground.books.fires == []
        clock.stand(BACK)
        beats = [ground.beat(), ground.beat()]
        with together(*beats):
            ground.await_decisions(BACK)
            found, told = ground.judged(), tellings(ground)
            clock.stand(BACK - HOUR)
            for beat in beats:
                wait_for(lambda beat=beat: seen_at(ground, beat) == BACK - HOUR, "it has seen the clock set back")
            after_set_back = ground.judged()
            clock.stand(BACK + HOUR)
            ground.await_decisions(BACK + HOUR)
        yield Outage(ground, found, told, after_set_back, ground.books)


def seen_at(ground: Ground, beat: Beat) -> datetime:
    """When a beat has last noted in the ledger that it is there, by the clock."""
    return next(row.seen_at for row in ground.books.beats if row.name == beat.name)


def tellings(ground: Ground) -> list[tuple[str, list[str], str]]:
    def are_there() -> list[tuple[str, list[str], str]]:
        calls = [call for call in ground.calls() if call.task.endswith(".tell")]
        return [tuple(call.args) for call in calls] if len(calls) >= 3 else []

    return wait_for(are_there, "somebody is told of what was missed")


def states(books: Books, name: str) -> list[FireState]:
    return [fire.state for fire in books.of(name)]


MISSED, FIRED = FireState.MISSED, FireState.FIRED
CAUGHT_UP = {
    "none": [MISSED] * 10,
    "latest": [MISSED] * 9 + [FIRED],
    "all": [FIRED] * 10,
    "window": [MISSED] * 8 + [FIRED] * 2,
    "none, but just in time": [MISSED] * 9 + [FIRED],
}


@pytest.mark.parametrize("name", CAUGHT_UP)
def test_what_was_planned_meanwhile_starts_or_is_missed_as_its_schedule_says(outage: Outage, name: str) -> None:
    assert states(outage.found, name) == CAUGHT_UP[name]


def test_what_was_missed_says_how_late_it_was_when_somebody_could_have_started_it(outage: Outage) -> None:
    reasons = [fire.reason for fire in outage.found.of("window", MISSED)]
    assert reasons[0] == "no scheduler was up until 0:16:20 later, its window is 0:04:10"
    assert outage.found.of("none")[-1].reason == "no scheduler was up until 80 s later"
    assert outage.found.of("latest")[0].reason == "no scheduler was up until 0:16:20 later, and a newer one was due"


def test_whoever_wants_to_know_is_told_once_of_all_that_was_missed(outage: Outage) -> None:
    told = {schedule: [datetime.fromisoformat(at) for at in times] for schedule, times, _ in outage.told}
    assert len(told) == len(outage.told)
    assert told == {name: outage.found.planned(name, MISSED) for name in ("none", "latest", "window")}


def test_a_clock_that_is_set_back_makes_nothing_come_again(outage: Outage) -> None:
    assert outage.after_set_back.fires == outage.found.fires


def test_when_it_has_caught_up_with_itself_the_fires_go_on_where_they_were(outage: Outage) -> None:
    planned = outage.at_the_end.planned("all")
    assert planned[:10] == TEN
    assert len(planned) == 10 + HOUR // timedelta(seconds=LONG)
    assert len(set(outage.at_the_end.started)) == len(outage.at_the_end.started)
