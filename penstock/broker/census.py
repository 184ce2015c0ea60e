"""What Redis holds of every queue, and what it has counted of it: one side of the balance sheet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from penstock.broker import breakers, envelope, queues
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS
from penstock.broker.scripts import Scripts

SLICE = 500
"""Messages that are read at once; Redis serves nobody else meanwhile."""


@dataclass
class Held:
    """Messages of one queue, whoever sent them, and what was counted of it."""

    ready: int = 0
    parked: int = 0
    blocked: int = 0
    in_flight: int = 0
    buried: int = 0
    """Dead letters of jobs that the ledger does not have yet."""
    quarantined: int = 0
    """Dead letters without a readable id that the ledger does not have yet."""
    accepted: int = 0
    """New jobs published by us, and what was there when somebody took the present as a new beginning."""
    purged: int = 0
    elsewhere: int = 0

    @property
    def messages(self) -> int:
        """Those that the jobs of this queue have in Redis."""
        return self.ready + self.parked + self.blocked + self.in_flight + self.buried


@dataclass(frozen=True)
class Census:
    """All queues at one moment."""

    queues: Mapping[str, Held]
    since: datetime | None
    """From when on there are counts; None: there are none."""
    rebased: datetime | None
    """When somebody took the present as a new beginning."""
    changed: datetime | None
    """When Redis was last restarted or replaced, as far as a keeper has noticed."""
    unseen: int
    """Dead letters that were not looked at, because there are too many."""


def take(scripts: Scripts, known: Iterable[str] = ()) -> Census:
    """Counts everything in one step of the server, so that no message is counted twice or missed.

    Args:
        known: queues beside those that Redis remembers.
    """
    tally, waiting, held, blocked, dead, unseen, changed = scripts.call(
        "census", len(PRIORITY_STEPS), *PRIORITY_STEPS, *known
    )
    counts = {name.decode(): int(count) for name, count in zip(tally[::2], tally[1::2], strict=True)}
    found: dict[str, Held] = {}
    for name, ready, parked in zip(waiting[::3], waiting[1::3], waiting[2::3], strict=True):
        of = found.setdefault(name.decode(), Held())
        of.ready, of.parked = ready, parked
    for name, count in zip(held[::2], held[1::2], strict=True):
        found.setdefault(name.decode(), Held()).in_flight += count
    for name, count in zip(blocked[::2], blocked[1::2], strict=True):
        found.setdefault(name.decode(), Held()).blocked += count
    for name, kind in zip(dead[::2], dead[1::2], strict=True):
        of = found.setdefault(name.decode(), Held())
        if kind == b"buried":
            of.buried += 1
        else:
            of.quarantined += 1
    for field_name, count in counts.items():
        what, separator, queue = field_name.partition(":")
        if separator:
            _count(found.setdefault(queue, Held()), what, count)
    return Census(
        queues={name: found[name] for name in sorted(found)},
        since=_time(counts.get("since")),
        rebased=_time(counts.get("rebased")),
        changed=_time(int(changed)),
        unseen=unseen,
    )


def accepted(scripts: Scripts, names: Sequence[str]) -> list[int]:
    """How many new jobs of each queue we have ever published, as this Redis has counted."""
    counts: Any = scripts.client.hmget(scripts.keys.tally, [f"accepted:{name}" for name in names]) if names else []
    return [int(count or 0) for count in counts]


def _count(held: Held, what: str, count: int) -> None:
    if what in ("accepted", "base"):
        held.accepted += count
    elif what == "purged":
        held.purged += count
    elif what == "elsewhere":
        held.elsewhere += count


def _time(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


def rebase(scripts: Scripts, differences: Mapping[str, int]) -> None:
    """Takes the present as a new beginning: adds to what was accepted of each queue.

    The base lies beside the counts that it completes, so that a server that forgets these forgets it as well.
    """
    seconds, micros = scripts.client.time()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    pipe = scripts.client.pipeline(transaction=True)
    for queue, difference in differences.items():
        if difference:
            pipe.hincrby(scripts.keys.tally, f"base:{queue}", difference)
    pipe.hsetnx(scripts.keys.tally, "since", now_ms).hset(scripts.keys.tally, "rebased", now_ms)
    pipe.execute()


# -- message by message -----------------------------------------------------------------------------------------


class Place(StrEnum):
    """Where a message is."""

    READY = "ready"
    PARKED = "parked"
    BLOCKED = "blocked"
    IN_FLIGHT = "in flight"
    BURIED = "buried"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Message:
    """A message in Redis, as far as the balance sheet asks."""

    queue: str
    place: Place
    job_id: str
    """Empty if it cannot be read."""
    is_accepted: bool
    """Whether it was published by us, so that its job was counted."""
    mark: int
    """Of its bytes: the same message has it wherever it is met."""
    holder: str = ""
    """Of a message in flight, the claimer that has it; of a dead letter, its entry."""


def messages(scripts: Scripts, names: Iterable[str], *, upstream: bool = False) -> Iterator[Message]:
    """Every message of these queues, slice by slice, while others go on publishing and claiming.

    A list is read from the end of the line to its front: what is published meanwhile shifts the rest, so that some are
    met twice and none is passed over. Messages go from the lists into flight, and lists are read first, so that one
    that moves is met here or there. One that goes back meanwhile may be passed over.

    Args:
        upstream: in the other order, which meets those that go back.
    """
    chosen = list(names)
    parts = [_of_lists(scripts, chosen), _aside(scripts, chosen), _in_flight(scripts, chosen)]
    parts += [_spooled(scripts, chosen), _dead(scripts, chosen)]
    for part in reversed(parts) if upstream else parts:
        yield from part


def _of_lists(scripts: Scripts, names: list[str]) -> Iterator[Message]:
    for queue in names:
        for step in PRIORITY_STEPS:
            for raw in _list(scripts, scripts.keys.ready(queue, step)):
                yield _message(queue, Place.READY, raw)


def _aside(scripts: Scripts, names: list[str]) -> Iterator[Message]:
    separator = FIELD_SEPARATOR.encode()
    for queue in names:
        for member, _ in scripts.client.zscan_iter(scripts.keys.parked(queue), count=SLICE):
            yield _message(queue, Place.PARKED, member.split(separator, 2)[2])
    for unknown in queues.unknown_tasks(scripts):
        if unknown.queue in names:
            for raw in _list(scripts, unknown.list_key):
                yield _message(unknown.queue, Place.BLOCKED, raw)
    for broken in breakers.broken_lists(scripts):
        if broken.queue in names:
            for entry in _list(scripts, broken.list_key):
                yield _message(broken.queue, Place.BLOCKED, breakers.message_of(entry))


def _in_flight(scripts: Scripts, names: list[str]) -> Iterator[Message]:
    for claimer, queue in queues.held_places(scripts):
        if queue in names:
            for _, raw in scripts.client.hscan_iter(scripts.keys.inflight(claimer, queue), count=SLICE):
                yield _message(queue, Place.IN_FLIGHT, raw, claimer)


def _spooled(scripts: Scripts, names: list[str]) -> Iterator[Message]:
    """Outcomes that wait for SQL in place of their messages: their jobs are not lost."""
    for name, words in scripts.client.hscan_iter(scripts.keys.spool, count=SLICE):
        queue = name.decode().partition(FIELD_SEPARATOR)[2]
        if queue in names:
            job = json.loads(words)[0]["delivery"]
            yield Message(queue, Place.IN_FLIGHT, job["id"], "enqueued_at" in job, hash(name))


def _dead(scripts: Scripts, names: list[str]) -> Iterator[Message]:
    for entry in _list(scripts, scripts.keys.dead):
        kept = scripts.client.hgetall(scripts.keys.dead_entry(entry.decode()))
        if kept and (queue := kept[b"queue"].decode()) in names:
            yield _message(queue, Place(kept[b"kind"].decode()), kept[b"raw"], entry.decode())


def _list(scripts: Scripts, key: str) -> Iterator[bytes]:
    start = 0
    while raws := scripts.client.lrange(key, start, start + SLICE - 1):
        yield from raws
        start += len(raws)


def _message(queue: str, place: Place, raw: bytes, holder: str = "") -> Message:
    try:
        payload = envelope.read(raw)
    except envelope.Unreadable:
        return Message(queue, place, "", False, hash(raw), holder)
    is_accepted = queues.enqueued_ms_of(payload) is not None
    return Message(queue, place, envelope.job_id(payload), is_accepted, hash(raw), holder)


def indexed(scripts: Scripts, queue: str) -> Iterator[str]:
    """Ids that the waiting index of the queue has."""
    for member, _ in scripts.client.zscan_iter(scripts.keys.waiting(queue), count=SLICE):
        yield member.decode()


def are_indexed(scripts: Scripts, jobs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each of these (id, queue) pairs, some hundred at most, is in its waiting index."""
    pipe = scripts.client.pipeline(transaction=False)
    for id, queue in jobs:
        pipe.zscore(scripts.keys.waiting(queue), id)
    return [score is not None for score in pipe.execute()]


def live_incarnations(scripts: Scripts) -> set[str]:
    """Workers with a lease, each by the part of its name that no other has."""
    return {worker.decode().rpartition("/")[2] for worker in scripts.client.zrange(scripts.keys.leases, 0, -1)}
