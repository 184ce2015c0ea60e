"""Reads what children have handed over, and gives the room back when it is done with.

An entry stays in its ring until its outcome is written, what follows from it published and its claim ended. A keeper
that dies leaves all others to the next one, who reads them again; their tokens say what was written already.
"""

from __future__ import annotations

import contextlib
import json
import marshal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.broker.scripts import Settlement
from penstock.engine.attempts import Attempt
from penstock.engine.keeping.books import Kind, Plains
from penstock.engine.keeping.breakers import Breakers
from penstock.engine.keeping.outcomes import Outcomes
from penstock.engine.keeping.tidings import Tidings
from penstock.engine.reporting.attempt import Packet
from penstock.engine.running import handing
from penstock.engine.running.handing import PlainEntry
from penstock.engine.slots import Slot, Standing
from penstock.ledger.records import Record

MOST_PLAINS = 200
"""Plain successes that are treated together."""


class RingPlace:
    """One entry, or several, and how many things have to happen before they are done with."""

    def __init__(self, reader: RingReader, end: int, file: str | None) -> None:
        self.end = end
        self.file = file
        self.open = 1
        self.on_closed: Callable[[], None] | None = None
        self._reader = reader

    def close(self) -> None:
        """One thing less."""
        self.open -= 1
        if not self.open:
            if self.on_closed is not None:
                self.on_closed()
            self._reader.release()


class RingReader:
    """Of one child, from its start until the keeper has put everything of it in order."""

    def __init__(self, slot: Slot, outcomes: Outcomes, tidings: Tidings, breakers: Breakers) -> None:
        self.slot = slot
        self.fork = slot.get("fork")
        self._outcomes = outcomes
        self._tidings = tidings
        self._breakers = breakers
        self._process = f"ForkPoolWorker-{slot.get('place') + 1}"
        self._position = slot.ring.tail
        self._places: deque[RingPlace] = deque()
        self._settling: set[tuple[str, str, str]] = set()
        self._ending: set[Plains] = set()
        self._plains: list[PlainEntry] = []
        self._plains_end = 0
        self._take: dict[int, Callable[[RingPlace, tuple[Any, ...]], None]] = {
            handing.SETTLE: self._take_settlement,
            handing.TELL: self._take_news,
            handing.ASK: self._take_question,
            handing.ATTEMPT: self._take_attempt,
        }

    @property
    def is_empty(self) -> bool:
        """Whether everything that was handed over is done with."""
        return not self._places and self._position == self.slot.ring.head

    def has_ended(self, claimer: str, queue: str, token: str) -> bool:
        """Whether the end of this claim was handed over, and is on its way to Redis."""
        if (claimer, queue, token) in self._settling:
            return True
        return any(entry.token == token and entry.claimer == claimer for each in self._ending for entry in each.entries)

    def read(self) -> bool:
        """Takes what is new; whether there was anything."""
        # First, because what a job has said was handed over before its outcome.
        self._read_reports()
        before = self._position
        for position, raw in self.slot.ring.read(before):
            self._position = position
            entry = marshal.loads(raw)  # noqa: S302  written by a fork of ours
            file = None
            if entry[0] == handing.FILE:
                file = entry[1]
                entry = marshal.loads(Path(file).read_bytes())  # noqa: S302
            if entry[0] == handing.PLAIN and file is None:
                self._gather(position, PlainEntry._make(entry[1:]))
            else:
                self._take_other(position, entry, file)
        self._take_plains()
        return self._position != before

    def _read_reports(self) -> None:
        """Of what jobs say of themselves nothing is kept here: a keeper that dies forgets it."""
        reports, ring = self._outcomes.reports, self.slot.reports
        if reports is None or ring.head == (end := ring.tail):
            return
        # What a child has left that died goes with its slot.
        if reports.has_room or self.slot.standing is Standing.DEAD:
            for behind, raw in ring.read(end):
                reports.take(Packet._make(marshal.loads(raw)))  # noqa: S302  written by a fork of ours
                end = behind
            ring.release(end)

    def _gather(self, position: int, entry: PlainEntry) -> None:
        known = self._plains
        if known and (
            len(known) >= MOST_PLAINS
            or (entry.claimer, entry.queue, entry.row is None)
            != (known[0].claimer, known[0].queue, known[0].row is None)
        ):
            self._take_plains()
        self._plains.append(entry)
        self._plains_end = position

    def _take_plains(self) -> None:
        if not self._plains:
            return
        entries, self._plains = self._plains, []
        place = RingPlace(self, self._plains_end, None)
        self._places.append(place)
        self._take_together(place, entries)

    def _take_together(self, place: RingPlace, entries: list[PlainEntry]) -> None:
        plains = Plains(entries, place)
        place.on_closed = lambda: self._ending.discard(plains)
        self._ending.add(plains)
        self._tidings.tell_plains(entries, self.fork, self._process)
        self._outcomes.take_plains(plains)

    def _take_other(self, position: int, entry: tuple[Any, ...], file: str | None) -> None:
        self._take_plains()
        place = RingPlace(self, position, file)
        self._places.append(place)
        if entry[0] == handing.PLAIN:
            self._take_together(place, [PlainEntry._make(entry[1:])])
            return
        self._take[entry[0]](place, entry)
        place.close()

    def release(self) -> None:
        """Gives back the room of entries that are done with, as far as those before them are as well."""
        end = None
        while self._places and not self._places[0].open:
            place = self._places.popleft()
            end = place.end
            if place.file is not None:
                with contextlib.suppress(OSError):
                    Path(place.file).unlink()
        if end is not None:
            self.slot.ring.release(end)

    # -- the kinds ----------------------------------------------------------------------------------------------

    def _take_settlement(self, place: RingPlace, entry: tuple[Any, ...]) -> None:
        settlement = Settlement(*entry[1:])
        place.open += 1
        whose = settlement[:3]
        self._settling.add(whose)
        place.on_closed = lambda: self._settling.discard(whose)
        self._tidings.settled((self.fork, settlement.token))
        self._outcomes.settle_for(place, settlement)

    def _take_news(self, place: RingPlace, entry: tuple[Any, ...]) -> None:
        _, records, events, lines, started = entry
        for words in records:
            record = Record.from_words(json.loads(words))
            place.open += 1
            self._outcomes.take_from(place, Kind.RECORD, record)
        for task in started:
            self._tidings.count(task)
        for token, type, at, fields in events:
            self._tidings.tell((self.fork, token), type, at, fields)
        for at, text in lines:
            self._tidings.log(at, self._process, text)

    def _take_question(self, place: RingPlace, entry: tuple[Any, ...]) -> None:
        _, words, is_doubtful = entry
        place.open += 1
        kind = Kind.DOUBT if is_doubtful else Kind.ASK
        self._outcomes.take_from(place, kind, Record.from_words(json.loads(words)))

    def _take_attempt(self, _: RingPlace, entry: tuple[Any, ...]) -> None:
        self._breakers.count(Attempt(*entry[1:]))
