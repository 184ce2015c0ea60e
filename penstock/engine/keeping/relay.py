"""Publishes the outbox: rows of committed transactions, and those whose message Redis has lost.

A row is published under its lock, and Redis takes a message only if it does not have it: the relay may die between any
two steps, and several may be at work at once. A row's job deletes it when it ends, before the message is settled; so a
row that is published and whose message is not in Redis is a job that Redis has lost.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from itertools import count

from redis.exceptions import RedisError
from sqlalchemy import Connection

from penstock.broker.connection import connect
from penstock.broker.scripts import Scripts
from penstock.engine.keeping import Ward
from penstock.errors import PenstockError
from penstock.ledger import cancellations, outbox
from penstock.ledger.listening import Listener, listen
from penstock.ledger.session import own_connection, translated
from penstock.outbox import outgoing

logger = logging.getLogger("penstock.keeper")
ANSWER_SECONDS = 1.0
"""How long Redis may take: on SQLite nobody else can write meanwhile."""
BATCH, MAX_BYTES = 500, 4_000_000
"""Rows that are published in one transaction."""
ROLE_SECONDS = 1.0
NEVER = float("-inf")
POLL_SECONDS = 1.0
"""After so long the outbox is looked at though nothing was heard: a proxy of PostgreSQL's may keep notifications."""
AGAIN_SECONDS = 0.25
EXPECTED = (RedisError, OSError, PenstockError)
SLICE = 500
"""Published rows that are compared with Redis at a time."""
SETTLING_SECONDS = 2.0
"""Rows published less long ago are not compared: the follow-ups of an outcome are in Redis only after their commit."""
BETWEEN_SLICES, BETWEEN_SWEEPS = 0.2, 2.0


