"""Three beats to whom something happens at any time: they are killed, stopped, ended and started again, and on
PostgreSQL their connections are cut. The seed is in the message of a failure; SOAK_SEED repeats it, as far as machines
repeat anything.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from penstock.ledger.fires import FireState
from penstock.ledger.session import reading
from tests.scheduler.live.beats import Beat
from tests.scheduler.live.conftest import NewGround
from tests.scheduler.live.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SECONDS = 8.0
LONGEST_PAUSE = 1.5
OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
CUT = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}"


@dataclass
class Soak:
    """One run."""

    ground: Ground
    seed: str
    beats: list[Beat] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311
        self._wakes: dict[Beat, float] = {}

    def run(self) -> None:
        """Something happens to somebody a few times a second."""
        self.beats = [self.ground.beat() for _ in range(3)]
        for beat in self.beats:
            beat.begin()
        self.beats[0].await_ready()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(self._chance.uniform(0.1, 0.6))
            for beat in [beat for beat, at in self._wakes.items() if at < time.monotonic()]:
                self._wake(beat)
            place = self._chance.randrange(3)
            if self.beats[place].has_ended:
                self.beats[place] = self.ground.beat()
                self.beats[place].begin()
                self.done["start"] += 1
            elif self.beats[place] not in self._wakes:
                self._harm(self.beats[place])

    def end(self) -> None:
        """All go on, and end in order; one more does what is due since."""
        for beat in self._wakes.copy():
            self._wake(beat)
        for beat in self.beats:
            beat.tell_to_end()
        for beat in self.beats:
            beat.stop()
        with self.ground.beat():
            self.ground.await_fires(20)

    def _harm(self, beat: Beat) -> None:
        chances: list[tuple[str, Callable[[], object]]] = [
            ("kill", lambda: beat.tell_to_end(signal.SIGKILL)),
            ("end", lambda: beat.tell_to_end(signal.SIGTERM)),
            ("stop", lambda: self._pause(beat)),
            ("stop", lambda: self._pause(beat)),
        ]
        if self.ground.database_url.startswith("postgresql"):
            chances.append(("cut", self._cut))
        name, harm = self._chance.choice(chances)
        self.done[name] += 1
        harm()

    def _pause(self, beat: Beat) -> None:
        os.kill(beat.pid, signal.SIGSTOP)
        self._wakes[beat] = time.monotonic() + self._chance.uniform(0.1, LONGEST_PAUSE)

    def _wake(self, beat: Beat) -> None:
        del self._wakes[beat]
        if not beat.has_ended:
            beat.resume()

    def _cut(self) -> None:
        with reading(self.ground.database_url) as connection:
            connection.execute(text(CUT))


@pytest.fixture(scope="module")
def soak(database: str, new_ground: NewGround) -> Iterator[Soak]:
    seed = os.environ.get("SOAK_SEED") or os.urandom(4).hex()
    with new_ground(database, "orderly") as ground:
        made = Soak(ground, seed)
        try:
            made.run()
        finally:
            made.end()
        yield made


def test_each_planned_time_has_one_fire_and_each_fire_its_job_or_a_reason(soak: Soak) -> None:
    soak.ground.judged()
    assert sum(soak.done.values()) > 10, soak.seed


def test_what_may_overlap_is_never_missed_by_seconds(soak: Soak) -> None:
    found = soak.ground.books
    ends = {(fire.state, fire.reason) for fire in found.fires if fire.schedule != "one at a time"}
    assert ends == {(FireState.FIRED, None)}, soak.seed


def test_each_job_runs_once(soak: Soak) -> None:
    with soak.ground.worker():
        soak.ground.assert_done_once()
    soak.ground.assert_told_times()
