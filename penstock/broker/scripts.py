"""Typed wrappers of the scripts in ``lua/``; each file there says what it takes and returns, and why it is safe.

A script changes a message's place in one step, so that no crash of a client can leave it in none or in two. Every
script may be repeated after a lost reply: publish knows its call, claim its base, and a settled token owns nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import NoScriptError

from penstock.broker.keys import Keys

READY = ""
"""In a source: the queue's ready list; anything else is the name of a task that was unknown."""
MAX_CLAIM, MAX_CLAIM_BYTES = 200, 1_000_000
SLICE = 200
"""Messages that one call of a moving script touches; Redis serves nobody else meanwhile."""
ALLOW_OOM = "#!lua flags=allow-oom"
"""First line of every script but those that publish: a full server must still let workers empty it."""
PUBLISHING = frozenset({"publish", "outbox"})
INCLUDES = {
    "settle": ("redelivery",),
    "retire": ("redelivery",),
    "reap": ("redelivery",),
    "trip": ("breaker", "broken"),
    "switch": ("breaker",),
    "probe": ("broken",),
    "unbreak": ("broken",),
}
"""Files of ``lua/`` that are put in front of a script, behind ``keys``."""


@dataclass(frozen=True)
class Script:
    """One file of ``lua/`` with what it includes."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script of this name."""
    names = ["keys", *INCLUDES.get(name, ()), name]
    folder = resources.files("penstock.broker") / "lua"
    parts = [(folder / f"{part}.lua").read_text() for part in names]
    text = "\n".join(parts if name in PUBLISHING else [ALLOW_OOM, *parts])
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Source(NamedTuple):
    """A list to claim from."""

    queue: str
    step: int
    task: str = READY


class Claimed(NamedTuple):
    """A message that the claimer now holds."""

    token: str
    queue: str
    raw: bytes
    deliveries: int
    """How often it was delivered before."""
    crashes: int
    """How many of these ended with the death of the process."""


class ClaimReply(NamedTuple):
    """What a claim brought."""

    has_lease: bool
    """False when the worker was silent for too long: it holds nothing, and has to begin anew under another name."""
    now_ms: float
    revoked_version: int
    messages: list[Claimed]


class Outgoing(NamedTuple):
    """A message of the outbox."""

    key: str
    """Of its row."""
    queue: str
    step: int
    due_ms: int
    """0: at once."""
    job_id: str
    is_new: bool
    """Whether it is a job's first message, which the balance sheet counts."""
    raw: bytes


class Settlement(NamedTuple):
    """One end of a claim; ``lua/settle.lua`` lists the verbs and their arguments."""

    claimer: str
    queue: str
    token: str
    verb: str
    first: str = ""
    second: str = ""


class Reaped(NamedTuple):
    """What a reaping did."""

    given_back: int
    more: bool
    workers: list[str]


class Promoted(NamedTuple):
    """What a promotion did."""

    moved: int
    next_due_ms: int
    """0 when nothing is parked."""
    now_ms: int


REFUSED, SETTLED, BURIED, ADMITTED = 0, 1, 2, 3


