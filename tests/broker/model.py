"""What the scripts promise, in plain Python: where each message is, and what every call changes and answers.

Lists here have the first in line first. A time is the range in which the server's clock was when it was written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from penstock.broker.keys import FIELD_SEPARATOR, Keys
from penstock.broker.scripts import BURIED, REFUSED, SETTLED, Claimed, Settlement, Source
from tests.broker.bench import sha_of
from tests.broker.keyspace import Between, Count, Space

WAKE_CAP = 128
UNKNOWN_TASK = "unknown task"
KINDS = {"bury": "buried", "quarantine": "quarantined"}


@dataclass
class Held:
    """A message in flight."""

    number: int
    queue: str
    step: int
    raw: bytes

    @property
    def token(self) -> str:
        return f"{self.number}:{self.step}"


@dataclass
class Parked:
    """A message put aside until it is due."""

    due: int
    order: tuple[str, int]
    """Who parked it, and as which of theirs: what is due at one time goes in this order."""
    queue: str
    step: int
    raw: bytes


@dataclass
class Dead:
    """A dead entry."""

    entry: str
    raw: bytes
    kind: str
    queue: str
    step: int
    reason: str
    deliveries: int
    job: str
    at: Between


@dataclass
class Counted:
    """How often a message was delivered, and how often that killed."""

    deliveries: int
    crashes: int
    at: Between


@dataclass
class Worker:
    """One incarnation: its claimers' last bases, and what they hold."""

    bases: dict[str, int] = field(default_factory=dict)
    held: dict[tuple[str, str], list[Held]] = field(default_factory=dict)
    """By claimer and queue, in the order in which they first held something; emptied but kept when all is settled."""


