"""One scheduler's life: look what is due, do it, sleep until the next is due."""

from __future__ import annotations

import gc
import logging
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from penstock.errors import PenstockError
from penstock.ledger import schedules
from penstock.ledger.session import own_connection, translated, writing
from penstock.scheduler.declarations import declared_by, reconcile
from penstock.scheduler.firing import Firing
from penstock.scheduler.following import Following
from penstock.scheduler.foresight import Foresight
from penstock.scheduler.publishing import Publishing
from penstock.scheduler.schedule import Schedule

logger = logging.getLogger("penstock.beat")
POLL_SECONDS = 0.5
"""How long a change of the rows may stay unseen."""
SEEN_SECONDS = 5.0
"""Between two notes in the ledger that this scheduler is at work."""
FORGET = timedelta(hours=1)
"""Schedulers that were not seen for so long are gone for good."""
AGAIN_SECONDS = 0.5
FOLLOW_SECONDS, FOLLOW_SHARE = 0.5, 0.05
"""How often jobs of fires are looked at, and the largest part of the time that this may take."""
RECONSIDER_SECONDS = 60.0
AHEAD, AHEAD_SECONDS = timedelta(seconds=5), 2.0
"""How far schedules are read ahead of their time, and how often; more often than that finds also what is new."""
SPARE_SECONDS = 0.1
"""With less time until the next is due, none are read ahead."""


def scheduler_name() -> str:
    """Of this process: several may be on one host."""
    return f"beat-{os.getpid()}@{socket.gethostname()}"


class Turning:
    """Everything is done in one thread, on one connection; a second one looks."""

    def __init__(self, app: Any, database_url: str, broker_url: str, broker_options: dict[str, Any]) -> None:
        self._app, self._url = app, database_url
        self.name = scheduler_name()
        self._declared: list[Schedule] = declared_by(app)
        self._foresight = Foresight(database_url, self._declared)
        self._firing = Firing(app, self._foresight)
        self._following = Following(app, self.name)
        self._publishing = Publishing(broker_url, broker_options)
        self._connection: Connection | None = None
        self._eyes: Connection | None = None
        """For looking: it is in no transaction, which on SQLite would keep others from writing."""
        self._drivers: list[Any] = []
        self._started_at: datetime | None = None
        """By the database's clock; None: the declarations are not in the ledger yet."""
        self._seen_at = self._follow_at = self._ahead_at = self._reconsider_at = 0.0
        self._has_failed = False
        self._looked_at = 0.0
        """Monotonic time at which it last knew what is due."""

    def begin(self) -> None:
        """Starts the threads, in the process that turns. What is there by now is never garbage."""
        gc.freeze()
        self._publishing.start()
        self._foresight.start()

    def end(self) -> None:
        """Says good-bye, as far as the servers are there."""
        self._foresight.stop()
        self._publishing.stop()
        # A signal may have ended a turn in the middle of a statement, whose locks go with its connection.
        self._close()
        if self._started_at is None:
            return
        try:
            with writing(self._url) as connection:
                schedules.forget_beats(connection, schedules.clock(connection) - FORGET, self.name)
        except (PenstockError, SQLAlchemyError) as error:
            logger.debug("no good-bye: %s", error)

    def turn(self) -> None:
        """Does what is due and sleeps until something is, half a second at most. Raises nothing: it goes on."""
        try:
            with translated(self._url):
                pause = self._work()
            if self._has_failed:
                logger.info("the ledger answers again")
            self._has_failed = False
        except Exception as error:  # Whatever it is, schedules wait for somebody who tries again.
            if not self._has_failed:
                expected = isinstance(error, (PenstockError, SQLAlchemyError))
                logger.warning("schedules wait: %s", error, exc_info=not expected)
            self._has_failed = True
            self._close()
            pause = AGAIN_SECONDS
        if pause > 0:
            time.sleep(pause)

    def _work(self) -> float:
        connection, eyes = self._open()
        if self._started_at is None:
            self._begin_with_declarations(connection)
        now, due_at = self._look(eyes)
        fired = 0
        if due_at is not None and due_at <= now:
            fired, messages = self._firing.fire_due(connection)
            self._publishing.put(messages)
        self._keep_up(connection, eyes)
        if fired:
            return 0.0  # There may be more.
        if due_at is not None and due_at <= now:
            # What is left is locked by another scheduler, or cannot be read here; the next one to come is not.
            due_at = self._next_after(eyes, now)
        return 0.0 if self._has_read_ahead(eyes, due_at, now) else self._until(due_at, now)

    def _has_read_ahead(self, eyes: Connection, due_at: datetime | None, now: datetime) -> bool:
        """Reads schedules ahead as long as nothing is about to be due; whether there may be more to read."""
        if self._until(due_at, now) < SPARE_SECONDS:
            return False
        if self._looked_at >= self._ahead_at:
            self._firing.known.begin_ahead(now + AHEAD)
            self._ahead_at = self._looked_at + AHEAD_SECONDS
        with eyes.begin():
            return self._firing.known.go_ahead(eyes)

    def _until(self, due_at: datetime | None, now: datetime) -> float:
        if due_at is None:
            return POLL_SECONDS
        passed = time.monotonic() - self._looked_at
        return min(max((due_at - now).total_seconds() - passed, 0.0), POLL_SECONDS)

    def _look(self, eyes: Connection) -> tuple[datetime, datetime | None]:
        with eyes.begin():
            now = schedules.clock(eyes)
            due_at = schedules.next_due(eyes)
        self._looked_at = time.monotonic()
        return now, due_at

    def _next_after(self, eyes: Connection, now: datetime) -> datetime | None:
        with eyes.begin():
            return schedules.next_due(eyes, now)

    def _begin_with_declarations(self, connection: Connection) -> None:
        with connection.begin():
            schedules.begin(connection)
            done = reconcile(connection, self._app, self._declared)
            self._started_at = schedules.clock(connection)
        for what, names in (("added", done.added), ("changed", done.changed), ("removed", done.removed)):
            if names:
                logger.info("schedules %s: %s", what, _listed(names))

    def _keep_up(self, connection: Connection, eyes: Connection) -> None:
        """What has a rhythm of its own."""
        now = time.monotonic()
        if now >= self._follow_at:
            self._publishing.put(self._following.look(connection, eyes))
            took = time.monotonic() - now
            self._follow_at = time.monotonic() + max(FOLLOW_SECONDS, took / FOLLOW_SHARE)
        if now >= self._seen_at:
            self._note(connection)
            self._seen_at = now + SEEN_SECONDS
        if now >= self._reconsider_at:
            self._firing.known.reconsider()
            self._reconsider_at = now + RECONSIDER_SECONDS

    def _note(self, connection: Connection) -> None:
        assert self._started_at is not None
        with connection.begin():
            now = schedules.begin(connection)
            schedules.note_beat(connection, self.name, self._started_at, now)
            schedules.forget_beats(connection, now - FORGET)

    def _open(self) -> tuple[Connection, Connection]:
        if self._connection is None or self._eyes is None:
            self._close()
            self._connection = own_connection(self._url)
            self._drivers.append(self._connection.connection.dbapi_connection)
            self._eyes = own_connection(self._url, autocommit=True)
            self._drivers.append(self._eyes.connection.dbapi_connection)
        return self._connection, self._eyes

    def _close(self) -> None:
        """Whatever they are in the middle of: SQLAlchemy would lose sight of one whose statement a signal has ended."""
        self._connection = self._eyes = None
        drivers, self._drivers = self._drivers, []
        for driver in drivers:
            with suppress(Exception):
                driver.close()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
