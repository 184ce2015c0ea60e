"""Commit, then publish, then settle: the order that loses nothing.

Between the worker, who tells what happened, the thread that writes it, and Redis. A claim whose record is not written
yet stays claimed: should everything here die at that moment, the job is found in Redis and runs again.
"""

from __future__ import annotations

import json
import queue
import secrets
import selectors
import socket
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from penstock.broker.claims import ACKS
from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.scripts import Settlement
from penstock.engine.keeping import Duty, Ward
from penstock.engine.keeping.books import (
    FREE,
    FREE_BYTES,
    FULL,
    FULL_BYTES,
    NOBODY,
    Books,
    Entry,
    Kind,
    Place,
    Plains,
    Written,
)
from penstock.engine.keeping.counting import Counting
from penstock.engine.keeping.relay import Relay
from penstock.engine.keeping.reports import Reports
from penstock.engine.keeping.settle import NOTHING_TO_DO, Settle
from penstock.ledger.recording.plain import SUCCEEDED
from penstock.ledger.records import FollowUp, Record, Step, Verdict
from penstock.ledger.values import claim_token
from penstock.outbox import outgoing

READ_BYTES = 1 << 12
SLICE = 500
MOST_STARTED = 10_000
"""Starts that are remembered; the oldest are of claims that were taken away, which nobody settles here."""
UNBEGUN = ("return", "park")
"""Verbs by which a claim ends before its body has begun: it waited behind another, or a rate limit puts it off."""


