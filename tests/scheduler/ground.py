"""A ledger with schedules, and schedulers in this process: short ways to bring about a state, and to look at it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from celery import shared_task
from sqlalchemy import Connection, event, insert, select, update

from penstock.app import PenstockApp
from penstock.job import Reason, State
from penstock.ledger import fires, schedules
from penstock.ledger.fires import FireRow, FireState, Origin
from penstock.ledger.records import FollowUp
from penstock.ledger.rows import AuditRow, Failure, Outcome
from penstock.ledger.schedules import ScheduleRow
from penstock.ledger.session import engine_for, own_connection, reading, writing
from penstock.ledger.tables import audit, metadata, outbox
from penstock.ledger.tables import fires as fires_table
from penstock.scheduler import Every, Schedule
from penstock.scheduler.changes import Schedules
from penstock.scheduler.declarations import Reconciled, new_row, reconcile
from penstock.scheduler.firing import Firing
from penstock.scheduler.following import Following
from penstock.scheduler.foresight import Foresight
from penstock.scheduler.timetables.foreign import Foreign
from penstock.scheduler.turning import Turning
from tests import jobs
from tests.ledger.making import SUCCEEDED, delivery, end, running, write

LATE = timedelta(seconds=5)
HOUR = timedelta(hours=1)
NAME, HEAR = "sums", "tests.scheduler.hear"
SUM = {"left": 1, "right": 2}
BROKEN = Outcome(
    state=State.FAILED, reason=Reason.ERROR, failure=Failure(type="ValueError", message="no", exception={})
)


def sums(name: str = NAME, **values: Any) -> Schedule:
    """A schedule whose task is declared; every hour unless something else is said."""
    return Schedule(**{"name": name, "task": jobs.add.name, "when": Every(3600), "kwargs": SUM, **values})


@shared_task(name=HEAR)
def hear(schedule: str, times: list[str], reason: str) -> None:
    """Is told of fires that were missed."""


class Message:
    """A message of the outbox, as a worker reads it."""

    def __init__(self, row: Any) -> None:
        self.row = row
        words = json.loads(row.payload + b'tag"}}')
        self.headers: dict[str, Any] = words["headers"]
        self.args, self.kwargs, _ = json.loads(words["body"])


class Ground:
    """Times are hours that passed just now, five seconds ago: late, but not too late, and far from the next."""

    def __init__(self, app: PenstockApp) -> None:
        self.app, self.url = app, app.settings.database_url
        self.broker_url = app.settings.redis_url
        self.last = datetime.now(UTC).replace(microsecond=0) - LATE
        """The last planned time of ``hourly``."""
        self.hourly = Every(3600, phase=self.last.timestamp() % 3600)
        self.changes = Schedules(app, self.url, "ada")
        self._declared: list[Schedule] = []
        self._ends: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for finish in reversed(self._ends):
            finish()

    def hour(self, number: int) -> datetime:
        """The last planned time of ``hourly`` is 0, the one before -1."""
        return self.last + number * HOUR

    def sums(self, name: str = NAME, **values: Any) -> Schedule:
        """A schedule that is planned at these hours."""
        return sums(name, **{"when": self.hourly, **values})

    # -- rows -----------------------------------------------------------------------------------------------------

    def add(self, *made: Schedule, since: int | None = 0, by: str | None = None, **columns: Any) -> None:
        """Rows of schedules whose next planned time is that hour; None: as a new one has it."""
        with writing(self.url) as connection:
            for each in made:
                row = new_row(each, by, schedules.clock(connection)) | columns
                if since is not None:
                    planned = self.hour(since)
                    row |= {"planned_at": planned, "due_at": each.due(planned)}
                connection.execute(insert(metadata.tables["schedules"]).values(**row))

    def set(self, name: str = NAME, **columns: Any) -> None:
        """Columns of a schedule's row."""
        with writing(self.url) as connection:
            schedules.change(connection, name, columns, datetime.now(UTC))

    def put_back(self, name: str = NAME, number: int = 0) -> None:
        """Makes it so that nothing has been decided on since that hour."""
        self.set(name, planned_at=self.hour(number), due_at=self.hour(number))

    def an_hour_passes(self, name: str = NAME) -> None:
        """As if: all that was decided lies an hour further back, and the last hour is due again."""
        with writing(self.url) as connection:
            for fire in fires.list_fires(connection, name, 100)[::-1]:
                same = (fires_table.c.schedule == name, fires_table.c.planned_at == fire.planned_at)
                earlier = {"planned_at": fire.planned_at - HOUR}
                connection.execute(update(fires_table).where(*same).values(earlier))
            row = schedules.find(connection, name)
            assert row is not None
            values = {"planned_at": self.last, "due_at": self.last, "previous_at": row.previous_at}
            if row.previous_at is not None:
                values["previous_at"] = row.previous_at - HOUR
            schedules.change(connection, name, values, datetime.now(UTC))

    def insert(self, *rows: FireRow) -> None:
        """Rows of fires."""
        with writing(self.url) as connection:
            fires.insert(connection, rows)

    def fire(self, number: float, state: FireState = FireState.FIRED, name: str = NAME, **values: Any) -> FireRow:
        """A fire of an hour."""
        planned = self.last + number * HOUR
        fixed = {"schedule": name, "planned_at": planned, "origin": Origin.PLANNED, "decided_at": planned}
        fixed |= {"job_id": f"{name} {number:g}"} if state is FireState.FIRED else {"reason": "because"}
        return FireRow(state=state, **{**fixed, **values})

    def row(self, name: str = NAME) -> ScheduleRow:
        """A schedule's row."""
        with reading(self.url) as connection:
            found = schedules.find(connection, name)
        assert found is not None, f"there is no schedule {name!r}"
        return found

    @property
    def names(self) -> list[str]:
        """Of all schedules."""
        with reading(self.url) as connection:
            return [row.name for row in schedules.list_all(connection)]

    def fires(self, name: str = NAME) -> list[FireRow]:
        """All of a schedule, by planned time."""
        with reading(self.url) as connection:
            return fires.list_fires(connection, name, 100_000)[::-1]

    def states(self, name: str = NAME) -> list[str]:
        """What has become of its planned times, in their order."""
        return [fire.state.value for fire in self.fires(name)]

    def reasons(self, name: str = NAME) -> list[str | None]:
        """Why."""
        return [fire.reason for fire in self.fires(name)]

    @property
    def messages(self) -> list[Message]:
        """In the outbox, in their order."""
        with reading(self.url) as connection:
            return [Message(row) for row in connection.execute(select(outbox).order_by(outbox.c.number))]

    @property
    def audited(self) -> list[AuditRow]:
        """What people and schedulers did."""
        with reading(self.url) as connection:
            rows = connection.execute(select(audit).order_by(audit.c.id))
            return [AuditRow(**row._mapping) for row in rows]

    # -- schedulers -----------------------------------------------------------------------------------------------

    def reconcile(self, *declared: Schedule) -> Reconciled:
        """As a scheduler of this application begins."""
        with writing(self.url) as connection:
            return reconcile(connection, self.app, declared)

    def firing(self, *declared: Schedule) -> Firing:
        """Another scheduler's."""
        return Firing(self.app, Foresight(self.url, declared))

    def fire_due(self, firing: Firing | None = None) -> list[FollowUp]:
        """Decides on what is due, until nothing is; the messages that are to be published."""
        firing, messages = firing or self.firing(), list[FollowUp]()
        with closing(own_connection(self.url)) as connection:
            while (done := firing.fire_due(connection))[0]:
                messages += done[1]
        return messages

    def look(self, name: str = "beat") -> list[FollowUp]:
        """Looks at jobs that have ended and fires that wait, once."""
        with closing(own_connection(self.url)) as connection, reading(self.url) as eyes:
            return Following(self.app, name).look(connection, eyes)

    def turning(self, *declared: Schedule) -> Turning:
        """A scheduler that has begun; it ends with the test."""
        self.app.schedules = declared
        made = Turning(self.app, self.url, self.broker_url, {})
        made.begin()
        self._ends.append(made.end)
        return made

    def let_turn(self, *turnings: Turning) -> list[threading.Thread]:
        """Lets them turn in threads until the test ends."""
        stop = threading.Event()

        def turn(turning: Turning) -> None:
            while not stop.is_set():
                turning.turn()

        threads = [threading.Thread(target=turn, args=(each,)) for each in turnings]
        for thread in threads:
            thread.start()
        self._ends += [thread.join for thread in threads]
        self._ends.append(stop.set)
        return threads

    # -- jobs -----------------------------------------------------------------------------------------------------

    def start(self, job_id: str | None) -> None:
        """What a worker's keeper notes of a job that runs."""
        write(self.url, running(delivery(job_id or "", task=jobs.add.name)))

    def end(self, job_id: str | None, outcome: Outcome = SUCCEEDED) -> None:
        """What a worker's keeper writes when a job ends."""
        ended = end(delivery(job_id or "", task=jobs.add.name), outcome)
        write(self.url, replace(ended, outbox_key=job_id))

    def end_all(self, outcome: Outcome = SUCCEEDED, name: str = NAME) -> None:
        """Ends the jobs of a schedule that are followed, the first first."""
        with reading(self.url) as connection:
            open_jobs = fires.open_jobs(connection, name)
        for job_id in open_jobs:
            self.end(job_id, outcome)

    @contextmanager
    def held(self, name: str = NAME) -> Iterator[Connection]:
        """Meanwhile somebody else has a schedule's row, without having written anything."""
        with writing(self.url) as connection:
            schedules.lock(connection, name)
            yield connection


@contextmanager
def statements(url: str) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = engine_for(url)
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


class Odd:
    """A schedule object that somebody has written for Celery: due every so many seconds from 1970 on."""

    def __init__(self, seconds: float, also: Callable[[], object] = lambda: None) -> None:
        self.seconds, self._also = seconds, also
        self.nowfun: Callable[[], datetime] | None = None

    def __repr__(self) -> str:
        return f"<odd: {self.seconds:g} s>"

    def is_due(self, last: datetime) -> tuple[bool, float]:
        """Celery's question."""
        self._also()
        assert self.nowfun is not None
        now, step = self.nowfun().timestamp(), self.seconds
        return now // step > last.timestamp() // step, step - now % step


def foreign(seconds: float = 3600, also: Callable[[], object] = lambda: None, name: str = NAME) -> Schedule:
    """A schedule with such an object."""
    return sums(name, when=Foreign(Odd(seconds, also)))


def planned(rows: Sequence[FireRow]) -> list[datetime]:
    """Their planned times."""
    return [row.planned_at for row in rows]
