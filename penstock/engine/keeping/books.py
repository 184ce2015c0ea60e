"""Writes what the worker tells into the ledger: one thread, one SQL connection, as many records at once as have come.

In a thread of its own, because SQL may be away for minutes and the lease must be renewed meanwhile. What it cannot
write yet it keeps, and the claims that wait for it stay claimed.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

from penstock.engine.keeping import ROW_SECONDS, Ward
from penstock.engine.keeping.burial import Burial
from penstock.engine.keeping.cancelling import Cancelling
from penstock.engine.keeping.counting import Counting
from penstock.engine.keeping.doubt import Doubt
from penstock.engine.keeping.retention import Retention
from penstock.engine.keeping.spool import Spool
from penstock.engine.running.handing import PlainEntry
from penstock.errors import PenstockError
from penstock.ledger.recorder import Recorder
from penstock.ledger.recording.plain import PlainSuccess
from penstock.ledger.records import FollowUp, Record, Verdict

logger = logging.getLogger("penstock.keeper")
TICK_SECONDS = 0.5
BATCH = 1000
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
GOODBYE_SECONDS = 2.0
"""How long the end of a worker waits for the last minute of its queues to be written; SQL may be away."""
FULL, FREE = 4000, 2000
"""Records that wait at which the worker claims no more, and at which it goes on."""
FULL_BYTES, FREE_BYTES = 64_000_000, 32_000_000
"""The same for what they weigh."""


class Kind(StrEnum):
    """What an entry of the books asks for."""

    RECORD = "record"
    NOTE = "note"
    """As RECORD; nobody waits for it."""
    ASK = "ask"
    """Whether a delivery may start."""
    DOUBT = "doubt"
    """As ASK, of a message that may have come back while its job runs."""


class Place(Protocol):
    """Where something was handed over; see ``penstock.engine.keeping.rings``."""

    def close(self) -> None:
        """One thing less that is open there."""


class _Nobody:
    """A place for what nobody waits for."""

    def close(self) -> None:
        """Nothing to be done."""


NOBODY = _Nobody()


@dataclass(frozen=True)
class Entry:
    """A record, and who waits for it."""

    kind: Kind
    number: int
    """By which the worker hears of it; 0: nobody waits."""
    record: Record
    place: Place | None = None
    """Where a child has handed it over."""

    def __len__(self) -> int:
        return 1

    @property
    def weight(self) -> int:
        """Bytes of what may be large."""
        delivery, outcome = self.record.delivery, self.record.outcome
        texts = (delivery.args, delivery.kwargs, self.record.progress, outcome.result if outcome else None)
        return sum(map(len, filter(None, texts))) + sum(len(message.payload) for message in self.record.follow_ups)


class Plains:
    """Plain successes that one child has handed over one after the other, of claims under one name on one list.

    They are written, told and settled together: what is done for each of them alone is all that a plain job costs.
    """

    def __init__(self, entries: list[PlainEntry], place: Place) -> None:
        self.entries = entries
        self.place = place
        self.records: list[PlainSuccess] = []
        """Made by whoever reads the rings, because the thread of the books waits for SQL meanwhile."""
        self.weight = 0
        if self.is_recorded:
            self.records = [
                PlainSuccess(
                    each.id,
                    each.routing_key,
                    each.row,
                    is_accepted=each.is_accepted,
                    started=each.started,
                    ended=each.ended,
                    took_long=each.ended - each.started >= ROW_SECONDS,
                )
                for each in entries
            ]
            self.weight = sum([record.weight for record in self.records])

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def is_recorded(self) -> bool:
        """Whether the ledger keeps them."""
        return self.entries[0].row is not None

    @property
    def claimer(self) -> str:
        """Who claimed them."""
        return self.entries[0].claimer

    @property
    def queue(self) -> str:
        """The list from which they were claimed."""
        return self.entries[0].queue


@dataclass(frozen=True)
class Written:
    """What became of entries that are in the ledger now."""

    entries: Sequence[Entry | Plains]
    verdicts: Sequence[Any]
    """Of each entry a Verdict, or None: not decided; the message is to be looked at again later. Of plains a list."""
    messages: Sequence[FollowUp]
    of_others: bool = False
    """Whether nobody here waits for it: it is of a worker that has ended, or of jobs that nobody has claimed."""


class Books(threading.Thread):
    """The one SQL connection of a keeper."""

    def __init__(
        self, ward: Ward, database_url: str, on_written: Callable[[Written], None], before: Callable[[], None]
    ) -> None:
        """Args:
        on_written: told after each commit, in this thread.
        before: called before each transaction of outcomes.
        """
        super().__init__(name="books", daemon=True)
        self.counting = Counting(database_url)
        self._recorder = Recorder(database_url, self.counting.count)
        self._burial = Burial(ward, database_url, self.counting)
        self._doubt = Doubt(ward, database_url)
        self._cancelling = Cancelling(ward, database_url, self._write_others)
        self._retention = Retention(ward, database_url, ward.retention)
        self._on_written = on_written
        self._before = before
        self._entries: queue.SimpleQueue[Entry | Plains | None] = queue.SimpleQueue()
        """None: nothing more comes."""
        self._stopped = threading.Event()
        self._spool = Spool(ward)
        self._ticked = 0.0
        self.away_since: float | None = None
        """Since when nothing can be written, in seconds since 1970."""

    def stop(self) -> None:
        """Has it end soon; outcomes that are not written yet are not written any more."""
        self._stopped.set()
        self._entries.put(None)
        self.join(GOODBYE_SECONDS)

    def add(self, entry: Entry | Plains) -> None:
        """Takes an entry; they are written in the order in which they come."""
        self._entries.put(entry)

    def run(self) -> None:
        """Until :meth:`stop`, or with the process."""
        try:
            while not self._stopped.is_set():
                entries = self._take()
                if entries:
                    self._before()
                    self._on_written(self._write(entries))
                if time.monotonic() - self._ticked >= TICK_SECONDS:
                    self._tick()
                    self._ticked = time.monotonic()
        finally:
            self.counting.close()

    def _tick(self) -> None:
        try:
            self._burial.perform()
            self._spool.perform(self._write_others)
            self._cancelling.perform()
            self.counting.perform()
            self._retention.perform()
        except Exception:  # Outcomes must go on being written.
            logger.exception("a duty of the books failed; it is tried again")

    def _write_others(self, records: Sequence[Record]) -> Sequence[Verdict]:
        written = self._recorder.write(records)
        entries = [Entry(Kind.RECORD, 0, record) for record in records]
        self._on_written(Written(entries, written.verdicts, written.messages, of_others=True))
        return written.verdicts

    def _take(self) -> list[Entry | Plains]:
        """What has come, at least one entry unless a tick passes without any."""
        entries: list[Entry | Plains] = []
        with contextlib.suppress(queue.Empty):
            entry, size = self._entries.get(timeout=TICK_SECONDS), 0
            while entry is not None:
                entries.append(entry)
                size += len(entry)
                entry = self._entries.get_nowait() if size < BATCH else None
        return entries

    def _write(self, entries: list[Entry | Plains]) -> Written:
        """Writes until it is written: while SQL is away the entries stay here, and their claims with them."""
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                written = self._try_to_write(entries)
                self.away_since = None
                return written
            except Exception as error:  # Whatever it is, outcomes wait for it to pass, and nobody settles their claims.
                if not pause:
                    self.away_since = time.time()
                    is_known = isinstance(error, PenstockError)
                    logger.error(
                        "%s; outcomes are kept and written as soon as that has passed", error, exc_info=not is_known
                    )
                pause = min(max(pause * 2, FIRST_PAUSE), LAST_PAUSE)
        raise SystemExit  # Of this thread.

    def _try_to_write(self, entries: list[Entry | Plains]) -> Written:
        doubtful = [entry.record for entry in entries if isinstance(entry, Entry) and entry.kind is Kind.DOUBT]
        running_elsewhere = self._doubt.look_up(doubtful) if doubtful else set()
        chosen = [entry for entry in entries if not _is_among(entry, running_elsewhere)]
        records: list[Record | PlainSuccess] = []
        for entry in chosen:
            records += entry.records if isinstance(entry, Plains) else [entry.record]
        written = self._recorder.write(records)
        told = iter(written.verdicts)
        verdicts = {
            id(entry): list(islice(told, len(entry))) if isinstance(entry, Plains) else next(told) for entry in chosen
        }
        return Written(entries, [verdicts.get(id(entry)) for entry in entries], written.messages)


def _is_among(entry: Entry | Plains, tokens: set[str | None]) -> bool:
    return bool(tokens) and isinstance(entry, Entry) and entry.record.delivery.token in tokens