class Outcomes(Duty):
    """Performs when something was committed: follow-ups and news of ended jobs go out, and claims end."""

    def __init__(
        self, ward: Ward, database_url: str | None, settle: Settle, on_record: Callable[[Record], None]
    ) -> None:
        """Args:
        database_url: None: the worker's result backend is another; claims are settled at once.
        on_record: told of each record but plain successes, as it comes in.
        """
        super().__init__(ward)
        self._on_record = on_record
        self.due = float("inf")
        self._settle = settle
        self._unwritten: defaultdict[str, list[Record]] = defaultdict(list)
        self._asked: dict[str, Record] = {}
        """Starts that were asked for, by the tokens of their claims, until the answer is known."""
        self._started: dict[str, Record] = {}
        """Those that were granted, and of whose claims nothing was heard since."""
        self._held: defaultdict[str, list[tuple[int | Place, Settlement]]] = defaultdict(list)
        self._written: queue.SimpleQueue[Written] = queue.SimpleQueue()
        self._messages: deque[FollowUp] = deque()
        self._ended: deque[tuple[str, str]] = deque()
        self._confirmed: list[int] = []
        self._closing: list[Place] = []
        self._plains: set[Plains] = set()
        self._waiting = self._weight = 0
        self._is_full = False
        self._books: Books | None = None
        self.reports: Reports | None = None
        """Where goes what jobs say of themselves; None: nobody keeps it."""
        if database_url is not None:
            ours, self._theirs = socket.socketpair()
            ward.selector.register(ours, selectors.EVENT_READ, lambda: self._notice(ours))
            self.reports = Reports(ward, database_url)
            self._books = Books(ward, database_url, self._tell_written, self.reports.catch_up)
            self._relay = Relay(ward, database_url)
            self._books.start()
            self._relay.start()
            ward.tell(full=False)  # A keeper that died may have said otherwise.

    def close(self) -> None:
        """Has all threads end; what was counted and said last is written."""
        if self.reports is not None:
            self.reports.stop()
        if self._books is not None:
            self._books.stop()
            self._relay.stop()

    @property
    def counting(self) -> Counting | None:
        """Of what is written; None: nothing is."""
        return self._books.counting if self._books is not None else None

    @property
    def away_since(self) -> float | None:
        """Since when nothing can be written, in seconds since 1970; None: all is well."""
        return self._books.away_since if self._books is not None else None

    # -- from the worker ----------------------------------------------------------------------------------------

    def take(self, words: dict[str, Any]) -> None:
        """Takes what the worker tells of its jobs."""
        for kind in Kind:
            if kind in words:
                number, record = (0, words[kind]) if kind is Kind.NOTE else words[kind]
                self._add(Entry(kind, number, Record.from_words(record)))

    def take_from(self, place: Place, kind: Kind, record: Record) -> None:
        """Takes what a child has handed over."""
        self._add(Entry(kind, 0, record, place))

    def note(self, record: Record) -> None:
        """Has it written that a job runs; nobody waits for that."""
        self._add(Entry(Kind.NOTE, 0, record))

    def take_plains(self, plains: Plains) -> None:
        """Takes plain successes."""
        if self._books is None or not plains.is_recorded:
            self._settle.add_done(plains)
            return
        self._waiting += len(plains)
        self._weight += plains.weight
        self._plains.add(plains)
        self._books.add(plains)
        self._tell_whether_full()

    def _add(self, entry: Entry) -> None:
        assert self._books is not None
        token = entry.record.delivery.token
        if token and entry.kind in (Kind.RECORD, Kind.NOTE):
            self._started.pop(token, None)
            if entry.kind is Kind.RECORD:
                self._unwritten[token].append(entry.record)
                self._on_record(entry.record)
        elif token:
            self._asked[token] = entry.record
        self._waiting += 1
        self._weight += entry.weight
        self._books.add(entry)
        self._tell_whether_full()

    def settle(self, number: int, parts: list[str]) -> None:
        """Takes a settlement, which waits until everything that was told of its claim before is written."""
        self.settle_for(number, Settlement(*parts))

    def settle_for(self, whose: int | Place, settlement: Settlement) -> None:
        """The same of anybody's: a number of the worker's, or the place where a child has handed it over."""
        token = claim_token(settlement.claimer, settlement.token)
        started = self._start_of(token) if token is not None else None
        if started is not None and settlement.verb in UNBEGUN:
            # It goes back as if it had never been claimed, so its start must not count as an attempt. If it was not
            # granted, or is not yet, that changes nothing: the books write in the order in which they are told.
            back = replace(started, step=Step.BACK, started_at=None, at=datetime.now(UTC))
            self._add(Entry(Kind.RECORD, 0, back))
        if token is not None and token in self._unwritten:
            self._held[token].append((whose, settlement))
        else:
            self._settle.add(whose, settlement)

    def _start_of(self, token: str) -> Record | None:
        return self._started.pop(token, None) or self._asked.pop(token, None)

    @property
    def is_idle(self) -> bool:
        """Whether everything is written and passed on."""
        return not (self._waiting or self._messages or self._ended or self._confirmed or self._closing)

    def _tell_whether_full(self) -> None:
        """The worker claims no more while too much waits for SQL; what it has claimed already may still end."""
        is_free = self._waiting <= FREE and self._weight <= FREE_BYTES
        if is_free if self._is_full else (self._waiting >= FULL or self._weight >= FULL_BYTES):
            self._is_full = not self._is_full
            self.ward.tell(full=self._is_full)

    def spool(self) -> None:
        """Leaves to other keepers what SQL did not take in time: the worker has ended, and its bodies shall not run
        again for it. Should SQL take it at this moment after all, it is written twice, and its token says so.
        """
        for plains in self._plains:
            for entry, record in zip(plains.entries, plains.records, strict=True):
                words = json.dumps([record.record.to_words()])
                name = f"{claim_token(entry.claimer, entry.token)}{FIELD_SEPARATOR}{entry.queue}"
                self._settle.add(NOBODY, Settlement(entry.claimer, entry.queue, entry.token, "spool", words, name))
        self._plains.clear()
        for token, held in list(self._held.items()):
            words = json.dumps([record.to_words() for record in self._unwritten[token]])
            for whose, settlement in held:
                if settlement.verb in ACKS:
                    name = f"{token}{FIELD_SEPARATOR}{settlement.queue}"
                    self._settle.add(whose, settlement._replace(verb="spool", first=words, second=name))
                    del self._held[token]
                    break

    # -- from the books -----------------------------------------------------------------------------------------

    def _tell_written(self, written: Written) -> None:
        """In the thread of the books."""
        self._written.put(written)
        self._theirs.send(b".")

    def _notice(self, ours: socket.socket) -> None:
        ours.recv(READ_BYTES)
        started = []
        while not self._written.empty():
            written = self._written.get()
            self._messages.extend(written.messages)
            self._note_ends(written)
            if written.of_others:
                continue
            self._waiting -= sum(map(len, written.entries))
            self._weight -= sum(entry.weight for entry in written.entries)
            for entry, verdict in zip(written.entries, written.verdicts, strict=True):
                if isinstance(entry, Plains):
                    self._plains.discard(entry)
                    self._settle.add_done(entry)
                    continue
                if entry.kind in (Kind.ASK, Kind.DOUBT):
                    started.append([entry.record.delivery.token, verdict and verdict.value])
                    self._note_start(entry.record, verdict)
                elif entry.kind is Kind.RECORD:
                    self._release(entry.record, verdict)
                if entry.number:
                    self._confirmed.append(entry.number)
                if entry.place is not None:
                    self._closing.append(entry.place)
        if started:
            self.ward.tell(started=started)
        self._tell_whether_full()
        self.due = 0.0

    def _note_start(self, record: Record, verdict: Verdict | None) -> None:
        token, queue = record.delivery.token, record.delivery.queue
        if verdict is Verdict.ENDED and queue is not None:
            self._settle.add_claimed([[queue, record.delivery.id]])
        # Without its question its claim has ended meanwhile.
        if token is not None and self._asked.pop(token, None) is not None and verdict is Verdict.WON:
            self._started[token] = record
            if len(self._started) > MOST_STARTED:
                self._started.pop(next(iter(self._started)))

    def _note_ends(self, written: Written) -> None:
        for entry, verdict in zip(written.entries, written.verdicts, strict=True):
            if isinstance(entry, Plains):
                self._note_successes(entry, verdict)
                continue
            outcome = entry.record.outcome
            if verdict is Verdict.WON and outcome is not None and outcome.state.is_final:
                self._ended.append((entry.record.delivery.id, outcome.state.value))

    def _note_successes(self, plains: Plains, verdicts: Any) -> None:
        self._ended.extend(
            (entry.id, SUCCEEDED)
            for entry, verdict in zip(plains.entries, verdicts, strict=True)
            if verdict is Verdict.WON
        )

    def _release(self, record: Record, verdict: Verdict | None) -> None:
        token = record.delivery.token
        if token is None:
            return
        self._unwritten[token].pop(0)
        if self._unwritten[token]:
            return
        del self._unwritten[token]
        held = self._held.pop(token, [])
        for whose, settlement in held:
            self._settle.add(whose, _final(settlement, record, verdict))
        if not held and _is_over(record, verdict) and record.delivery.queue is not None:
            # Its settlement comes later, when nothing tells any more what it settles.
            self._settle.add_claimed([[record.delivery.queue, record.delivery.id]])

    # -- to Redis -----------------------------------------------------------------------------------------------

    def perform(self) -> float:
        """Publishes what the commits have brought."""
        while self._messages:
            batch = [self._messages[i] for i in range(min(len(self._messages), SLICE))]
            self.ward.scripts.publish_outbox(outgoing(message, secrets.token_urlsafe(8)) for message in batch)
            for _ in batch:
                self._messages.popleft()
        if self._ended and not self.ward.scripts.somebody_waits():
            self._ended.clear()  # Whoever begins to wait from now on reads the row.
        while self._ended:
            ended = [self._ended[i] for i in range(min(len(self._ended), SLICE))]
            self.ward.scripts.announce(ended)
            for _ in ended:
                self._ended.popleft()
        # Not before: the next keeper gets the record again, and with it what this one has not published.
        confirmed, self._confirmed = self._confirmed, []
        if confirmed:
            self.ward.tell(confirmed=confirmed)
        closing, self._closing = self._closing, []
        for place in closing:
            place.close()
        return NOTHING_TO_DO


def _final(settlement: Settlement, record: Record, verdict: Verdict | None) -> Settlement:
    """A job whose process died is put back unless the ledger says that it has ended, or that its retry goes on. One
    that has ended is waiting no more; the index keeps one that is to be tried again.
    """
    if settlement.verb == "crash" and verdict is not Verdict.WON:
        settlement = settlement._replace(verb="ack_counted", first=settlement.second, second="")
    if settlement.verb in ACKS and _is_over(record, verdict):
        settlement = settlement._replace(second=record.delivery.id)
    return settlement


def _is_over(record: Record, verdict: Verdict | None) -> bool:
    is_end = record.outcome is not None and record.outcome.state.is_final
    return verdict is Verdict.ENDED or (is_end and verdict is Verdict.WON)
