"""Reads what children have handed over, and gives the room back when it is done with.

An entry stays in its ring until its outcome is written, what follows from it published and its claim ended. A keeper
that dies leaves all others to the next one, who reads them again; their tokens say what was written already.
"""

from __future__ import annotations

import contextlib
import json
import logging
import marshal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.broker.scripts import Settlement
from penstock.engine.keeping.books import Kind, Plain
from penstock.engine.keeping.outcomes import Outcomes
from penstock.engine.keeping.tidings import Tidings
from penstock.engine.running.handing import Kind as Handed
from penstock.engine.slots import Slot
from penstock.ledger.delivery import claim_token
from penstock.ledger.recording.plain import PlainSuccess
from penstock.ledger.records import Record

logger = logging.getLogger("penstock.keeper")


class RingPlace:
    """One entry, and how many things have to happen before it is done with."""

    __slots__ = ("end", "file", "open", "reader")

    def __init__(self, reader: RingReader, end: int, file: str | None) -> None:
        self.reader = reader
        self.end = end
        self.file = file
        self.open = 1

    def close(self) -> None:
        """One thing less."""
        self.open -= 1
        if not self.open:
            self.reader.release()


class RingReader:
    """Of one child, from its start until the keeper has put everything of it in order."""

    def __init__(self, slot: Slot, hostname: str, outcomes: Outcomes, tidings: Tidings) -> None:
        self.slot = slot
        self.fork = slot.get("fork")
        self.unsettled: set[tuple[str, str, str]] = set()
        """(claimer, queue, token) of claims whose end was handed over."""
        self._hostname = hostname
        self._outcomes = outcomes
        self._tidings = tidings
        self._process = f"ForkPoolWorker-{slot.index + 1}"
        self._position = slot.ring.tail
        self._places: deque[RingPlace] = deque()
        self._take: dict[int, Callable[[RingPlace, tuple[Any, ...]], None]] = {
            Handed.PLAIN: self._take_plain,
            Handed.SETTLE: self._take_settlement,
            Handed.TELL: self._take_news,
            Handed.ASK: self._take_question,
        }

    @property
    def is_empty(self) -> bool:
        """Whether everything that was handed over is done with."""
        return not self._places and self._position == self.slot.ring.head

    def read(self) -> bool:
        """Takes what is new; whether there was anything."""
        found = False
        for position, raw in self.slot.ring.read(self._position):
            found = True
            self._position = position
            entry = marshal.loads(raw)  # noqa: S302  written by a fork of ours
            file = None
            if entry[0] == Handed.FILE:
                file = entry[1]
                entry = marshal.loads(Path(file).read_bytes())  # noqa: S302
            place = RingPlace(self, position, file)
            self._places.append(place)
            self._take[entry[0]](place, entry)
            place.close()
        return found

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

    def _take_plain(self, place: RingPlace, entry: tuple[Any, ...]) -> None:
        (
            _, claimer, queue, token, id, task, routing_key, priority, args, kwargs, result, is_recorded,
            claimed_at, started, ended, runtime, enqueued_at, parent, root, group, replay_of, schedule,
            argsrepr, kwargsrepr, shown, shadow, sends,
        ) = entry  # fmt: skip
        place.open += 1
        self.unsettled.add((claimer, queue, token))
        record = None
        if is_recorded:
            record = PlainSuccess(
                id=id,
                task=task,
                queue=routing_key,
                worker=self._hostname,
                token=claim_token(claimer, token) or "",
                lineage=(parent, root, group, replay_of, schedule),
                priority=priority,
                args=args,
                kwargs=kwargs,
                result=result,
                enqueued_at=enqueued_at,
                started=started,
                ended=ended,
            )
        settlement = Settlement(claimer, queue, token, "ack", "", id)
        self._outcomes.take_plain(Plain(record, settlement, (), _Settling(self, place, settlement)))
        name = shadow or task
        self._tidings.count(name)
        event = (id, name, argsrepr, kwargsrepr, root, parent, claimed_at, started, ended, runtime, shown, sends)
        self._tidings.tell_plain(event, (self.fork, token), self._process)

    def _take_settlement(self, place: RingPlace, entry: tuple[Any, ...]) -> None:
        settlement = Settlement(*entry[1:])
        place.open += 1
        self.unsettled.add((settlement.claimer, settlement.queue, settlement.token))
        self._outcomes.settle_for(_Settling(self, place, settlement), settlement)

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


class _Settling:
    """Closes a place when the claim has ended."""

    __slots__ = ("_place", "_reader", "_whose")

    def __init__(self, reader: RingReader, place: RingPlace, settlement: Settlement) -> None:
        self._reader = reader
        self._place = place
        self._whose = settlement[:3]

    def close(self) -> None:
        """The claim has ended."""
        self._reader.unsettled.discard(self._whose)
        self._place.close()
