"""Finding the messages of a few jobs among all that wait, and taking them away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from penstock.broker import breakers, envelope, queues
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS
from penstock.broker.scripts import Scripts

LOOKED_AT = 1000
"""Messages at each end of a list that are looked at: a list may hold millions."""
SLICE = 500
SLACK_MS = 2
"""A due time is rounded in one way by its producer and in another by a worker."""


@dataclass(frozen=True)
class Noted:
    """What Redis has noted of a job that nobody has claimed."""

    queue: str
    since_ms: float
    """From when on it may be claimed."""
    is_due: bool


@dataclass(frozen=True)
class Found:
    """A message that waits."""

    job_id: str
    raw: bytes
    queue: str
    step: int
    key: str
    member: bytes
    """What stands in the list, or in the sorted set, of this key."""
    is_parked: bool


def noted(scripts: Scripts, ids: Sequence[str]) -> dict[str, Noted]:
    """Those of these jobs, some hundred at most, that are in a waiting index; one question for each queue."""
    client, keys = scripts.client, scripts.keys
    names = sorted(name.decode() for name in client.smembers(keys.queues))
    pipe = client.pipeline(transaction=False).time()
    for name in names:
        pipe.zmscore(keys.waiting(name), ids)
    (seconds, micros), *answers = pipe.execute()
    now = seconds * 1000 + micros / 1000
    return {
        id: Noted(name, score, score <= now)
        for name, scores in zip(names, answers, strict=True)
        for id, score in zip(ids, scores, strict=True)
        if score is not None
    }


def find(scripts: Scripts, ids: Sequence[str], places: dict[str, Noted]) -> list[Found]:
    """Messages of these jobs: the parked ones by their time, others where they are near an end of their list."""
    found = [
        message
        for id, place in places.items()
        if id in ids
        for message in _parked_at(scripts, id, place.queue, place.since_ms)
    ]
    for queue in {place.queue for place in places.values()}:
        for step in PRIORITY_STEPS:
            found += _in_list(scripts, ids, scripts.keys.ready(queue, step), queue, step)
    for unknown in queues.unknown_tasks(scripts):
        found += _in_list(scripts, ids, unknown.list_key, unknown.queue, unknown.step)
    for broken in breakers.broken_lists(scripts):
        found += _in_list(scripts, ids, broken.list_key, broken.queue, broken.step, breakers.message_of)
    return found


def find_parked(scripts: Scripts, id: str) -> list[Found]:
    """Parked messages of a job that is in no index, as one of a stock producer: Redis looks at all that is parked."""
    pattern = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in id)
    return [
        found
        for name in scripts.client.smembers(scripts.keys.queues)
        for member, _ in scripts.client.zscan_iter(
            scripts.keys.parked(name.decode()), match=f"*{pattern}*", count=SLICE
        )
        if (found := _parked(scripts, id, name.decode(), member))
    ]


def _parked_at(scripts: Scripts, id: str, queue: str, since_ms: float) -> Iterator[Found]:
    key, first, last = scripts.keys.parked(queue), since_ms - SLACK_MS, since_ms + SLACK_MS
    begin, sought = 0, id.encode()
    while members := scripts.client.zrange(key, first, last, byscore=True, offset=begin, num=SLICE):
        yield from (found for each in members if sought in each and (found := _parked(scripts, id, queue, each)))
        begin += len(members)


def _parked(scripts: Scripts, id: str, queue: str, member: bytes) -> Found | None:
    step, _, raw = member.split(FIELD_SEPARATOR.encode(), 2)
    if _id_of(raw) != id:
        return None
    return Found(id, raw, queue, int(step), scripts.keys.parked(queue), member, is_parked=True)


def _in_list(
    scripts: Scripts,
    ids: Sequence[str],
    key: str,
    queue: str,
    step: int,
    message_of: Callable[[bytes], bytes] = lambda member: member,
) -> Iterator[Found]:
    for member in scripts.call("seek", key, LOOKED_AT, *ids):
        raw = message_of(member)
        if (id := _id_of(raw)) in ids:
            yield Found(id, raw, queue, step, key, member, is_parked=False)


def _id_of(raw: bytes) -> str:
    with suppress(envelope.Unreadable):
        return envelope.job_id(envelope.read(raw)) or ""
    return ""


def held(scripts: Scripts) -> set[str]:
    """The jobs whose messages are claimed at this moment, whether they run or wait to."""
    found: set[str] = set()
    for claimer, queue in queues.held_places(scripts):
        found.update(queues.job_ids(scripts.client.hvals(scripts.keys.inflight(claimer, queue))))
    return found


def remove(scripts: Scripts, messages: Iterable[Found]) -> None:
    """Takes away messages of jobs that have ended, and what is noted of them. One that has gone on is left to whoever
    has it.
    """
    keys, lists = scripts.keys, set()
    pipe = scripts.client.pipeline(transaction=True)
    for each in messages:
        if each.is_parked:
            pipe.zrem(each.key, each.member)
        else:
            pipe.lrem(each.key, 1, each.member)
            lists.add(each.key)
        pipe.zrem(keys.waiting(each.queue), each.job_id).hdel(keys.blocked, each.job_id)
        pipe.hdel(keys.deliveries, hashlib.sha1(each.raw, usedforsecurity=False).hexdigest())
        if outbox_keys := envelope.from_outbox([each.raw]):
            pipe.hdel(keys.outbox, *outbox_keys)
    pipe.execute()
    _forget_empty(scripts, lists)


def _forget_empty(scripts: Scripts, lists: Collection[str]) -> None:
    """Takes lists of what was put aside off their register. What has been since only comes back to its queue."""
    for register, move in ((scripts.keys.unknown, scripts.unblock), (scripts.keys.broken, scripts.unbreak)):
        for key in lists:
            if scripts.client.hexists(register, key) and not scripts.client.exists(key):
                move(key)
