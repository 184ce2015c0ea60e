"""Looking at queues and acting on them: what ``celery -A … queues`` shows and does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from penstock.broker import breakers, envelope
from penstock.broker.aside import AsideList, lists_in, place_of
from penstock.broker.breakers import BrokenList
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS
from penstock.broker.scripts import SLICE, Scripts
from penstock.message import ENQUEUED_AT


@dataclass(frozen=True)
class Pause:
    """Why a queue is closed."""

    by: str
    at: datetime
    note: str


@dataclass(frozen=True)
class QueueStatus:
    """One queue at one moment."""

    queue: str
    ready: int
    oldest_seconds: float | None
    """How long the oldest ready message has waited; None when there is none, or its producer did not say."""
    in_flight: int
    parked: int
    blocked: int
    """Messages aside: of tasks that the worker that claimed them did not know, or whose breaker is open."""
    pause: Pause | None


@dataclass(frozen=True)
class Peeked:
    """A message that waits."""

    step: int
    raw: bytes
    payload: dict[str, Any] | None
    """The envelope; None if it cannot be read."""
    problem: str
    """Why it cannot be read; empty if it can."""


class UnknownTask(AsideList):
    """Messages of a task that nobody knew when they were claimed."""


# -- looking ----------------------------------------------------------------------------------------------------


def names(scripts: Scripts) -> list[str]:
    """Every queue that Redis remembers something of, in order: published to, paused, or holding what is put aside.

    A queue that only stock producers and workers ever used is not among them.
    """
    client, keys = scripts.client, scripts.keys
    pipe = client.pipeline(transaction=False)
    pipe.smembers(keys.queues).hkeys(keys.gates).hvals(keys.unknown).hvals(keys.broken)
    published, paused, unknown, broken = pipe.execute()
    aside = [place_of(value)[1] for value in (*unknown, *broken)]
    held = [queue for _, queue in held_places(scripts)]
    return sorted({*(name.decode() for name in (*published, *paused)), *aside, *held})


def status(scripts: Scripts, queues: Sequence[str]) -> list[QueueStatus]:
    """How the queues stand, in the order that is given."""
    in_flight, blocked = _in_flight(scripts), _blocked(scripts)
    seconds, micros = scripts.client.time()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    pipe = scripts.client.pipeline(transaction=False)
    found: list[QueueStatus] = []
    # In slices: the answers hold the next message of each list, whatever its size.
    for begin in range(0, len(queues), SLICE):
        some = queues[begin : begin + SLICE]
        for queue in some:
            _ask(pipe, scripts, queue)
        answers = pipe.execute()
        size = len(answers) // len(some)
        found += [
            _status(queue, answers[place * size : (place + 1) * size], now_ms, in_flight, blocked)
            for place, queue in enumerate(some)
        ]
    return found


def _ask(pipe: Any, scripts: Scripts, queue: str) -> None:
    keys = scripts.keys
    lists = [keys.ready(queue, step) for step in PRIORITY_STEPS]
    for name in lists:
        pipe.llen(name)
    for name in lists:
        pipe.lindex(name, -1)
    pipe.zcard(keys.parked(queue)).hget(keys.gates, queue)


def _status(
    queue: str, answers: list[Any], now_ms: int, in_flight: dict[str, int], blocked: dict[str, int]
) -> QueueStatus:
    *of_lists, parked, gate = answers
    lengths, heads = of_lists[: len(PRIORITY_STEPS)], of_lists[len(PRIORITY_STEPS) :]
    times = [time for raw in heads if raw is not None and (time := enqueued_ms(raw)) is not None]
    return QueueStatus(
        queue=queue,
        ready=sum(lengths),
        oldest_seconds=max(0.0, (now_ms - min(times)) / 1000) if times else None,
        in_flight=in_flight.get(queue, 0),
        parked=parked,
        blocked=blocked.get(queue, 0),
        pause=pause_of(gate),
    )


def enqueued_ms(raw: bytes) -> int | None:
    """When a message was enqueued, as its producer says; None if it does not."""
    try:
        return enqueued_ms_of(envelope.read(raw))
    except envelope.Unreadable:
        return None


def enqueued_ms_of(payload: dict[str, Any]) -> int | None:
    """The same of an envelope."""
    return envelope.moment_ms(payload["headers"].get(ENQUEUED_AT))


def pause_of(gate: bytes | None) -> Pause | None:
    """What ``Keys.gates`` says of a queue."""
    if gate is None:
        return None
    kept = json.loads(gate)
    return Pause(kept["by"], datetime.fromtimestamp(kept["at"] / 1000, UTC), kept["note"])


def _in_flight(scripts: Scripts) -> dict[str, int]:
    """Claims per queue, over all workers that hold any."""
    places = held_places(scripts)
    pipe = scripts.client.pipeline(transaction=False)
    for claimer, queue in places:
        pipe.hlen(scripts.keys.inflight(claimer, queue))
    counts: dict[str, int] = {}
    for (_, queue), count in zip(places, pipe.execute(), strict=True):
        counts[queue] = counts.get(queue, 0) + count
    return counts


def held_places(scripts: Scripts) -> list[tuple[str, str]]:
    """(claimer, queue) of each in-flight hash that there may be."""
    client, keys = scripts.client, scripts.keys
    pipe = client.pipeline(transaction=False)
    workers = {*client.zrange(keys.leases, 0, -1), *client.hkeys(keys.dying)}
    for worker in sorted(workers):
        pipe.hkeys(keys.worker(worker.decode()))
    fields = [field.decode() for found in pipe.execute() for field in found]
    return [held_place(field) for field in fields if field.startswith("held:")]


def places_held_by(scripts: Scripts, worker: str) -> list[tuple[str, str]]:
    """(claimer, queue) of each list of claims that one incarnation has."""
    fields: Any = scripts.client.hkeys(scripts.keys.worker(worker))
    return [held_place(field) for field in map(bytes.decode, fields) if field.startswith("held:")]


def held_place(field: str) -> tuple[str, str]:
    """(claimer, queue) of a field ``held:…`` in the hash of a worker."""
    claimer, queue = field.removeprefix("held:").split(FIELD_SEPARATOR, 1)
    return claimer, queue


def _blocked(scripts: Scripts) -> dict[str, int]:
    counts: dict[str, int] = {}
    for unknown in unknown_tasks(scripts):
        counts[unknown.queue] = counts.get(unknown.queue, 0) + unknown.messages
    for broken in breakers.broken_lists(scripts):
        counts[broken.queue] = counts.get(broken.queue, 0) + broken.messages
    return counts


def unknown_tasks(scripts: Scripts) -> list[UnknownTask]:
    """The lists of unknown tasks that hold something, by task, queue and step."""
    return lists_in(scripts, scripts.keys.unknown, UnknownTask)


def ends_of(scripts: Scripts, unknown: Sequence[UnknownTask]) -> list[tuple[int | None, int | None]]:
    """When the oldest and the newest message of each was enqueued, in milliseconds since 1970 and in one trip; None:
    it does not say, or there is none any more.
    """
    pipe = scripts.client.pipeline(transaction=False)
    for each in unknown:
        pipe.lindex(each.list_key, -1).lindex(each.list_key, 0)
    times = [enqueued_ms(raw) if raw else None for raw in pipe.execute()]
    return list(zip(times[::2], times[1::2], strict=True))


def peek(scripts: Scripts, queue: str, limit: int) -> Iterator[Peeked]:
    """The messages that are next, without taking them, in the order in which they would be claimed."""
    left = limit
    for step in PRIORITY_STEPS:
        if left <= 0:
            return
        for raw in reversed(scripts.client.lrange(scripts.keys.ready(queue, step), -left, -1)):
            left -= 1
            yield _peeked(step, raw)


def peek_unknown(scripts: Scripts, unknown: UnknownTask, limit: int) -> list[Peeked]:
    """The messages of an unknown task that would be next, without taking them."""
    return [_peeked(unknown.step, raw) for raw in reversed(scripts.client.lrange(unknown.list_key, -limit, -1))]


def _peeked(step: int, raw: bytes) -> Peeked:
    try:
        return Peeked(step, raw, envelope.read(raw), "")
    except envelope.Unreadable as error:
        return Peeked(step, raw, None, str(error))


# -- acting -----------------------------------------------------------------------------------------------------


def pause(scripts: Scripts, queue: str, by: str, note: str = "") -> Pause | None:
    """Stops all claims from a queue, now and until :func:`resume`, whatever restarts meanwhile. Running jobs go on.

    Stock workers do not ask: they go on taking messages.

    Returns:
        The pause that this one replaces; None when the queue was open.
    """
    seconds, _ = scripts.client.time()
    gate = {"by": by, "at": int(seconds) * 1000, "note": note}
    pipe = scripts.client.pipeline(transaction=True)
    pipe.hget(scripts.keys.gates, queue).hset(scripts.keys.gates, queue, json.dumps(gate))
    before, _, _ = pipe.sadd(scripts.keys.queues, queue).execute()
    return pause_of(before)


def resume(scripts: Scripts, queue: str) -> bool:
    """Opens a queue again; False when it was open. Idle workers claim at once."""
    opened = bool(scripts.client.hdel(scripts.keys.gates, queue))
    scripts.call("wake", queue, *PRIORITY_STEPS)
    return opened


def purge(scripts: Scripts, queue: str) -> Iterator[tuple[str, list[bytes]]]:
    """Deletes what waits in a queue at this moment, slice by slice as it is iterated over; what is in flight stays.

    Each list is bounded by the length that it has now: producers that go on cannot keep this busy for ever.

    Yields:
        Where a slice was (``ready``, ``parked`` or ``blocked``), and its messages, which are gone.
    """
    client, keys = scripts.client, scripts.keys
    for raws in purge_ready(scripts, queue):
        yield "ready", raws
    parked = keys.parked(queue)
    for raws in _drain(scripts, queue, client.zcard(parked), partial(_pop_parked, client, parked)):
        yield "parked", raws
    for unknown in unknown_tasks(scripts):
        if unknown.queue == queue:
            for raws in discard_unknown(scripts, unknown):
                yield "blocked", raws
    for broken in breakers.broken_lists(scripts):
        if broken.queue == queue:
            for raws in _discard_broken(scripts, broken):
                yield "blocked", raws


def purge_ready(scripts: Scripts, queue: str) -> Iterator[list[bytes]]:
    """Deletes what is ready at this moment, slice by slice; yields each slice."""
    client, keys = scripts.client, scripts.keys
    for key in (keys.ready(queue, step) for step in PRIORITY_STEPS):
        yield from _drain(scripts, queue, client.llen(key), partial(client.rpop, key))


def accepted_among(raws: Iterable[bytes]) -> int:
    """How many of these messages the balance sheet has counted as accepted: ours say when they were enqueued."""
    return sum(enqueued_ms(raw) is not None for raw in raws)


def discard_unknown(scripts: Scripts, unknown: UnknownTask) -> Iterator[list[bytes]]:
    """Deletes the messages of an unknown task that are there at this moment, slice by slice; yields each slice."""
    key = unknown.list_key
    yield from _drain(scripts, unknown.queue, unknown.messages, partial(scripts.client.rpop, key))
    if not scripts.client.exists(key):
        # Takes the empty list off the register. What has been put aside since only comes back to its queue.
        scripts.unblock(key)


def _discard_broken(scripts: Scripts, broken: BrokenList) -> Iterator[list[bytes]]:
    """The same of what a breaker has put aside."""
    yield from _drain(scripts, broken.queue, broken.messages, partial(breakers.pop, scripts.client, broken.list_key))
    if not scripts.client.exists(broken.list_key):
        scripts.unbreak(broken.list_key)


def _drain(
    scripts: Scripts, queue: str, length: int, take: Callable[[int], list[bytes] | None]
) -> Iterator[list[bytes]]:
    while length > 0 and (raws := take(min(length, SLICE))):
        length -= len(raws)
        scripts.unindex((queue, id) for id in job_ids(raws))
        if kept := envelope.from_outbox(raws):
            # Until their jobs are recorded as ended, these count as lost: whoever purges and dies has purged nothing.
            scripts.client.hdel(scripts.keys.outbox, *kept)
        yield raws


def _pop_parked(client: Any, parked: str, count: int) -> list[bytes]:
    separator = FIELD_SEPARATOR.encode()
    return [member.split(separator, 2)[2] for member, _ in client.zpopmin(parked, count)]


def job_ids(raws: Iterable[bytes]) -> Iterator[str]:
    """The ids of the jobs in these messages, as far as they can be read."""
    for raw in raws:
        try:
            id = envelope.job_id(envelope.read(raw))
        except envelope.Unreadable:
            continue
        if id:
            yield id
