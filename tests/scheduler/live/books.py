"""What the ledger says at one moment, and whether that is what has to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from penstock.ledger.fires import FireRow, FireState, Origin, fire_of
from penstock.ledger.schedules import BeatRow, ScheduleRow, list_all, list_beats
from penstock.ledger.session import reading
from penstock.ledger.tables import fires, jobs, outbox
from penstock.scheduler.schedule import Schedule
from penstock.scheduler.timetables.interval import EPOCH, MICROSECOND
from tests.scheduler.timetables import oracle
from tests.scheduler.timetables.oracle import MINUTE

ON_TIME = timedelta(seconds=4)
"""A fire that is later has waited for something: machines that run tests are busy, but not that busy."""
AT_ONCE = timedelta(seconds=0.3)
"""Most fires are not even so late, unless each turn waits for something."""


@dataclass(frozen=True)
class Books:
    """Rows of one snapshot."""

    schedules: dict[str, ScheduleRow]
    fires: list[FireRow]
    """By planned time."""
    outbox: list[str]
    """Ids of jobs."""
    jobs: dict[str, str]
    """States of jobs by id."""
    beats: list[BeatRow]

    def of(self, schedule: str, state: FireState | None = None) -> list[FireRow]:
        """The fires of a schedule, those in a state or all."""
        return [fire for fire in self.fires if fire.schedule == schedule and state in (None, fire.state)]

    def planned(self, schedule: str, state: FireState | None = None) -> list[datetime]:
        """Their planned times."""
        return [fire.planned_at for fire in self.of(schedule, state)]

    @property
    def started(self) -> list[str]:
        """The jobs of all fires."""
        return [fire.job_id for fire in self.fires if fire.job_id]

    @property
    def latest(self) -> timedelta:
        """By how much the latest fire was late."""
        return self._delays[-1]

    @property
    def typical(self) -> timedelta:
        """By how much half of the fires were late at most."""
        return self._delays[len(self._delays) // 2]

    @property
    def _delays(self) -> list[timedelta]:
        """In order. Jitter is no delay, and waiting for another job is none."""
        decided = [fire for fire in self.fires if self.schedule(fire.schedule).overlap == "allow"]
        return sorted(fire.decided_at - self.due(fire) for fire in decided)

    def due(self, fire: FireRow) -> datetime:
        """When a fire was to be decided."""
        return self.schedule(fire.schedule).due(fire.planned_at)

    def schedule(self, name: str) -> Schedule:
        """A schedule as it is declared."""
        definition = self.schedules[name].definition
        assert definition is not None
        return Schedule.of(name, definition)


def read(url: str) -> Books:
    """What the ledger says now. No lock is needed for that on either database, so a beat that is stopped can be read
    about as well.
    """
    with reading(url) as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN" if is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ")
        books = _read(connection)
        connection.exec_driver_sql("COMMIT")
    return books


def _read(connection: Connection) -> Books:
    return Books(
        schedules={row.name: row for row in list_all(connection)},
        fires=[fire_of(row) for row in connection.execute(select(fires).order_by(fires.c.planned_at))],
        outbox=list(connection.execute(select(outbox.c.job_id)).scalars()),
        jobs={row.id: row.state for row in connection.execute(select(jobs.c.id, jobs.c.state))},
        beats=list_beats(connection),
    )


def judge(books: Books) -> None:
    """Asserts that each schedule has had its planned times and no others, and that each of them has its job or a
    reason for having none.
    """
    for name, row in books.schedules.items():
        expected = list(expected_times(row, books.planned(name)))
        assert expected, f"{name}: nothing was planned, so this shows nothing"
        assert books.planned(name) == expected[:-1], name
        assert row.planned_at == expected[-1], f"{name} is not where its fires are"
    for fire in books.fires:
        assert fire.origin is Origin.PLANNED
        assert (fire.state is FireState.FIRED) == bool(fire.job_id), fire
        assert fire.job_id or fire.reason, fire
    doubled = {job: times for job, times in Counter(books.started).items() if times > 1}
    assert not doubled


def expected_times(row: ScheduleRow, planned: Sequence[datetime]) -> Iterator[datetime]:
    """The planned times since a schedule was made, as the oracle has them, up to the one that is not decided on.

    Args:
        planned: of its fires; one that has to be asked says itself when it begins.
    """
    assert row.definition is not None
    assert row.planned_at is not None
    when = row.definition["when"]
    if when["kind"] == "cron":
        zone, dst = row.definition["timezone"], row.definition.get("dst", "cron")
        start, end = row.created_at.replace(second=0, microsecond=0) + MINUTE, row.planned_at + MINUTE
        days = when.get("days", "either")
        yield from oracle.cron(when["expression"], zone, start, end, dst=dst, days=days)
        return
    seconds, begin = when.get("seconds"), row.created_at
    if when["kind"] == "celery" and "solar" in when["looks"]:  # Only the sun knows.
        yield from [*planned, row.planned_at]
        return
    if when["kind"] == "celery":  # Every so many seconds since it was first asked.
        seconds = float(when["looks"].strip("<>").split()[1])
        first = min([*planned, row.planned_at])
        yield from _steps(seconds, (first - EPOCH) // MICROSECOND % round(seconds * 1e6), first - MICROSECOND, row)
        return
    yield from _steps(seconds, round(when.get("phase", 0) * 1e6), begin, row)


def _steps(seconds: float, phase: int, begin: datetime, row: ScheduleRow) -> Iterator[datetime]:
    assert row.planned_at is not None
    found = begin
    while found < row.planned_at:
        found = EPOCH + oracle.every(round(seconds * 1e6), phase, (found - EPOCH) // MICROSECOND) * MICROSECOND
        yield found