class Outflow:
    """The two steps, each on a connection that has no transaction open."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._passed = 0
        """The number of the last row that was looked at, since a queue refused one; 0: none has."""
        self._refused: set[str] = set()
        """Queues that have refused one; told once."""
        name = secrets.token_urlsafe(8)
        self._tags = (f"{name}.{number}" for number in count())

    def publish(self, connection: Connection) -> int:
        """Publishes the oldest rows that wait, in one transaction; how many it has tried, 0: the next call starts anew.

        Rows that their queue refuses are passed over until then, so that the others need not wait for them. If this
        dies after publishing, the rows wait again, and Redis says that it has their messages.
        """
        with connection.begin():
            rows = outbox.take(connection, self._passed, BATCH, MAX_BYTES)
            if not rows:
                self._passed = 0
                return 0
            answers = self._scripts.publish_outbox([outgoing(message, next(self._tags)) for _, message in rows])
            tried = list(zip(rows, answers, strict=True))
            outbox.mark_published(connection, [row[0] for row, answer in tried if not isinstance(answer, str)])
        refused = {message.queue: answer for (_, message), answer in tried if isinstance(answer, str)}
        if refused or self._passed:
            self._passed = rows[-1][0]
        self._tell(refused)
        return len(rows)

    def _tell(self, refused: Mapping[str, str]) -> None:
        for queue in sorted(refused.keys() - self._refused):
            logger.warning("jobs for %s wait in the outbox, for the queue takes none: %s", queue, refused[queue])
        self._refused |= refused.keys()

    def put_back_lost(self, connection: Connection, after: int, seconds: float) -> tuple[int, int]:
        """Has published rows wait again whose message Redis does not have: those of the next slice.

        Args:
            after: the number of the last row that was compared.
            seconds: rows published less long ago are passed over.

        Returns:
            The number of the last row that was compared, 0 if there are no more; and how many are put back.
        """
        with connection.begin():
            rows = outbox.published_slice(connection, after, SLICE, seconds)
        lost = self._lost(rows)
        back = 0
        if lost:
            with connection.begin():
                cancelled = cancellations.requested(connection, [row.job_id for row in lost])
            # Before they are published: a server that has lost the jobs has lost the requests as well.
            for id, grace in cancelled.items():
                self._scripts.cancel([id], grace)
            with connection.begin():
                back = outbox.put_back(connection, lost)
        return rows[-1].number if len(rows) == SLICE else 0, back

    def _lost(self, rows: list[outbox.Published]) -> list[outbox.Published]:
        if not rows:
            return []
        known = self._scripts.client.hmget(self._scripts.keys.outbox, [row.key for row in rows])
        return [row for row, field in zip(rows, known, strict=True) if field is None]


def publish_for_good(scripts: Scripts, database_url: str) -> int:
    """Publishes all that waits and forgets what is published, for whoever settles nothing; how many were published.

    From then on these jobs are as durable as Redis. It may end at any moment and be repeated.

    Raises:
        LedgerUnavailable, RedisError: nothing is forgotten.
    """
    outflow = Outflow(scripts)
    with translated(database_url), closing(own_connection(database_url)) as connection:
        compared, published = -1, 0
        while compared:
            compared, _ = outflow.put_back_lost(connection, max(compared, 0), seconds=0.0)
        while some := outflow.publish(connection):
            published += some
        with connection.begin():
            outbox.forget_published(connection)
    scripts.client.unlink(scripts.keys.outbox)
    return published


class Relay(threading.Thread):
    """In a thread of its own, on a connection of its own: SQL may hold up neither the lease nor the outcomes.

    One elected keeper does this; the others wait for their turn and hold no connection.
    """

    def __init__(self, ward: Ward, database_url: str) -> None:
        super().__init__(name="relay", daemon=True)
        self._ward = ward
        self._url = database_url
        client = connect(
            ward.broker_url,
            ward.transport_options,
            name="relay",
            connect_seconds=ANSWER_SECONDS,
            answer_seconds=ANSWER_SECONDS,
            retries=0,
        )
        self._scripts = Scripts(client, ward.scripts.keys)
        self._outflow = Outflow(self._scripts)
        self._stopping = threading.Event()
        self._listener: Listener | None = None
        self._elected, self._poll_at, self._compare_at = NEVER, 0.0, 0.0
        self._compared = self._lost = 0
        """The number of the last row that was compared in this sweep, 0: the next sweep begins; and what it has found.
        """
        self._server_changed: bytes | None = None
        self._hurries = False
        """Whether this sweep makes no pauses, because Redis has lost something, or may have."""

    def stop(self) -> None:
        """Ends the thread soon, and gives its role up now: its process may be about to end."""
        self._stopping.set()
        with contextlib.suppress(RedisError, OSError):
            self._ward.resign(self._scripts.keys.relay)

    def run(self) -> None:
        """Until it is stopped, or its process ends."""
        has_failed = False
        while not self._stopping.is_set():
            try:
                self.perform()
                has_failed = False
            except Exception as error:  # Whatever it is, the jobs wait for somebody who tries again.
                if not has_failed:
                    logger.warning("jobs of the outbox wait: %s", error, exc_info=not isinstance(error, EXPECTED))
                has_failed = True
                self.close()
                self._stopping.wait(AGAIN_SECONDS)
        self.close()

    def perform(self) -> None:
        """Waits until there is something to do, for a second at most, and does it.

        Raises:
            PenstockError, RedisError, OSError: SQL or Redis does not answer; nothing is lost.
        """
        if not self._has_role():
            self.close()
            self._stopping.wait(ROLE_SECONDS)
            return
        pause = max(min(self._poll_at, self._compare_at) - time.monotonic(), 0)
        if self._open().wait(pause) or time.monotonic() >= self._poll_at:
            self._publish_all()
        if time.monotonic() >= self._compare_at:
            self._compare_at = time.monotonic() + self.reconcile_slice()

    def close(self) -> None:
        """Closes the connection to SQL; the next use opens another."""
        listener, self._listener = self._listener, None
        self._elected, self._poll_at = NEVER, 0.0
        if listener is not None:
            listener.close()

    def _open(self) -> Listener:
        if self._listener is None:
            self._listener = listen(self._url)
        return self._listener

    def _has_role(self) -> bool:
        """Asks each second; a Redis that does not answer is found out here, before a transaction begins."""
        if time.monotonic() - self._elected > ROLE_SECONDS:
            if self._stopping.is_set() or not self._ward.elect(self._scripts.keys.relay):
                return False
            self._elected = time.monotonic()
            self._notice_another_server()
        return True

    # -- rows that wait -----------------------------------------------------------------------------------------

    def _publish_all(self) -> None:
        """What is there; stops after a turn for a slice of the comparison that is due, and goes on afterwards."""
        while self.turn():
            if not self._has_role() or time.monotonic() >= self._compare_at:
                self._poll_at = 0.0
                return
        self._poll_at = time.monotonic() + POLL_SECONDS

    def turn(self) -> int:
        """Publishes the oldest rows that wait, in one transaction; how many."""
        with translated(self._url):
            return self._outflow.publish(self._open().connection)

    # -- rows whose message is lost -----------------------------------------------------------------------------

    def reconcile_slice(self) -> float:
        """Compares the next published rows with Redis, and has those published again that it has lost.

        Returns:
            Seconds until the next call.
        """
        with translated(self._url):
            connection = self._open().connection
            self._compared, lost = self._outflow.put_back_lost(connection, self._compared, SETTLING_SECONDS)
        if lost:
            self._lost += lost
            self._poll_at, self._hurries = 0.0, True
        if self._compared:
            return 0.0 if self._hurries else BETWEEN_SLICES
        if self._lost:
            logger.warning("Redis did not have %d messages of the outbox; they are published again", self._lost)
        self._lost, self._hurries = 0, False
        return BETWEEN_SWEEPS

    def _notice_another_server(self) -> None:
        """Sweeps at once after Redis was restarted or replaced: it may have lost what it had accepted last."""
        changed = self._scripts.client.hget(self._scripts.keys.server, "changed")
        if changed != self._server_changed:
            self._server_changed, self._hurries = changed, True
            self._compared, self._compare_at = 0, 0.0