@dataclass
class Model:
    """The state of the broker. Each method is a script, and returns what it answers."""

    limit: int
    """Crashes after which a message is buried."""
    ready: defaultdict[tuple[str, int], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    unknown: defaultdict[Source, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    parked: list[Parked] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)
    dead: list[Dead] = field(default_factory=list)
    consumed: list[bytes] = field(default_factory=list)
    """Acknowledged, or taken by a stock worker."""

    sequences: dict[str, int] = field(default_factory=dict)
    queues: set[str] = field(default_factory=set)
    index: dict[tuple[str, str], int | Between] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    wake: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    gates: set[str] = field(default_factory=set)
    counts: dict[bytes, Counted] = field(default_factory=dict)
    tallies: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    counted_since: Between | None = None
    leases: dict[str, Between] = field(default_factory=dict)
    dying: dict[str, bool] = field(default_factory=dict)
    """Workers that are being taken back → whether their claims count as crashes."""
    since: Between | None = None
    last: Between | None = None

    # Scripts.

    def publish(
        self,
        producer: str,
        sequence: int,
        queue: str,
        step: int,
        messages: list[tuple[str, bytes]],
        due: int,
        now: Between,
        *,
        is_new: bool = True,
    ) -> bool:
        if self.sequences.get(producer, -1) >= sequence:
            return False
        self.sequences[producer] = sequence
        self.queues.add(queue)
        later = due > now.high
        for place, (job, raw) in enumerate(messages):
            if later and self.leases:
                self.parked.append(Parked(due, (producer, sequence * 1000 + place), queue, step, raw))
            else:
                self._last(queue, step, raw)
            if job:
                if is_new and (queue, job) not in self.index:
                    self._tally("accepted", queue, now)
                self.index[queue, job] = due if later else now
        return True

    def claim(
        self, worker: str, claimer: str, base: int, sources: list[Source], count: int, max_bytes: int
    ) -> list[Claimed] | None:
        """None when there is no lease."""
        if worker not in self.leases:
            return None
        state = self.workers.get(worker, Worker())
        if state.bases.get(claimer, -1) >= base:
            return self._repeated(state, claimer, base)
        taken = self._taken(sources, base, count, max_bytes)
        for held in taken:
            state.held.setdefault((claimer, held.queue), []).append(held)
        if taken:
            state.bases[claimer] = base
            self.workers[worker] = state
        return [self._claimed(held) for held in taken]

    def settle(self, settlement: Settlement, now: Between) -> int:
        claimer, queue, token, verb, first, second = settlement
        held = self._released(claimer, queue, token)
        if held is None:
            return REFUSED
        if verb == "crash":
            return BURIED if self._crash(claimer, held, now) else SETTLED
        if verb in KINDS:
            self._bury(claimer, held, KINDS[verb], first, second, now)
            return BURIED
        self._move(claimer, held, verb, first, second, now)
        return SETTLED

    def unindex(self, jobs: Iterable[tuple[str, str]]) -> None:
        for queue, job in jobs:
            self.index.pop((queue, job), None)
            self.blocked.pop(job, None)

    def join(self, worker: str, now: Between) -> None:
        self.leases[worker] = now

    def renew(self, worker: str, now: Between) -> bool:
        if worker not in self.leases:
            return False
        self.leases[worker] = now
        return True

    def retire(self, worker: str, counted: bool, limit: int, now: Between) -> tuple[int, bool]:
        self.leases.pop(worker, None)
        self.dying.setdefault(worker, counted)
        return self._take_back(worker, limit, now)

    def reap(self, lease: int, gap: int, limit: int, order: Iterable[str], now: Between) -> tuple[int, bool, set[str]]:
        """``order`` is that in which dying workers are gone through, which the server chooses."""
        if self.since is None or self.last is None or not 0 <= now.high - self.last.low <= gap:
            self.since = now
        self.last = now
        if now.high - self.since.low < lease:
            return 0, False, set()
        silent = {worker for worker, at in self.leases.items() if now.high - at.low >= lease}
        for worker in silent:
            del self.leases[worker]
            self.dying[worker] = True
        for worker, at in self.leases.items():
            if at.low >= now.high + gap:
                self.leases[worker] = now
        total = 0
        for worker in [worker for worker in order if worker in self.dying]:
            taken, more = self._take_back(worker, limit - total, now)
            total += taken
            if more:
                return total, True, silent
        return total, False, silent

    def promote(self, queues: list[str], limit: int, now: Between, everything: bool) -> tuple[int, int]:
        moved, next_due = 0, 0
        for queue in queues:
            due = [parked for parked in self._parked_in(queue) if everything or parked.due <= now.low]
            for parked in due[: limit - moved]:
                self.parked.remove(parked)
                self._last(queue, parked.step, parked.raw)
            moved += len(due[: limit - moved])
            if rest := self._parked_in(queue):
                next_due = min(next_due or rest[0].due, rest[0].due)
        return moved, next_due

    def unblock(self, source: Source, limit: int) -> tuple[int, bool]:
        moved = self.unknown[source][:limit]
        del self.unknown[source][:limit]
        for raw in moved:
            self._last(source.queue, source.step, raw)
        return len(moved), bool(self.unknown[source])

    # What others do.

    def push(self, queue: str, step: int, raw: bytes) -> None:
        """A stock producer."""
        self.ready[queue, step].append(raw)

    def pop(self, queue: str, step: int) -> bytes | None:
        """A stock worker."""
        line = self.ready[queue, step]
        if not line:
            return None
        self.consumed.append(line[0])
        return line.pop(0)

    def shift(self, ms: int, workers: Iterable[str], *, ticking: bool) -> None:
        """The server's clock is so much further: leases of these workers are that much older, and so on."""
        for worker in workers:
            self.leases[worker] = self.leases[worker].later(-ms)
        for parked in self.parked:
            parked.due -= ms
        if self.since is not None and self.last is not None:
            self.since = self.since.later(-ms)
            self.last = self.last if ticking else self.last.later(-ms)

    # What there is to see.

    def tokens(self) -> list[tuple[str, str, str]]:
        """(claimer, queue, token) of each claim."""
        return [
            (claimer, queue, held.token)
            for worker in self.workers.values()
            for (claimer, queue), claims in worker.held.items()
            for held in claims
        ]

    def space(self, keys: Keys) -> Space:
        """The whole key space."""
        return {key: value for key, value in self._space(keys) if value}

    def _space(self, keys: Keys) -> Iterable[tuple[str, Any]]:
        for (queue, step), raws in self.ready.items():
            yield keys.ready(queue, step), raws[::-1]
        for source, raws in self.unknown.items():
            yield keys.unknown_list(*source), raws[::-1]
        yield (
            keys.unknown,
            {
                keys.unknown_list(*source): FIELD_SEPARATOR.join([source.task, source.queue, str(source.step)]).encode()
                for source, raws in self.unknown.items()
                if raws
            },
        )
        yield from self._space_of_workers(keys)
        for dead in self.dead:
            yield keys.dead_entry(dead.entry), _entry(dead)
        yield keys.dead, [dead.entry.encode() for dead in self.dead]
        for producer, sequence in self.sequences.items():
            yield keys.producer(producer), b"%d" % sequence
        yield keys.queues, {queue.encode() for queue in self.queues}
        for queue in {queue for queue, _ in self.index}:
            yield keys.waiting(queue), {job.encode(): at for (name, job), at in self.index.items() if name == queue}
        yield keys.blocked, {job: reason.encode() for job, reason in self.blocked.items()}
        for queue, tokens in self.wake.items():
            yield keys.wake(queue), [b"1"] * tokens
        counts = {field: b"%d" % count for field, count in self.tallies.items()}
        yield keys.tally, {**counts, "since": self.counted_since} if counts else {}
        yield keys.gates, dict.fromkeys(self.gates, b"{}")
        delivered = {
            sha_of(raw): Count(count.deliveries, count.crashes, count.at) for raw, count in self.counts.items()
        }
        yield keys.deliveries, delivered
        yield keys.reaper, {"since": self.since, "last": self.last} if self.last else {}

    def _space_of_workers(self, keys: Keys) -> Iterable[tuple[str, Any]]:
        for name, worker in self.workers.items():
            fields = {f"base:{claimer}": b"%d" % base for claimer, base in worker.bases.items()}
            held = {f"held:{claimer}{FIELD_SEPARATOR}{queue}": b"1" for claimer, queue in worker.held}
            yield keys.worker(name), {**fields, **held}
            for (claimer, queue), claims in worker.held.items():
                yield keys.inflight(claimer, queue), {held.token: held.raw for held in claims}
        yield keys.leases, {worker.encode(): at for worker, at in self.leases.items()}
        yield keys.dying, {worker: b"%d" % counted for worker, counted in self.dying.items()}

    # Parts of scripts.

    def _move(self, claimer: str, held: Held, verb: str, first: str, second: str, now: Between) -> None:
        queue, step, raw = held.queue, held.step, held.raw
        match verb:
            case "ack":
                self.consumed.append(raw)
            case "ack_counted":
                self.consumed.append(raw)
                self.counts.pop(raw, None)
            case "return":
                self._front(queue, step, raw)
            case "interrupt":
                self._count(raw, crashed=False, now=now)
                self._front(queue, step, raw)
            case "requeue":
                self._count(raw, crashed=False, now=now)
                self._last(queue, step, raw)
            case "park":
                self.queues.add(queue)
                self.parked.append(Parked(int(first), (claimer, held.number), queue, step, raw))
            case "block":
                self.unknown[Source(queue, step, first)].append(raw)
                if second:
                    self.blocked[second] = f"{UNKNOWN_TASK} {first}"

    def _tally(self, what: str, queue: str, now: Between) -> None:
        self.tallies[f"{what}:{queue}"] += 1
        self.counted_since = self.counted_since or now

    def _last(self, queue: str, step: int, raw: bytes) -> None:
        self.ready[queue, step].append(raw)
        self._wake(queue)

    def _front(self, queue: str, step: int, raw: bytes) -> None:
        self.ready[queue, step].insert(0, raw)
        self._wake(queue)

    def _wake(self, queue: str) -> None:
        self.wake[queue] = min(self.wake[queue] + 1, WAKE_CAP)

    def _taken(self, sources: list[Source], base: int, count: int, max_bytes: int) -> list[Held]:
        taken: list[Held] = []
        full = False
        room = max_bytes
        for source in sources:
            line = self.unknown[source] if source.task else self.ready[source.queue, source.step]
            while line and len(taken) < count and room > 0 and source.queue not in self.gates:
                room -= len(line[0])
                taken.append(Held(base + len(taken) + 1, source.queue, source.step, line.pop(0)))
            full = len(taken) >= count or room <= 0
            if full:
                break
        # Those from the list on at which the claim was full: nobody has looked whether they are empty.
        unseen = sources[sources.index(source) :] if full else []
        asked = {source.queue for source in sources if not source.task} - self.gates
        for queue in asked - {source.queue for source in unseen if not source.task}:
            self.wake.pop(queue, None)
        return taken

    def _repeated(self, state: Worker, claimer: str, base: int) -> list[Claimed]:
        held = [
            held
            for (name, _), claims in state.held.items()
            for held in claims
            if name == claimer and held.number > base
        ]
        return [self._claimed(one) for one in sorted(held, key=lambda one: one.number)]

    def _claimed(self, held: Held) -> Claimed:
        count = self.counts.get(held.raw)
        told = (count.deliveries, count.crashes) if count else (0, 0)
        return Claimed(held.token, held.queue, held.raw, *told)

    def _released(self, claimer: str, queue: str, token: str) -> Held | None:
        for worker in self.workers.values():
            for held in worker.held.get((claimer, queue), []):
                if held.token == token:
                    worker.held[claimer, queue].remove(held)
                    return held
        return None

    def _take_back(self, worker: str, limit: int, now: Between) -> tuple[int, bool]:
        state = self.workers.get(worker, Worker())
        taken = 0
        for (claimer, queue), claims in list(state.held.items()):
            while claims:
                if taken >= limit:
                    return taken, True
                held = claims.pop()
                taken += 1
                if self.dying[worker]:
                    self._crash(claimer, held, now)
                else:
                    self._front(queue, held.step, held.raw)
            del state.held[claimer, queue]
        self.workers.pop(worker, None)
        del self.dying[worker]
        return taken, False

    def _count(self, raw: bytes, *, crashed: bool, now: Between) -> Counted:
        old = self.counts.get(raw, Counted(0, 0, now))
        self.counts[raw] = Counted(old.deliveries + 1, old.crashes + crashed, now)
        return self.counts[raw]

    def _crash(self, claimer: str, held: Held, now: Between) -> bool:
        count = self._count(held.raw, crashed=True, now=now)
        if count.crashes < self.limit:
            self._front(held.queue, held.step, held.raw)
            return False
        times = "once" if count.crashes == 1 else f"{count.crashes} times"
        count.deliveries -= 1
        self._bury(claimer, held, "buried", f"its process died {times}", "", now)
        return True

    def _bury(self, claimer: str, held: Held, kind: str, reason: str, job: str, now: Between) -> None:
        before = self.counts.pop(held.raw, Counted(0, 0, now)).deliveries
        entry = f"{claimer}:{held.token}"
        self.dead.append(Dead(entry, held.raw, kind, held.queue, held.step, reason, before + 1, job, now))

    def _parked_in(self, queue: str) -> list[Parked]:
        here = [parked for parked in self.parked if parked.queue == queue]
        return sorted(here, key=lambda parked: (parked.due, parked.order))


def _entry(dead: Dead) -> dict[str, Any]:
    return {
        "raw": dead.raw,
        "kind": dead.kind.encode(),
        "queue": dead.queue.encode(),
        "step": b"%d" % dead.step,
        "reason": dead.reason.encode(),
        "at": dead.at,
        "deliveries": b"%d" % dead.deliveries,
        "job": dead.job.encode(),
    }