class Scripts:
    """The scripts over one client, which must not decode replies. Errors of redis-py pass through."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self.client: Any = client
        self.keys = keys

    def publish(
        self,
        producer: str,
        sequence: int,
        queue: str,
        step: int,
        messages: Sequence[tuple[str, bytes | str]],
        due_ms: int = 0,
        *,
        is_new: bool = True,
    ) -> bool:
        """Puts (job id, raw) pairs on a queue; False when this very call had been carried out before.

        Args:
            is_new: they are new jobs, which the balance sheet counts, and not jobs that go on.
        """
        flat = [part for message in messages for part in message]
        return bool(self.call("publish", producer, sequence, queue, step, due_ms, int(is_new), *flat))

    def publish_outbox(self, messages: Iterable[Outgoing]) -> list[bool | str]:
        """Puts messages of the outbox, some hundred at most, on their queues.

        Returns:
            For each whether it was put there, False: Redis has it already; or why its queue cannot take it.
        """
        # redis-py takes no booleans.
        flat = (int(part) if isinstance(part, bool) else part for message in messages for part in message)
        return [each.decode() if isinstance(each, bytes) else bool(each) for each in self.call("outbox", *flat)]

    def claim(
        self,
        worker: str,
        claimer: str,
        base: int,
        sources: Iterable[Source],
        count: int = MAX_CLAIM,
        max_bytes: int = MAX_CLAIM_BYTES,
    ) -> ClaimReply:
        """Takes up to ``count`` messages, ``max_bytes`` bytes and one message more, from the sources in their order."""
        return claim_reply(self.call("claim", *claim_arguments(worker, claimer, base, sources, count, max_bytes)))

    def settle(self, settlements: Iterable[Settlement]) -> list[int]:
        """Ends claims; for each REFUSED, SETTLED or BURIED, or ADMITTED: that one goes on."""
        return list(self.call("settle", *(part for settlement in settlements for part in settlement)))

    def end(self, claimer: str, queue: str, tokens: Sequence[str], ids: Sequence[str]) -> int:
        """Ends claims on plain deliveries, and takes their jobs off the waiting index; how many were still ours."""
        return int(self.call("done", claimer, queue, len(tokens), *tokens, *ids))

    def unindex(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Takes (queue, job id) pairs, some hundred at most, off the waiting index."""
        by_queue: dict[str, list[str]] = {}
        for queue, id in jobs:
            by_queue.setdefault(queue, []).append(id)
        for queue, ids in by_queue.items():
            self.call("unindex", queue, *ids)

    def orphans(self, worker: str, claimer: str) -> list[tuple[str, str]]:
        """Ends a claimer whose process has ended; (queue, token) of each claim that it leaves behind."""
        reply = iter(self.call("orphans", worker, claimer))
        return [(queue.decode(), next(reply).decode()) for queue in reply for _ in range(next(reply))]

    def forget_claimers(self, worker: str, until_ms: int) -> int:
        """Forgets claimers of the worker that ended until then and hold nothing; how many."""
        return int(self.call("forget", worker, until_ms))

    def join(self, worker: str) -> None:
        """Begins a worker's lease."""
        self.call("renew", worker, 1)

    def renew(self, worker: str, card: str = "") -> bool:
        """Extends a worker's lease; False when it was taken away.

        Args:
            card: what its keeper says of it; empty: what it has said before.
        """
        return bool(self.call("renew", worker, 0, card))

    def drain(self, worker: str) -> bool:
        """Notes, for those who look, that a worker ends; False when it has no lease."""
        return bool(self.call("drain", worker))

    def retire(self, worker: str, *, counted: bool, crash_limit: int) -> None:
        """Ends a worker: gives back whatever it holds, as crashes if ``counted``."""
        more = True
        while more:
            _, more = self.call("retire", worker, int(counted), crash_limit, SLICE)

    def reap(self, lease_ms: int, gap_ms: int, crash_limit: int, limit: int = SLICE) -> Reaped:
        """Takes back claims of silent workers; call it each second, or nobody is ever reaped."""
        given_back, more, *workers = self.call("reap", lease_ms, gap_ms, crash_limit, limit)
        return Reaped(given_back, bool(more), [worker.decode() for worker in workers])

    def promote(self, queues: Iterable[str], limit: int = SLICE, *, everything: bool = False) -> Promoted:
        """Moves what is due, or ``everything`` that is parked, to the ready lists."""
        moved, next_due, now = self.call("promote", limit, "+inf" if everything else "", *queues)
        return Promoted(moved, int(next_due), int(now))

    def revoke(self, ids: Iterable[str]) -> int:
        """Notes revoked jobs; the new version."""
        return int(self.call("revoke", "ids", "", *ids))

    def cancel(self, ids: Iterable[str], grace: float | None) -> int:
        """Notes cancelled jobs, some hundred at most: revoked, and to be ended wherever they are; the new version.

        Args:
            grace: seconds that a body has to stop by itself; None: as long as it takes.
        """
        return int(self.call("revoke", "cancel", "" if grace is None else int(grace * 1000), *ids))

    def revoke_stamps(self, stamps: Iterable[str]) -> int:
        """Notes revoked stamps, each ``header ␟ value``; the new version."""
        return int(self.call("revoke", "stamps", "", *stamps))

    def unblock(self, unknown_list: str, limit: int = SLICE) -> tuple[int, bool]:
        """Moves messages of an unknown task back to the end of their queue; how many, and whether more are left."""
        moved, more = self.call("unblock", unknown_list, limit)
        return moved, bool(more)

    def trip(self, task: str, rule: Sequence[Any], counts: tuple[int, int], fault: str, told: Iterable[str]) -> str:
        """Counts attempts of a task that have ended; ``opened`` or ``closed`` if its breaker was by that.

        Args:
            rule: arguments 3 to 10 of ``lua/trip.lua``.
            counts: failed attempts, and all others.
            fault: what the last one failed with.
            told: pairs of a claim, as records name it, and 1, 0 or nothing, of those that may have been probes.
        """
        change, _ = self.call("trip", task, *rule, *counts, fault, *told)
        return str(change.decode())

    def probe(self, task: str) -> bool:
        """Lets probes start if it is time for that; whether the breaker has become half-open."""
        return bool(self.call("probe", task) == b"1")

    def switch(self, task: str, state: str, by: str, note: str) -> str:
        """Has a breaker ``open``, until it is closed by this as well, or ``closed``; the state that it was in."""
        return str(self.call("switch", task, state, by, note).decode())

    def unbreak(self, broken_list: str, limit: int = SLICE) -> tuple[int, bool]:
        """Moves what a breaker has put aside to the end of its queue; how many, and whether more are left."""
        moved, more = self.call("unbreak", broken_list, limit)
        return moved, bool(more)

    def tally(self, what: str, queue: str, number: int) -> None:
        """Counts for the balance sheet; see ``Keys.tally``."""
        self.call("tally", what, queue, number)

    def sweep(self, queue: str, until_ms: int) -> int:
        """Takes jobs off the waiting index that entered it until then, and counts them as taken elsewhere."""
        return int(self.call("sweep", queue, until_ms))

    def somebody_waits(self) -> bool:
        """Whether anybody listens for the end of any job at this moment."""
        return bool(self.client.pubsub_channels(self.keys.ended("*")))

    def announce(self, ended: Iterable[tuple[str, str]]) -> int:
        """Tells of (job id, state) pairs, whose rows are committed; how many waiters heard of them."""
        flat = [part for job in ended for part in job]
        return int(self.call("announce", *flat)) if flat else 0

    def call(self, name: str, *arguments: Any) -> Any:
        """Runs a script; loads it when the server does not have it, as after a restart or SCRIPT FLUSH."""
        chosen = script(name)
        try:
            return self.client.execute_command("EVALSHA", chosen.sha, 0, self.keys.prefix, *arguments)
        except NoScriptError:
            return self.client.execute_command("EVAL", chosen.text, 0, self.keys.prefix, *arguments)


def claim_arguments(
    worker: str, claimer: str, base: int, sources: Iterable[Source], count: int, max_bytes: int
) -> list[Any]:
    """What ``lua/claim.lua`` takes after the prefix."""
    return [worker, claimer, base, count, max_bytes, *(part for source in sources for part in source)]


def claim_reply(reply: Sequence[Any]) -> ClaimReply:
    """What ``lua/claim.lua`` returned."""
    messages = [
        Claimed(reply[i].decode(), reply[i + 1].decode(), reply[i + 2], reply[i + 3], reply[i + 4])
        for i in range(3, len(reply), 5)
    ]
    return ClaimReply(reply[0] == b"ok", float(reply[1]), int(reply[2]), messages)
