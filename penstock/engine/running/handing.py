"""Handing over: what a child leaves to its keeper, which outlives it.

Entries are tuples of plain values; the first says of which kind they are. The keeper's half is
``penstock.engine.keeping.rings``.
"""

from __future__ import annotations

import json
import marshal
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from penstock.broker.scripts import Settlement
from penstock.engine.ring import MOST
from penstock.engine.running.line import Line
from penstock.engine.slots import Slot, Slots
from penstock.ledger.records import Record

ROOM_SECONDS = 0.05
"""How long to wait before the ring is looked at again when it was full."""


PLAIN = 0
"""The fields of a :class:`PlainEntry`: the success of a first delivery, from which nothing follows."""
SETTLE = 1
"""The parts of a settlement: a claim ends. Its records were handed over before."""
TELL = 2
"""(records as words in JSON, events, log lines, tasks whose jobs have started)."""
ASK = 3
"""(record as words in JSON, whether it is doubtful): whether a delivery may start."""
FILE = 4
"""(path): an entry too large for the ring."""
ATTEMPT = 5
"""The parts of an attempt that a breaker counts."""


class PlainEntry(NamedTuple):
    """What is told of a plain success. Times are seconds since 1970."""

    claimer: str
    queue: str
    """The list from which it was claimed."""
    token: str
    id: str
    routing_key: Any
    row: Any
    """What the ledger keeps, see :func:`penstock.ledger.recording.plain.told_of`; None: another backend has it by now.
    """
    is_accepted: bool
    claimed_at: float
    started: float
    ended: float
    runtime: float
    parent: Any
    """As the message says it, and so are the next three."""
    root: Any
    argsrepr: Any
    kwargsrepr: Any
    shown: str
    """The result as Celery shows it."""
    name: str
    """The task's, as it is shown."""
    sends_events: bool


class Handing:
    """One child's end."""

    def __init__(self, slots: Slots, slot: Slot, line: Line, folder: Path, rest: Callable[[], None]) -> None:
        """Args:
        folder: for entries that are too large; nobody else may read it.
        rest: called while there is no room; may raise in order to end the child.
        """
        self._slots = slots
        self._slot = slot
        self._line = line
        self._folder = folder
        self._rest = rest

    def put(self, entry: tuple[Any, ...]) -> None:
        """Hands an entry over. It waits while the ring is full, as when SQL is away: then nothing more is claimed."""
        record = marshal.dumps(entry)
        if len(record) > MOST:
            record = marshal.dumps((FILE, self._write(record)))
        while not self._slot.ring.write(record):
            self._rest()
        if self._slots.keeper_sleeps:
            # Not again until it has slept again; if two children clear it at once, two nudge.
            self._slots.keeper_sleeps = False
            self._line.nudge()

    def _write(self, record: bytes) -> str:
        handle, path = tempfile.mkstemp(dir=self._folder, prefix=f"{self._slot.index}-")
        with os.fdopen(handle, "wb") as file:
            file.write(record)
        return path

    def watch_limits(self) -> None:
        """A job begins that has a time limit: whoever ends it must not sleep."""
        if self._slots.zygote_sleeps:
            self._slots.zygote_sleeps = False
            self._slots.wake_zygote()

    # -- as the keeper's outlet of this process, for the ledger's backend ---------------------------------------

    is_open = True

    def settle(self, settlement: Settlement) -> None:
        """Has a claim ended."""
        self.put((SETTLE, *settlement))

    def record(self, record: Record) -> None:
        """Has a record written."""
        self.put((TELL, (_words(record),), (), (), ()))

    def ask(self, record: Record, is_doubtful: bool) -> None:
        """Asks whether a delivery may start; the news ``started`` bring its token and the verdict."""
        self.put((ASK, _words(record), is_doubtful))

    def note(self, record: Record) -> None:
        """Has it written that a job runs."""
        self.record(record)

    report = note

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """Nothing: jobs leave the waiting index when they end, or when the ledger shows them."""


class SharedHanding(Handing):
    """Of a child in which several threads hand over. The ring has one writer: whoever has the lock."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lock = threading.Lock()

    def put(self, entry: tuple[Any, ...]) -> None:
        """See :class:`Handing`."""
        with self._lock:
            super().put(entry)


def _words(record: Record) -> str:
    return json.dumps(record.to_words(), separators=(",", ":"))
