"""One running job in memory that all processes of a worker share: what it is, since when, within which limits.

A child that runs one job at a time has one place, in its slot; one that runs many at once has a place for each.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Protocol

from penstock.broker.scripts import Claimed

IN_BODY, ENDING = 1, 2
"""Values of ``is_running``; 0: nothing runs."""
QUEUE, RAW = 256, 512
"""Where the queue's name begins in a place, and the message."""
MAX_QUEUE = RAW - QUEUE
SIZE = 1 << 14
"""Bytes of a place in a child that has many. Those of larger messages are read in Redis when somebody asks."""
_FIELDS = (
    ("standing", "q"),
    ("pid", "q"),
    ("fork", "q"),
    ("place", "q"),
    ("orders", "q"),
    ("recalled", "q"),
    ("soft_target", "q"),
    ("warned", "q"),
    ("cancelled", "q"),
    ("cancel_target", "q"),
    ("reason", "q"),
    ("reason_for", "q"),
    ("exit_status", "q"),
    ("done", "q"),
    ("claimed_at", "d"),
    ("claimed_ms", "d"),
    ("held", "q"),
    ("incarnation", "q"),
    ("used", "q"),
    # From here on written together at the start of each job.
    ("is_running", "q"),
    ("number", "q"),
    ("step", "q"),
    ("deliveries", "q"),
    ("started", "d"),
    ("started_at", "d"),
    ("soft_limit", "d"),
    ("hard_limit", "d"),
    ("raw_length", "q"),
    ("queue_length", "q"),
)
_OFFSETS = {name: 8 * place for place, (name, _) in enumerate(_FIELDS)}
_KINDS = {name: struct.Struct("<" + kind) for name, kind in _FIELDS}
_START = struct.Struct("<qqqqddddqq")
_START_AT = _OFFSETS["is_running"]
_DONE_AT = _OFFSETS["done"]
_INTEGER = struct.Struct("<q")


@dataclass(frozen=True)
class Running:
    """The job that a child runs, as its slot shows it."""

    pid: int
    fork: int
    number: int
    step: int
    incarnation: int
    """Number of the worker's incarnation under which it was claimed."""
    deliveries: int
    """How often the message had been delivered before."""
    queue: str
    started: float
    """Monotonic."""
    started_at: float
    """Seconds since 1970."""
    raw: bytes | None
    """The message; None when it is longer than the slot."""

    @property
    def token(self) -> str:
        """Of its claim."""
        return f"{self.number}:{self.step}"


class Begun(Protocol):
    """A job that starts; see ``penstock.engine.running.opening``."""

    claimed: Claimed
    number: int
    step: int


class Place:
    """Where a child shows one running job."""

    def __init__(self, memory: mmap.mmap, at: int, size: int) -> None:
        self._memory = memory
        self._at = at
        self._max_raw = size - RAW

    def get(self, name: str) -> int:
        """A field that holds an integer."""
        return int(_KINDS[name].unpack_from(self._memory, self._at + _OFFSETS[name])[0])

    def time(self, name: str) -> float:
        """A field that holds a time or a number of seconds."""
        return float(_KINDS[name].unpack_from(self._memory, self._at + _OFFSETS[name])[0])

    def put(self, name: str, value: float) -> None:
        """Writes one field."""
        _KINDS[name].pack_into(self._memory, self._at + _OFFSETS[name], value)

    def wipe(self) -> None:
        """All fields to nothing; the first last, because others go by it."""
        for name, _ in reversed(_FIELDS):
            self.put(name, 0)

    def begin(self, job: Begun, now: float, at: float, soft: float, hard: float) -> None:
        """A job starts. That it does goes in last: whoever sees it finds all else, and no time of the job before, which
        may have started long ago and would make this one look as if it had been running since.

        Args:
            now: monotonic; ``at``: seconds since 1970.
            soft: limit in seconds; 0: none. ``hard`` as well.
        """
        memory, base = self._memory, self._at
        claimed = job.claimed
        raw, queue = claimed.raw, claimed.queue.encode()[:MAX_QUEUE]
        length = len(raw)
        if length <= self._max_raw:
            memory[base + RAW : base + RAW + length] = raw
        else:
            length = -1
        memory[base + QUEUE : base + QUEUE + len(queue)] = queue
        _START.pack_into(
            memory,
            base + _START_AT,
            0,
            job.number,
            job.step,
            claimed.deliveries,
            now,
            at,
            soft,
            hard,
            length,
            len(queue),
        )
        self.put("is_running", IN_BODY)

    def ending(self) -> None:
        """The body has ended, and is not handed over yet: no limit holds any more, and nothing waits behind it."""
        _INTEGER.pack_into(self._memory, self._at + _START_AT, ENDING)

    def end(self, done: int) -> None:
        """The job's outcome is handed over."""
        _INTEGER.pack_into(self._memory, self._at + _START_AT, 0)
        _INTEGER.pack_into(self._memory, self._at + _DONE_AT, done)

    def cancel(self, number: int) -> None:
        """Notes that the job of this number, which runs here, is cancelled. Its body hears of it, if it can, once."""
        if self.get("cancelled") != number:
            self.put("cancelled", number)
            self.put("cancel_target", number)

    @property
    def is_cancelled(self) -> bool:
        """Whether the job that runs here is cancelled."""
        return self.get("cancelled") == self.get("number") and bool(self.get("is_running"))

    def take_cancellation(self) -> bool:
        """Whether the job that runs here is cancelled and has not heard of it; it is about to."""
        if self.get("cancel_target") != self.get("number"):
            return False
        self.put("cancel_target", 0)
        return True

    def give_reason(self, reason: int) -> None:
        """Notes why the job that runs here is to end, for whoever ends it and whoever sees that."""
        self.put("reason", reason)
        self.put("reason_for", self.get("number"))

    def has_reason(self, reason: int) -> bool:
        """Whether the job that runs here is to end for this reason."""
        return self.get("reason") == reason and self.get("reason_for") == self.get("number")

    def running(self) -> Running | None:
        """The job that runs, as one piece: read again if the child went on meanwhile. None: it runs none."""
        for _ in range(100):
            before = self._start()
            is_running, number, step, deliveries, started, started_at, _, _, length, queue_length = before
            if not is_running:
                return None
            raw = None if length < 0 else self._bytes(RAW, length)
            queue = self._bytes(QUEUE, queue_length).decode(errors="replace")
            if self._start() == before:
                pid, fork, incarnation = self.get("pid"), self.get("fork"), self.get("incarnation")
                return Running(pid, fork, number, step, incarnation, deliveries, queue, started, started_at, raw)
        return None

    def limits(self) -> tuple[int, float, float, float]:
        """(number, started, soft, hard) of the body that runs; number 0: none does."""
        read = self._start()
        while (again := self._start()) != read:
            read = again
        is_running, number, _, _, started, _, soft, hard, _, _ = read
        return (number if is_running == IN_BODY else 0), started, soft, hard

    def _start(self) -> tuple[int, int, int, int, float, float, float, float, int, int]:
        return _START.unpack_from(self._memory, self._at + _START_AT)

    def _bytes(self, offset: int, length: int) -> bytes:
        return bytes(self._memory[self._at + offset : self._at + offset + max(length, 0)])
