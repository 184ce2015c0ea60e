"""What the system says it has: the outcomes in its store, and every message in every key of Redis."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator
from typing import Any

import redis

from tests.faults.fires import Booked
from tests.faults.judge import Outcome
from tests.faults.stores import Store

ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
BODY = re.compile(rb'"body": ?"([A-Za-z0-9+/=]+)"')
"""A message's body, in which the rest of a chain travels."""
NOT_A_MESSAGE = (
    b"celery-task-meta-",
    b"_kombu.",
    b"penstock:waiting:",
    b"penstock:revoked",
    b"penstock:blocked",
    b"penstock:outbox",
)
"""Keys that name jobs without holding them."""


class Holdings:
    """Reads without the libraries of either side."""

    def __init__(self, client: redis.Redis, store: Store) -> None:
        self._client = client
        self._store = store

    def outcomes(self, jobs: Collection[str]) -> dict[str, Outcome]:
        """Of those of the jobs that are final in the store."""
        return self._store.outcomes(jobs)

    def scheduled(self) -> set[str]:
        """Schedules whose next planned time is in the store."""
        return self._store.scheduled()

    def booked(self) -> list[Booked]:
        """What the store says of planned times."""
        return self._store.booked()

    def mentioned(self, jobs: set[str]) -> set[str]:
        """Those of which some key, or the outbox, holds the message, whatever its name; and the next of a chain."""
        sought = {job.encode() for job in jobs}
        in_redis = {id.decode() for value in self._values() for id in _ids(value) if id in sought}
        return in_redis | (self._store.to_be_sent() & jobs)

    def keep(self, message: bytes) -> bool:
        """Whether the message is still somewhere, byte for byte."""
        return any(message in value for value in self._values()) or self._store.keeps(message.decode())

    def _values(self) -> Iterator[bytes]:
        """All values of all keys that may hold messages."""
        for key in self._client.scan_iter(count=1000):
            if not key.startswith(NOT_A_MESSAGE):
                yield from self._values_of(key)

    def _values_of(self, key: bytes) -> Any:
        kind = self._client.type(key)
        if kind == b"list":
            return self._client.lrange(key, 0, -1)
        if kind == b"hash":
            return self._client.hvals(key)
        if kind == b"zset":
            return self._client.zrange(key, 0, -1)
        if kind == b"set":
            return self._client.smembers(key)
        value = self._client.get(key)
        return [value] if value else []


def _ids(value: bytes) -> Iterator[bytes]:
    yield from ID.findall(value)
    for body in BODY.findall(value):
        yield from ID.findall(base64.b64decode(body))
