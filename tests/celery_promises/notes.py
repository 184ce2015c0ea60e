"""What tasks and signal receivers tell the tests, in a Redis database outside the system under test."""

import json
import os
from functools import cache
from typing import Any, cast

import redis

PATIENCE = 30


@cache
def database() -> "redis.Redis":
    """A connection to the notes; redis-py opens one of its own after a fork."""
    return redis.Redis.from_url(os.environ["PROMISES_NOTES"], decode_responses=True, socket_timeout=2 * PATIENCE)


def write(key: str, note: Any) -> None:
    """Appends to the list of this name."""
    database().rpush(f"note:{key}", json.dumps(note, default=repr))


def wait(key: str) -> None:
    """Blocks until the test releases ``key``."""
    database().blpop([f"release:{key}"], timeout=PATIENCE)


def read(notes: "redis.Redis", key: str) -> list[Any]:
    """Everything written under this name, in order."""
    return [json.loads(note) for note in cast(list[str], notes.lrange(f"note:{key}", 0, -1))]


def release(notes: "redis.Redis", key: str, times: int = 1) -> None:
    """Lets as many waiting tasks go on."""
    notes.rpush(f"release:{key}", *["go"] * times)
