"""What this process holds: every claimed message that is not settled yet, across connections and reconnections."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock.broker import envelope
from penstock.broker.keys import Keys
from penstock.broker.scripts import (
    MAX_CLAIM,
    MAX_CLAIM_BYTES,
    Claimed,
    ClaimReply,
    Settlement,
    Source,
    claim_arguments,
)

ACKS = ("ack", "ack_counted")
PARK_MARGIN_MS = 20
"""A message that is due sooner than this is delivered; parking it would only delay it."""


class Settler(Protocol):
    """Carries settlements to Redis, whatever happens to connections meanwhile; see ``penstock.engine.link``."""

    def settle(self, settlement: Settlement) -> None:
        """Ends a claim; from any thread; never waits for Redis."""

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """Takes claimed (queue, job id) pairs off the waiting index; from any thread."""


def new_incarnation(hostname: str) -> str:
    """A name that no worker ever had: whoever holds claims under the old name cannot be confused with it."""
    return f"{hostname}/{uuid.uuid4().hex[:8]}"


def claimer_name(worker: str, member: str) -> str:
    """The claimer of an incarnation; without a member, the incarnation is its own and only one."""
    return f"{worker}.{member}" if member else worker


def worker_of(claimer: str) -> str:
    """The incarnation that a claimer belongs to. A host's name may have dots, an incarnation has none behind its."""
    host, slash, rest = claimer.rpartition("/")
    return f"{host}{slash}{rest.partition('.')[0]}"


