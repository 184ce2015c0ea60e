"""Wakes idle claimers when a producer pushes without a token, as every stock producer does.

One elected keeper per queue holds ``BLMOVE q q RIGHT RIGHT`` on each of its lists: it waits until the list has
something and moves the first message to where it is, which changes nothing. A blocking peek by every idle claimer
would wake all of them for one message.
"""

from __future__ import annotations

import selectors
import time
from typing import Any

from redis.exceptions import RedisError

from penstock.broker.connection import connect
from penstock.broker.keys import PRIORITY_STEPS
from penstock.engine.keeping import Duty, Ward

BLOCK_SECONDS = 5
TICK_SECONDS = 1.0
AGAIN_SECONDS = 0.05
"""Pause before a list that is not empty is looked at again: it cannot be waited for."""


class Watch(Duty):
    """Elects per queue and holds the peeks of the queues it was elected for."""

    def __init__(self, ward: Ward) -> None:
        super().__init__(ward)
        self._peeks: dict[tuple[str, int], _Peek] = {}
        self._elected = 0.0
        self.watched: list[str] = []
        """Queues that it was elected for."""

    def perform(self) -> float:
        """Holds the elections each second; between them only wakes again what has a backlog."""
        now = time.monotonic()
        if now - self._elected >= TICK_SECONDS:
            keys = self.ward.scripts.keys
            self.watched = [queue for queue in self.ward.queues if self.ward.elect(keys.watcher(queue))]
            self._elected = now
        wanted = {(queue, step) for queue in self.watched for step in PRIORITY_STEPS}
        for place in self._peeks.keys() - wanted:
            self._peeks.pop(place).close()
        for place in wanted - self._peeks.keys():
            self._peeks[place] = _Peek(self, *place)
        for peek in self._peeks.values():
            peek.begin_when_due(now)
        return AGAIN_SECONDS if any(peek.resting_until for peek in self._peeks.values()) else TICK_SECONDS


class _Peek:
    """A blocking look at one list."""

    def __init__(self, watch: Watch, queue: str, step: int) -> None:
        self._watch, self._ward = watch, watch.ward
        self._queue, self._step = queue, step
        self._connection: Any = None
        self._socket: Any = None
        self._begun = 0.0
        self.resting_until = 0.0

    def begin_when_due(self, now: float) -> None:
        if self._connection is not None and self._begun and now - self._begun > 2 * BLOCK_SECONDS:
            self.close()  # A server answers within BLOCK_SECONDS; this connection has nobody at its other end.
        if not self._begun and now >= self.resting_until:
            self._begin(now)

    def _begin(self, now: float) -> None:
        if self._connection is None:
            self._connect()
        key = self._ward.scripts.keys.ready(self._queue, self._step)
        try:
            # Without a check of its health, which would replace the socket that is registered.
            self._connection.send_command("BLMOVE", key, key, "RIGHT", "RIGHT", BLOCK_SECONDS, check_health=False)
        except (RedisError, OSError):
            self.close()
            raise
        self._begun, self.resting_until = now, 0.0

    def _connect(self) -> None:
        pool = connect(self._ward.broker_url, self._ward.transport_options).connection_pool
        connection: Any = pool.make_connection()
        connection.connect()
        self._connection, self._socket = connection, connection._sock
        self._ward.selector.register(self._socket, selectors.EVENT_READ, self._answered)

    def _answered(self) -> None:
        try:
            message = self._connection.read_response()
            self._begun = 0.0
            if message is not None:
                self._ward.scripts.call("wake", self._queue, *PRIORITY_STEPS)
                self.resting_until = time.monotonic() + AGAIN_SECONDS
            self._watch.due = 0.0
        except (RedisError, OSError):
            self.close()

    def close(self) -> None:
        """Lets the connection go; the next performance opens another."""
        connection, self._connection, self._begun = self._connection, None, 0.0
        if connection is not None:
            # redis-py drops its socket at an error; the selector knows it all the same.
            self._ward.selector.unregister(self._socket)
            connection.disconnect()
