"""A bench for scripts: short ways to bring about a state, and to say what the whole key space has to be."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from typing import Any

import redis

from penstock.broker.keys import FIELD_SEPARATOR, Keys
from penstock.broker.scripts import Claimed, ClaimReply, Scripts, Settlement, Source
from tests.broker.keyspace import Between, Count, Space, dump, server_ms

WORKER = "ant@host/00000001"
QUEUE = "mail"
FIRST = "1:0"
"""Token of the first claim."""
LIMIT = 3
"""Crashes after which a message is buried."""


class Bench:
    """Scripts, keys and a server; the worker and the queue are the same unless a test says otherwise."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client = client
        self.keys = Keys(prefix)
        self.scripts = Scripts(client, self.keys)
        start = server_ms(client)
        self.recent = Between(start, start + 120_000)
        """Any time since the test began."""
        self._sequence = 0

    @property
    def now(self) -> int:
        """The server's clock in ms."""
        return server_ms(self.client)

    @property
    def space(self) -> Space:
        """The whole key space."""
        return dump(self.client)

    # What happens.

    def push(self, *raws: bytes, queue: str = QUEUE, step: int = 0) -> None:
        """Puts messages last in line as stock Celery does, which leaves no other trace."""
        self.client.lpush(self.keys.ready(queue, step), *raws)

    def publish(self, *raws: bytes, queue: str = QUEUE, step: int = 0, due_ms: int = 0) -> bool:
        """Publishes messages without an id as the producer ``p``, each call with a new number."""
        self._sequence += 1
        return self.scripts.publish("p", self._sequence, queue, step, [("", raw) for raw in raws], due_ms)

    def claim(
        self, *sources: Source, claimer: str = WORKER, base: int = 0, count: int = 200, max_bytes: int = 1_000_000
    ) -> ClaimReply:
        """Claims from the sources, or from the queue's first list."""
        return self.scripts.claim(WORKER, claimer, base, sources or [Source(QUEUE, 0)], count, max_bytes)

    def hold(self, *raws: bytes, step: int = 0) -> list[Claimed]:
        """A live worker claims just these messages."""
        self.scripts.join(WORKER)
        self.push(*raws, step=step)
        return self.claim(Source(QUEUE, step)).messages

    def settle(self, verb: str, first: str = "", second: str = "", *, token: str = FIRST) -> int:
        """Settles the claim of one token."""
        return self.scripts.settle([Settlement(WORKER, QUEUE, token, verb, first, second)])[0]

    def silence(self, worker: str, ms: int) -> None:
        """Makes the worker's last renewal that much older."""
        self.client.zincrby(self.keys.leases, -ms, worker)

    def ticking(self, ms: int) -> None:
        """Makes it so that reaping has ticked without a break for that long."""
        self.client.hset(self.keys.reaper, mapping={"since": self.now - ms, "last": self.now})

    @contextmanager
    def full_memory(self) -> Iterator[None]:
        """The server is over its memory limit and evicts nothing."""
        self.client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            self.client.config_set("maxmemory", 0)

    # What has to be there.

    def ready(self, *raws: bytes, queue: str = QUEUE, step: int = 0) -> Space:
        """A ready list, first in line first."""
        return {self.keys.ready(queue, step): list(raws[::-1])}

    def wake(self, tokens: int, queue: str = QUEUE) -> Space:
        """Wake tokens."""
        return {self.keys.wake(queue): [b"1"] * tokens}

    def lease(self, *workers: str) -> Space:
        """Leases renewed since the test began."""
        return {self.keys.leases: {worker.encode(): self.recent for worker in workers or (WORKER,)}}

    def idle(self, base: int = 0) -> Space:
        """A live worker that has claimed and settled."""
        fields = {f"base:{WORKER}": b"%d" % base, f"held:{WORKER}{FIELD_SEPARATOR}{QUEUE}": b"1"}
        return {**self.lease(), self.keys.worker(WORKER): fields}

    def holding(self, base: int = 0, **raws: bytes) -> Space:
        """A live worker that holds these: ``t1_0`` stands for the token 1:0."""
        tokens = {token.removeprefix("t").replace("_", ":"): raw for token, raw in raws.items()}
        return {**self.idle(base), self.keys.inflight(WORKER, QUEUE): tokens}

    def tally(self, **counts: int) -> Space:
        """What was counted of the queue for the balance sheet."""
        fields = {f"{what}:{QUEUE}": b"%d" % count for what, count in counts.items()}
        return {self.keys.tally: {**fields, "since": self.recent}}

    def counted(self, raw: bytes, deliveries: int, crashes: int) -> Space:
        """The delivery count of one message."""
        return {self.keys.deliveries: {sha_of(raw): Count(deliveries, crashes, self.recent)}}

    def dead(self, raw: bytes, kind: str, reason: str, token: str = FIRST, deliveries: int = 1, job: str = "") -> Space:
        """A dead entry and its place in the list of those."""
        entry: dict[str, Any] = {
            "raw": raw,
            "kind": kind.encode(),
            "queue": QUEUE.encode(),
            "step": token.partition(":")[2].encode(),
            "reason": reason.encode(),
            "at": self.recent,
            "deliveries": b"%d" % deliveries,
            "job": job.encode(),
        }
        name = f"{WORKER}:{token}"
        return {self.keys.dead: [name.encode()], self.keys.dead_entry(name): entry}


def sha_of(raw: bytes) -> str:
    """The name under which the deliveries of a message are counted."""
    return sha1(raw, usedforsecurity=False).hexdigest()
