"""A scheduler that turns when it is told to: the real one's parts, without its threads and its sleep."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from penstock.client import Job
from penstock.ledger import fires, schedules
from penstock.ledger.fires import FireRow
from penstock.ledger.records import FollowUp
from penstock.ledger.session import own_connection, reading, translated, writing
from penstock.ledger.tables import fires as fires_table
from penstock.outbox import outgoing
from penstock.scheduler.declarations import declared_by, reconcile
from penstock.scheduler.firing import Firing
from penstock.scheduler.following import Following
from penstock.scheduler.foresight import Foresight
from penstock.scheduler.schedule import Schedule
from penstock.scheduler.timetables.foreign import Foreign
from penstock.testing.clock import Fire

if TYPE_CHECKING:
    from penstock.testing.bench import Bench

NAME = "beat@pytest"
Key = tuple[str, datetime]


class Scheduling:
    """Of one test."""

    def __init__(self, app: Any, bench: Bench, chosen: Sequence[Schedule] | None) -> None:
        """Args:
        chosen: in place of the schedules that the app declares.
        """
        from penstock.scheduler.declarations import zone_name

        self._app, self._bench = app, bench
        self._url = bench.ledger
        zone = zone_name(app)
        self._declared = declared_by(app) if chosen is None else [each.in_zone(zone) for each in chosen]
        self._zones = {each.name: each.zone for each in self._declared}
        self._foresight = Foresight(self._url, self._declared)
        self._firing = Firing(app, self._foresight)
        self._following = Following(app, NAME)
        self._has_foreign = any(isinstance(each.when, Foreign) for each in self._declared)
        self._connections: tuple[Connection, Connection] | None = None

    def begin(self) -> None:
        """Writes the declarations into the ledger, as a scheduler does when it starts."""
        with writing(self._url) as connection:
            reconcile(connection, self._app, self._declared)

    def turn(self) -> None:
        """Decides on what is due, until nothing is, and on what has ended; publishes what that has started."""
        with translated(self._url):
            connection, eyes = self._open()
            count = 1
            while count and self._is_due(eyes):
                self._foresight.look_ahead()
                count, messages = self._firing.fire_due(connection)
                self._publish(messages)
            while messages := self._following.look(connection, eyes):
                self._publish(messages)

    def _is_due(self, eyes: Connection) -> bool:
        """Whether a schedule is due, or one is there whose first time nobody knows so far."""
        with eyes.begin():
            due = schedules.next_due(eyes)
            return self._has_foreign or (due is not None and due <= schedules.clock(eyes))

    def _open(self) -> tuple[Connection, Connection]:
        """One for deciding and one for looking, as a scheduler has them, until the test ends."""
        if self._connections is None:
            self._connections = own_connection(self._url), own_connection(self._url, autocommit=True)
        return self._connections

    def end(self) -> None:
        """Closes its connections."""
        for connection in self._connections or ():
            connection.close()
        self._connections = None

    def _publish(self, messages: Sequence[FollowUp]) -> None:
        if messages:
            self._bench.scripts.publish_outbox([outgoing(each, secrets.token_urlsafe(8)) for each in messages])

    def steps(self, until: datetime, *, with_jobs: bool) -> Iterator[datetime]:
        """Each time up to ``until`` at which something is due.

        Args:
            with_jobs: also parked jobs.
        """
        last: datetime | None = None
        while (step := self._next(last, with_jobs)) is not None and step <= until:
            yield step
            last = step

    def _next(self, last: datetime | None, with_jobs: bool) -> datetime | None:
        """What stands still, as a schedule that cannot be decided on, is passed over."""
        with reading(self._url) as eyes:
            due = schedules.next_due(eyes, last)
        parked = self._bench.next_parked(last) if with_jobs else None
        return min((each for each in (due, parked) if each is not None), default=None)

    # -- what was decided -----------------------------------------------------------------------------------------

    def known(self) -> dict[Key, str]:
        """The states of all fires so far."""
        return {(row.schedule, row.planned_at): row.state.value for row in self._rows()}

    def news(self, before: dict[Key, str]) -> list[Fire]:
        """Fires that are new since then, or have another state."""
        return [
            Fire(
                schedule=row.schedule,
                planned_at=row.planned_at.astimezone(self._zones.get(row.schedule, UTC)),
                state=row.state.value,
                reason=row.reason,
                job=Job(row.job_id, "") if row.job_id else None,
            )
            for row in self._rows()
            if before.get((row.schedule, row.planned_at)) != row.state.value
        ]

    def _rows(self) -> list[FireRow]:
        ordered = select(fires_table).order_by(fires_table.c.planned_at, fires_table.c.schedule)
        with reading(self._url) as eyes:
            return [fires.fire_of(row) for row in eyes.execute(ordered)]
