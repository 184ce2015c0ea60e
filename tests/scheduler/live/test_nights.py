"""Two beats live through the nights on which clocks are shifted, some hundred times as fast as they are: what fires is
what the oracle has, which walks through all minutes and knows nothing of our code.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from penstock.ledger.fires import FireState
from tests.scheduler.live.beats import Beat, together
from tests.scheduler.live.books import Books, judge
from tests.scheduler.live.clocks import Clock, ledger_with_clock
from tests.scheduler.live.conftest import emptied
from tests.scheduler.live.ground import Ground
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.oracle import DAY, MINUTE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SPEED = 1200
BEFORE, AFTER = timedelta(minutes=65), timedelta(minutes=130)
"""From before the hour that is left out or comes twice, until it is over."""


@dataclass(frozen=True)
class Night:
    """One on which a zone's clocks are shifted."""

    zone: str
    day: datetime

    @property
    def shift(self) -> datetime:
        """The first minute after it."""
        return next(at for at in oracle.shifts(self.zone, self.day.year, self.day.year + 1) if abs(at - self.day) < DAY)


SPRING = Night("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC))
AUTUMN = Night("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC))
OTHERS = (
    Night("Australia/Lord_Howe", datetime(2026, 10, 3, 12, tzinfo=UTC)),  # forward by half an hour
    Night("America/Havana", datetime(2025, 11, 2, tzinfo=UTC)),  # back at one, to midnight
)
NIGHTS = {"sqlite": (SPRING, AUTUMN, *OTHERS), "postgresql": (SPRING, AUTUMN)}
"""Each needs a clock of its own, and on PostgreSQL that is a server of its own."""


@pytest.fixture(scope="module")
def nights(
    database: str, live_broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Night, Books]]:
    """What two beats made of each night; of all at the same time."""
    with emptied(live_broker_url) as broker_url, ExitStack() as stack:
        clocks: dict[Night, Clock] = {}
        grounds: dict[Night, Ground] = {}
        beats: list[Beat] = []
        for night in NIGHTS[database]:
            folder = tmp_path_factory.mktemp("night")
            clocks[night] = stack.enter_context(Clock(night.shift - BEFORE))
            clocks[night].stand(night.shift - BEFORE)
            url, variables = stack.enter_context(ledger_with_clock(database, clocks[night], folder))
            grounds[night] = Ground(folder, broker_url, url, f"night {night.zone}")
            beats += [grounds[night].beat(**variables) for _ in range(2)]
        with together(*beats):
            runs = [threading.Thread(target=live, args=(clock, night)) for night, clock in clocks.items()]
            for run in runs:
                run.start()
            for run in runs:
                run.join()
            for night, ground in grounds.items():
                ground.await_decisions(night.shift + AFTER)
        yield {night: ground.books for night, ground in grounds.items()}


def live(clock: Clock, night: Night) -> None:
    """Through the night."""
    clock.run(night.shift + AFTER, SPEED)
    clock.stand(night.shift + AFTER)


def test_what_fires_is_what_the_oracle_has(nights: dict[Night, Books]) -> None:
    for books in nights.values():
        judge(books)
        assert {fire.state for fire in books.fires} == {FireState.FIRED}


def walls(books: Books, night: Night, schedule: str) -> list[str]:
    """When a schedule has fired, as clocks show it."""
    return [f"{at.astimezone(oracle.zone(night.zone)):%H:%M}" for at in books.planned(schedule)]


def test_a_time_that_is_jumped_over_comes_right_after_and_literally_not_at_all(nights: dict[Night, Books]) -> None:
    books = nights[SPRING]
    assert walls(books, SPRING, "30 2 * * * cron") == ["03:00"]
    assert walls(books, SPRING, "30 2 * * * literal") == []
    assert walls(books, SPRING, "0 * * * * cron") == ["01:00", "03:00", "04:00", "05:00"]


def test_a_time_that_comes_twice_fires_the_first_time_and_literally_both_times(nights: dict[Night, Books]) -> None:
    books = nights[AUTUMN]
    assert walls(books, AUTUMN, "30 2 * * * cron") == ["02:30"]
    assert walls(books, AUTUMN, "30 2 * * * literal") == ["02:30", "02:30"]
    assert walls(books, AUTUMN, "0 * * * * cron") == ["02:00", "02:00", "03:00", "04:00"]


def test_what_names_no_hour_goes_by_the_time_that_passes(nights: dict[Night, Books]) -> None:
    for books in nights.values():
        steps = {later - sooner for sooner, later in pairwise(books.planned("*/15 * * * * cron"))}
        assert steps == {15 * MINUTE}