@dataclass
class Claims:
    """The claims of one worker process, which is one claimer.

    A claim belongs to the claimer and not to a connection. So a lost connection changes nothing here: running jobs
    go on, and what was claimed but not received yet is asked for again under the same base.
    """

    hostname: str
    keys: Keys
    settler: Settler
    crash_limit: int = 3
    """Deliveries that ended with the death of the process, from which on a message is buried."""
    member: str = ""
    """Which claimer of the worker this is, where it has several; empty: the worker is its only claimer."""
    worker: str = ""
    """The incarnation, once the lease has begun; nothing is claimed while it is empty."""
    revoked_version: int = 0
    is_held_back: bool = False
    """Whether nothing more is claimed for now, because too much of what was claimed waits to be recorded."""
    last_claim: float = 0.0
    """Monotonic time of the last answer to a claim."""
    claimed_ms: float = 0.0
    """When the last messages were claimed, by the server's clock."""
    on_revoked: Callable[[list[str], list[tuple[str, str]]], None] = lambda *revoked: None  # noqa: ARG005
    """Told of revoked job ids and of revoked stamps, (header, value)."""
    unknown: tuple[Source, ...] = ()
    """Lists of tasks that other workers did not know."""
    _base: int = 0
    _pending: list[Any] | None = None
    _held: dict[str, tuple[str, str]] = field(default_factory=dict)
    _arrived: deque[Claimed] = field(default_factory=deque)
    _opened: deque[tuple[str, dict[str, Any]]] = field(default_factory=deque)
    _counted: set[str] = field(default_factory=set)
    _outbox_keys: dict[str, str] = field(default_factory=dict)
    _interrupted: set[str] = field(default_factory=set)
    _lost: set[str] = field(default_factory=set)
    _offset_ms: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, worker: str) -> None:
        """Claims as this incarnation from now on. What older ones hold stays theirs and is settled under their name.

        The counter goes on, so that no two incarnations of a process ever use one token.
        """
        with self._lock:
            self.worker = worker

    def abandon(self, workers: list[str]) -> list[str]:
        """Forgets the claims of these incarnations, because somebody else has them now; their tokens."""
        with self._lock:
            tokens = [token for token, (claimer, _) in self._held.items() if worker_of(claimer) in workers]
            for token in tokens:
                del self._held[token]
                self._counted.discard(token)
                self._outbox_keys.pop(token, None)
            self._lost.update(workers)
            if self.worker in workers:
                self.worker = ""
            return tokens

    def rename(self) -> None:
        """Claims no more as this incarnation; the next one begins soon. An open claim still ends under the old name."""
        with self._lock:
            self.worker = ""

    def refuse(self) -> None:
        """Takes in that the last claim found no lease; the keeper finds out as well, and all begins anew."""
        with self._lock:
            if self._pending is not None and self._pending[0] == self.worker:
                self.worker = ""
            self._pending = None

    def server_ms(self) -> int:
        """The time by the server's clock."""
        return int(time.time() * 1000) - self._offset_ms

    def held_by(self, worker: str) -> int:
        """Messages claimed by this incarnation and not settled."""
        with self._lock:
            return sum(worker_of(claimer) == worker for claimer, _ in self._held.values())

    @property
    def held(self) -> int:
        """Messages that this process has claimed and not settled."""
        return len(self._held)

    def held_under(self) -> set[str]:
        """The incarnations under which something is held, or asked for."""
        asked = {self._pending[0]} if self._pending is not None else set()
        return asked | {worker_of(claimer) for claimer, _ in list(self._held.values())}

    def holds(self, token: str) -> bool:
        """Whether the claim is still ours to settle."""
        return token in self._held

    def next_claim(self, sources: Iterable[Source], count: int) -> list[Any]:
        """Arguments of the next claim: the last one again while its answer is missing, for its messages are ours."""
        if self._pending is None:
            count = max(1, min(count, MAX_CLAIM))
            claimer = claimer_name(self.worker, self.member)
            self._pending = claim_arguments(self.worker, claimer, self._base, sources, count, MAX_CLAIM_BYTES)
        return self._pending

    def receive(self, reply: ClaimReply) -> bool:
        """Takes the answer to :meth:`next_claim`; True if there may be more where that came from."""
        assert self._pending is not None
        worker, claimer, asked = self._pending[0], self._pending[1], int(self._pending[3])
        self._pending = None
        self.last_claim = time.monotonic()
        self._offset_ms = int(time.time() * 1000 - reply.now_ms)
        with self._lock:
            if worker not in self._lost:  # An answer from before the lease was taken away, read after it.
                self._held.update((message.token, (claimer, message.queue)) for message in reply.messages)
                self._arrived.extend(reply.messages)
        if reply.messages:
            self.claimed_ms = reply.now_ms
            self._base = max(int(message.token.partition(":")[0]) for message in reply.messages)
        return len(reply.messages) >= asked

    @property
    def pending(self) -> list[Any] | None:
        """The claim whose answer is missing; None: there is none."""
        return self._pending

    def arrived(self) -> list[Claimed]:
        """What the last claims brought, for somebody who opens it; each is held until it is settled."""
        arrived = list(self._arrived)
        self._arrived.clear()
        return arrived

    def holder(self, token: str) -> str:
        """The claimer that holds a claim; empty when it is not ours any more."""
        held = self._held.get(token)
        return held[0] if held else ""

    def place(self, token: str) -> tuple[str, str] | None:
        """The claimer of a claim and the list that it was claimed from; None when it is not ours any more."""
        return self._held.get(token)

    def let_go(self, token: str) -> tuple[str, str] | None:
        """Forgets a claim of a first delivery that nobody counted, for somebody who ends it: its claimer and queue.

        One step of the dictionary, so it needs no lock. None: it had been ended, or taken away, before.
        """
        return self._held.pop(token, None)

    def arrivals(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(queue, payload) of each received message that can be delivered now, in order.

        Each is taken out as it is handed over; if the taker fails, the rest is here at the next call. What is not
        due is parked, what cannot be read is quarantined.
        """
        self._open_all()
        while self._opened:
            queue, payload = self._opened.popleft()
            if self.holds(payload["properties"]["delivery_tag"]):
                yield queue, payload

    def _open_all(self) -> None:
        """Their ids leave the index before anything is delivered, for a delivery may mark the job as blocked there."""
        delivered: list[tuple[str, str]] = []
        while self._arrived:
            message = self._arrived.popleft()
            payload = self._open(message) if self.holds(message.token) else None
            if payload is not None:
                self._opened.append((message.queue, payload))
                if id := envelope.job_id(payload):
                    delivered.append((message.queue, id))
        if delivered:
            self.settler.unindex(delivered)

    def _open(self, message: Claimed) -> dict[str, Any] | None:
        try:
            payload = envelope.read(message.raw)
        except envelope.Unreadable as error:
            self.settle(message.token, "quarantine", str(error))
            return None
        return payload if self.prepare(message, payload) else None

    def prepare(self, message: Claimed, payload: dict[str, Any]) -> bool:
        """Makes a message that was read ready for delivery; False: it is not due, and was parked."""
        due = envelope.due_ms(payload)
        if due > self.server_ms() + PARK_MARGIN_MS:
            self.settle(message.token, "park", str(due))
            return False
        envelope.localise(payload, self._offset_ms)
        if message.deliveries:
            self._counted.add(message.token)
        if key := envelope.outbox_key(payload):
            self._outbox_keys[message.token] = key
        properties = payload["properties"]
        properties["delivery_tag"] = message.token
        properties["delivery_info"].update(
            token=message.token,
            claimer=self._held[message.token][0],
            deliveries=message.deliveries,
            crashes=message.crashes,
            redelivered=message.deliveries > 0,
        )
        return True

    def learn(self, ids: list[str], stamps: list[tuple[str, str]], version: int) -> None:
        """Takes in what was revoked up to this version."""
        self.on_revoked(ids, stamps)
        self.revoked_version = max(self.revoked_version, version)

    def interrupt(self, token: str) -> None:
        """Notes that a claim's job was started, and is ended with its worker: its next delivery asks the ledger."""
        self._interrupted.add(token)

    def give_back(self) -> None:
        """Ends all claims that are left, for a worker that runs nothing any more; their messages stand as before."""
        for token in sorted(self._held, key=lambda token: int(token.partition(":")[0]), reverse=True):
            self.settle(token, "interrupt" if token in self._interrupted else "return")

    def acknowledge(self, token: str) -> bool:
        """Ends a claim whose job is done with."""
        return self.settle(token, "ack_counted" if token in self._counted else "ack")

    def settle(self, token: str, verb: str, first: str = "", second: str = "") -> bool:
        """Ends a claim; False when it had been ended, or taken away, before. From any thread."""
        settlement = self.take(token, verb, first, second)
        if settlement is not None:
            self.settler.settle(settlement)
        return settlement is not None

    def take(self, token: str, verb: str, first: str = "", second: str = "") -> Settlement | None:
        """Lets go of a claim, for somebody who settles it; None when it had been ended, or taken away, before."""
        with self._lock:
            held = self._held.pop(token, None)
            self._counted.discard(token)
            self._interrupted.discard(token)
            key = self._outbox_keys.pop(token, "")
        if verb in ACKS:
            first = key  # Of the delivered message, so that nobody who ends a claim needs to know of the outbox.
        elif verb == "crash":
            second = key  # For a keeper that finds the job ended, and acknowledges.
        return Settlement(*held, token, verb, first, second) if held else None
