"""A schedule that fires five times a second, two beats that share it, and what becomes of that when one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

from penstock import Settings, State
from penstock.errors import ScheduleNotFound
from penstock.ledger import queries, search
from penstock.ledger.fires import FireRow, FireState
from penstock.ledger.session import reading
from penstock.scheduler import Every
from penstock.scheduler.changes import Schedules
from penstock.scheduler.schedule import Schedule

NAME = "demo metronome"
INTERVAL = 0.2
MOST = 10_000
PATIENCE = 30.0


@dataclass(frozen=True)
class Score:
    """What became of the planned times."""

    planned: int
    fired: int
    lost: int
    """Planned times without a row, and fires without a job that has succeeded."""
    doubled: int
    """Jobs that no fire names."""
    beats: int

    def __str__(self) -> str:
        return (
            f"schedule: {self.planned} planned times, {self.fired} fired, {self.lost} lost, {self.doubled} doubled,"
            f" by {self.beats} beats, one of them killed in the middle"
        )

    @property
    def is_right(self) -> bool:
        """Whether each planned time had one job."""
        return self.planned == self.fired and self.fired > 0 and not self.lost and not self.doubled and self.beats > 1


class Metronome:
    """The schedule while it runs."""

    def __init__(self, settings: Settings, app: Any, task: str, second: subprocess.Popen[bytes]) -> None:
        self._settings, self._second = settings, second
        self._schedules = Schedules(app, settings.database_url, "demo")
        self._beats = 0
        with suppress(ScheduleNotFound):
            self._schedules.remove(NAME)  # Of a demo that did not come to its end.
        self._first = self._schedules.add(Schedule(name=NAME, task=task, when=Every(INTERVAL), overlap="allow")).row

    def await_both(self) -> None:
        """Returns when two beats are at work."""
        deadline = time.monotonic() + PATIENCE
        while len(self._schedules.beats()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        self._beats = len(self._schedules.beats())

    def kill_one(self) -> None:
        """Kills the second beat, if it has not been killed before."""
        if self._second.poll() is None:
            self._second.kill()
            self._second.wait()

    def score(self) -> Score:
        """Stops the schedule, and counts."""
        self._schedules.pause(NAME, "the demo is over")
        fires = self._fires()
        self._schedules.remove(NAME)
        fired = {fire.job_id for fire in fires if fire.state is FireState.FIRED}
        jobs = self._jobs_when_over(fired)
        planned = _planned(self._first.planned_at, fires)
        missing = len(set(planned) - {fire.planned_at for fire in fires})
        ended = {id for id, state in jobs.items() if state is State.SUCCEEDED}
        return Score(len(planned), len(fired), missing + len(fired - ended), len(jobs.keys() - fired), self._beats)

    def _fires(self) -> list[FireRow]:
        """Those that were decided on while it was not paused, whose jobs are all that there are."""
        fires = self._schedules.show(NAME, MOST).fires
        return [fire for fire in fires if not (fire.reason or "").startswith("paused")]

    def _jobs_when_over(self, fired: set[str | None]) -> dict[str, State]:
        deadline = time.monotonic() + PATIENCE
        while True:
            jobs = self._jobs(fired)
            if all(state.is_final for state in jobs.values()) and fired <= jobs.keys():
                return jobs
            if time.monotonic() > deadline:
                return jobs
            time.sleep(0.2)

    def _jobs(self, fired: set[str | None]) -> dict[str, State]:
        """All that the schedule has started since this demo began, by the ledger."""
        with reading(self._settings.database_url) as connection:
            page = search.list_jobs(connection, search.JobFilter(schedule=NAME, since=self._first.created_at), MOST)
            named = queries.find_jobs(connection, [id for id in fired if id])
        return {row.id: row.state for row in (*page.jobs, *named)}


def _planned(first: datetime | None, fires: list[FireRow]) -> list[datetime]:
    """The planned times from the first one to the last that was decided on, by adding up."""
    last = max((fire.planned_at for fire in fires), default=None)
    times: list[datetime] = []
    while first is not None and last is not None and first <= last:
        times.append(first)
        first += timedelta(seconds=INTERVAL)
    return times


@contextmanager
def running(settings: Settings, app: Any, task: str, log: TextIO) -> Iterator[Metronome]:
    """Starts the second beat and the schedule; at the end that beat is not left running."""
    command = [sys.executable, "-m", "celery", "-A", "workers", "beat", "-l", "INFO"]
    second = subprocess.Popen(command, env=os.environ, stdout=log, stderr=subprocess.STDOUT)
    try:
        metronome = Metronome(settings, app, task, second)
        metronome.await_both()
        yield metronome
    finally:
        second.kill()
        second.wait()
