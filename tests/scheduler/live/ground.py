"""A ledger, a broker, and whoever is at work there."""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import ColumnElement, Table, func, select

from penstock.job import State
from penstock.ledger.session import reading
from penstock.ledger.tables import fires, outbox, schedules
from tests.conftest import deployment
from tests.live import Worker
from tests.scheduler.live import books, steps
from tests.scheduler.live.beats import Beat, wait_for
from tests.scheduler.live.books import Books
from tests.scheduler.live.tasks import EFFECTS
from tests.scheduler.live.timetables import GATE, TIMETABLE

APP, HALTING = "tests.scheduler.live.app", "tests.scheduler.live.halting"
QUEUES = ("default", "celery", "other")
"""Of declared tasks, and of plain ones."""
ON_THEIR_WAY = 25
"""So many jobs of the fast timetable are started in a second."""


@dataclass(frozen=True)
class Call:
    """A message."""

    queue: str
    job: str
    task: str
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass
class Ground:
    """Short ways to bring about a state, and to look at it."""

    folder: Path
    broker_url: str
    database_url: str
    timetable: str
    variables: dict[str, str] = field(default_factory=dict)
    """Further ones of all processes."""

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._effects = self.folder / "effects"
        self._effects.touch()
        self.gate = self.folder / "gate"

    # -- processes ------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process here."""
        ours = {TIMETABLE: self.timetable, EFFECTS: str(self._effects), GATE: str(self.gate)}
        return deployment(self.broker_url, self.database_url, self.folder) | ours | self.variables

    def beat(self, *options: str, app: str = APP, **variables: str) -> Beat:
        """A beat that is still to be entered."""
        log = self.folder / f"beat{next(self._numbers)}.log"
        return Beat(self.environment | variables, log, *options, app=app)

    def halting_beat(self, step: str, kind: str) -> tuple[Beat, Path]:
        """A beat that sends itself a signal at a step as soon as there is a file; that file."""
        armed = self.folder / f"armed{next(self._numbers)}"
        variables = {steps.STEP: step, steps.SIGNAL: kind, steps.ARMED: str(armed)}
        return self.beat(app=HALTING, **variables), armed

    def worker(self, *options: str, app: str = APP) -> Worker:
        """A worker that is still to be entered."""
        log = self.folder / f"worker{next(self._numbers)}.log"
        return Worker(self.environment, log, "--without-mingle", *options, app=app)

    def await_fires_of(self, schedule: str, count: int) -> None:
        """Waits until a schedule has so many fires."""
        of_it = fires.c.schedule == schedule
        wait_for(lambda: self._count(fires, of_it) >= count, f"{schedule} has {count} fires")

    def await_decisions(self, now: datetime) -> None:
        """Waits until nothing is due any more by a clock that stands still."""

        wait_for(lambda: not self.overdue(now), "nothing is due any more")

    def overdue(self, now: datetime) -> int:
        """How many schedules were due by then and are not decided on."""
        return self._count(schedules, schedules.c.due_at <= now)

    def _count(self, table: Table, *conditions: ColumnElement[bool]) -> int:
        """Waiting is to cost those nothing who are waited for: one number, and not all books."""
        with reading(self.database_url) as connection:
            return int(connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())

    # -- what happened --------------------------------------------------------------------------------------------

    @property
    def books(self) -> Books:
        """What the ledger says now."""
        return books.read(self.database_url)

    def judged(self) -> Books:
        """The same, and it is as it has to be."""
        found = self.books
        books.judge(found)
        return found

    def await_fires(self, count: int) -> None:
        """Waits for so many further fires."""
        wanted = self._count(fires) + count
        wait_for(lambda: self._count(fires) >= wanted, f"there are {count} further fires")

    def calls(self) -> list[Call]:
        """What the messages on the queues say, first in line first."""
        with redis.Redis.from_url(self.broker_url) as client:
            found: dict[str, Any] = {queue: client.lrange(queue, 0, -1)[::-1] for queue in QUEUES}
        return [_call(queue, json.loads(raw)) for queue, raws in found.items() for raw in raws]

    def in_redis(self) -> list[str]:
        """Ids of the jobs on the queues, first in line first."""
        return [call.job for call in self.calls()]

    def _waiting(self) -> int:
        with redis.Redis.from_url(self.broker_url) as client:
            return sum(int(client.llen(queue)) for queue in QUEUES)

    def _is_quiet(self) -> bool:
        """Whether nothing waits and nothing is claimed."""
        with redis.Redis.from_url(self.broker_url) as client:
            return not self._waiting() and not any(client.hlen(key) for key in client.scan_iter("penstock:inflight:*"))

    def effects(self) -> list[dict[str, Any]]:
        """What bodies have said, in order."""
        return [json.loads(line) for line in self._effects.read_text().splitlines()]

    # -- what has to be ---------------------------------------------------------------------------------------------

    def assert_published_once(self) -> None:
        """Each fire's job is in the outbox and on a queue, once; no worker runs, and no beat fires any more.

        What was on its way when a beat ended may be in the outbox alone: that is for the reconciler of a worker.
        """
        found = self.judged()
        started, published = Counter(found.started), Counter(self.in_redis())
        assert Counter(found.outbox) == started
        assert published <= started
        last = sorted((fire for fire in found.fires if fire.job_id), key=lambda fire: fire.decided_at)[-ON_THEIR_WAY:]
        assert (started - published).keys() <= {fire.job_id for fire in last}

    def assert_done_once(self) -> None:
        """Each fire's job has run once; a worker runs, and no beat fires any more."""
        wait_for(lambda: not self._count(outbox), "all jobs have ended")
        wait_for(self._is_quiet, "messages that came too late have been looked at")
        found = self.judged()
        assert set(found.jobs.values()) == {State.SUCCEEDED.value}
        assert set(found.started) <= set(found.jobs)
        done = Counter((effect["job"], effect["schedule"]) for effect in self.effects())
        assert done == Counter({(fire.job_id, fire.schedule): 1 for fire in found.fires if fire.job_id})

    def assert_told_times(self) -> None:
        """Each job that has run was told of its own time, and of the one before."""
        told = {effect["job"]: (effect["planned"], effect["previous"]) for effect in self.effects()}
        expected = told_times(self.books)
        assert told == {job: expected[job] for job in told}


def _call(queue: str, message: dict[str, Any]) -> Call:
    """As it is on the wire; kombu may have made base64 of its body."""
    body = message["body"]
    if message["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body)
    args, kwargs, _ = json.loads(body)
    return Call(queue, message["headers"]["id"], message["headers"]["task"], args, kwargs)


def told_times(found: Books) -> dict[str, tuple[str, str | None]]:
    """What each job is told of its own time, and of that of the fire before it."""
    told: dict[str, tuple[str, str | None]] = {}
    last: dict[str, str] = {}
    for fire in found.fires:
        if fire.job_id:
            told[fire.job_id] = fire.planned_at.isoformat(), last.get(fire.schedule)
            last[fire.schedule] = fire.planned_at.isoformat()
    return told
