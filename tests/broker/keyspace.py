"""The whole key space of a server as plain values, and matchers for the times in it."""

from dataclasses import dataclass
from typing import Any

import redis

Space = dict[str, Any]


def dump(client: redis.Redis) -> Space:
    """Every key with its value; the type shows in the value.

    A string is bytes, a list a list of bytes, a set a set of bytes, a hash a dict of bytes, a sorted set a dict of
    whole numbers.
    """
    keys: list[Any] = client.keys("*")
    types = _all(client, [("TYPE", key) for key in keys])
    values = _all(client, [_read(kind.decode(), key) for kind, key in zip(types, keys, strict=True)])
    return {key.decode(): _plain(kind.decode(), value) for key, kind, value in zip(keys, types, values, strict=True)}


def server_ms(client: redis.Redis) -> int:
    """The server's clock."""
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


@dataclass(frozen=True, eq=False)
class Between:
    """Equal to any number, or text of a number, from ``low`` to ``high``."""

    low: int
    high: int

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Between):
            return (self.low, self.high) == (other.low, other.high)
        return isinstance(other, int | float | bytes) and self.low <= int(other) <= self.high

    def later(self, ms: int) -> "Between":
        """The same, so much later."""
        return Between(self.low + ms, self.high + ms)


@dataclass(frozen=True, eq=False)
class Count:
    """Equal to the delivery count ``deliveries:crashes:time`` of a message."""

    deliveries: int
    crashes: int
    at: Between

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, bytes):
            return False
        deliveries, crashes, at = other.split(b":")
        return (int(deliveries), int(crashes)) == (self.deliveries, self.crashes) and self.at == int(at)


def _all(client: redis.Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute()


def _read(kind: str, key: Any) -> tuple[Any, ...]:
    return {
        "string": ("GET", key),
        "list": ("LRANGE", key, 0, -1),
        "set": ("SMEMBERS", key),
        "hash": ("HGETALL", key),
        "zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
    }[kind]


def _plain(kind: str, value: Any) -> Any:
    if kind == "set":
        return set(value)
    if kind == "hash":
        pairs = value.items() if isinstance(value, dict) else zip(value[::2], value[1::2], strict=True)
        return {field.decode(): content for field, content in pairs}
    if kind == "zset":
        pairs = value if value and isinstance(value[0], list | tuple) else zip(value[::2], value[1::2], strict=True)
        return {member: int(float(score)) for member, score in pairs}
    return value
