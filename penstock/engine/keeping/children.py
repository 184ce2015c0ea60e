"""Looks after the children of the pool.

Reads what they hand over, recovers what the dead have left, and takes back what waits for too long behind a long job.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from penstock.broker import envelope
from penstock.broker.claims import claimer_name
from penstock.broker.queues import places_held_by
from penstock.broker.scripts import Settlement
from penstock.engine.keeping import ROW_SECONDS, Duty, Ward
from penstock.engine.keeping.books import NOBODY, Kind
from penstock.engine.keeping.books import Place as OpenPlace
from penstock.engine.keeping.breakers import Breakers
from penstock.engine.keeping.outcomes import Outcomes
from penstock.engine.keeping.rings import RingReader
from penstock.engine.keeping.tidings import Tidings
from penstock.engine.place import Place, Running
from penstock.engine.processes import ending
from penstock.engine.running.plain import received_event
from penstock.engine.slots import Reason, Slot, Slots, Standing
from penstock.job import Reason as Cause
from penstock.job import State
from penstock.ledger.delivery import describe_message
from penstock.ledger.failure import describe_cause
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, Outcome

logger = logging.getLogger("penstock.keeper")
BUSY_SECONDS = 0.002
"""Between two looks into the rings while something is handed over: batches grow, and nobody needs to wake anybody."""
WATCH_SECONDS, REST_SECONDS = 0.05, 0.5
"""Between two looks while a child runs or holds something, and otherwise; a nudge makes it look at once."""
RECALL_SECONDS = 0.5
"""How long a job runs before what waits behind it in the same child goes back; see ``child.LONG_SECONDS``."""
EVENTS_SECONDS = 0.3
"""How long a job runs before it is told of."""
LATE_MS = 60_000
"""For so long a command of a dead child may be on its way to Redis."""
FORGET_SECONDS = 20.0


class Children(Duty):
    """All of this worker's."""

    def __init__(
        self, ward: Ward, slots: Slots, hostname: str, outcomes: Outcomes, tidings: Tidings, breakers: Breakers
    ) -> None:
        super().__init__(ward)
        self._breakers = breakers
        self._slots = slots
        self._hostname = hostname
        self._outcomes = outcomes
        self._tidings = tidings
        self._readers: dict[int, RingReader] = {}
        """By the child's fork."""
        self._burials: dict[int, Burial] = {}
        """Of dead children whose claims are on their way back."""
        self._known: dict[int, dict[int, _Known]] = {}
        """By the child's fork and the place."""
        self._forgot = time.monotonic()
        self._records_anything = ward.database_url is not None

    # -- each look ----------------------------------------------------------------------------------------------

    def perform(self) -> float:
        """One look at all children."""
        self._slots.keeper_sleeps = False
        found = self.read()
        # Whoever claimed first comes last: when several have died at once, its jobs stand in front again. By the clock
        # of the server, because claims wait there, and a child may hear of its own later than another of the next one.
        for slot in sorted(self._slots.of(Standing.DEAD), key=lambda each: each.time("claimed_ms"), reverse=True):
            self._bury(slot)
        self._free_buried()
        self._watch()
        if found:
            return BUSY_SECONDS
        # Before it sleeps it says so and looks once more: what is handed over afterwards comes with a nudge.
        self._slots.keeper_sleeps = True
        if self.read():
            self._slots.keeper_sleeps = False
            return BUSY_SECONDS
        return WATCH_SECONDS if self._is_busy() else REST_SECONDS

    def look_now(self) -> None:
        """Somebody has handed something over, or has died."""
        self.due = 0.0

    def read(self) -> bool:
        """Takes what is in the rings; whether there was anything."""
        found = False
        for slot in (*self._slots.of(Standing.LIVE), *self._slots.of(Standing.DEAD)):
            found = self._reader(slot).read() or found
        return found

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was handed over is open."""
        return all(reader.is_empty for reader in self._readers.values()) and all(
            burial.is_done for burial in self._burials.values()
        )

    def _reader(self, slot: Slot) -> RingReader:
        fork = slot.get("fork")
        if fork in self._burials:
            return self._burials[fork].reader
        if fork not in self._readers:
            self._readers[fork] = RingReader(slot, self._outcomes, self._tidings, self._breakers)
        return self._readers[fork]

    def _is_busy(self) -> bool:
        return any(slot.is_busy or slot.get("held") for slot in self._slots.live()) or not self.is_idle

    # -- running jobs -------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        now = time.monotonic()
        noted: list[tuple[str, str]] = []
        for slot in self._slots.live():
            for place in slot.shown:
                self._watch_job(slot, place, now, noted)
        if noted:
            # The ledger shows them from now on, in place of the index.
            self.ward.scripts.unindex(noted)
        if now - self._forgot > FORGET_SECONDS:
            self._forgot = now
            self._forget()

    def _watch_job(self, slot: Slot, place: Place, now: float, noted: list[tuple[str, str]]) -> None:
        number, started, _, _ = place.limits()
        if not number:
            return
        known, age = self._known.setdefault(slot.get("fork"), {}).setdefault(id(place), _Known()), now - started
        if age >= EVENTS_SECONDS and known.shown != number:
            known.shown = number
            self._show(place, number)
        if age >= ROW_SECONDS and self._records_anything and known.row != number:
            known.row = number
            noted += self._note(place, number)
        # A child that runs many at once gives back itself what waits: no job keeps it from looking.
        if age >= RECALL_SECONDS and known.recalled != number and slot.is_single and slot.get("held") > 1:
            known.recalled = number
            self._recall(slot, number)

    def _show(self, place: Place, number: int) -> None:
        running = place.running()
        if running is None or running.number != number or (headers := _headers(running)) is None:
            return
        _, _, received = received_event(headers, running.started_at)
        self._tidings.show((running.fork, running.token), received, running.started_at, running.started_at)

    def _note(self, place: Place, number: int) -> list[tuple[str, str]]:
        """A row for a first delivery that runs for a while, whose queue and id it returns; what came before it has its
        row already.
        """
        running = place.running()
        if running is None or running.number != number:
            return []
        delivery = self._delivery(running)
        if delivery is None:
            return []
        at = datetime.fromtimestamp(running.started_at, UTC)
        self._outcomes.note(Record(step=Step.RUNNING, delivery=delivery, started_at=at, at=datetime.now(UTC)))
        return [(running.queue, delivery.id)]

    def _delivery(self, running: Running, worker: str = "") -> Delivery | None:
        if running.raw is None:
            return None
        try:
            payload = envelope.read(running.raw)
        except envelope.Unreadable:
            return None
        claimer = claimer_name(worker or self._worker_of(running), str(running.fork))
        info = {
            **payload["properties"]["delivery_info"],
            "priority": payload["properties"].get("priority"),
            "claimer": claimer,
            "token": running.token,
            "deliveries": running.deliveries,
        }
        told = describe_message(payload["headers"], envelope.body(payload), info, self._hostname)
        return told.encoded() if told is not None else None

    def _worker_of(self, running: Running) -> str:
        """The incarnation under which a job was claimed."""
        names = dict(self._slots.incarnations)
        return names.get(running.incarnation, self.ward.workers[-1] if self.ward.workers else "")

    def _recall(self, slot: Slot, number: int) -> None:
        """Under the lock: either the child has gone on, or what waits in it is ours from now on."""
        with slot.locked():
            now_running, started, _, _ = slot.limits()
            if now_running != number or time.monotonic() - started < RECALL_SECONDS:
                return
            slot.put("recalled", number)
        reader = self._reader(slot)
        reader.read()
        for worker in self.ward.workers:
            held = self._held_by(worker, slot.get("fork"))
            waiting = [(queue, token) for queue, token in held if _number(token) != number]
            self._give_back(worker, slot.get("fork"), waiting, reader, NOBODY)

    def _held_by(self, worker: str, fork: int) -> list[tuple[str, str]]:
        """(queue, token) of each claim of a child that lives."""
        scripts = self.ward.scripts
        claimer = claimer_name(worker, str(fork))
        return [
            (queue, token.decode())
            for whose, queue in places_held_by(scripts, worker)
            if whose == claimer
            for token in scripts.client.hkeys(scripts.keys.inflight(claimer, queue))
        ]

    def _give_back(
        self, worker: str, fork: int, waiting: Iterable[tuple[str, str]], reader: RingReader, place: OpenPlace
    ) -> None:
        """To the front of their queues, the newest first, as if they had never been claimed."""
        claimer = claimer_name(worker, str(fork))
        for queue, token in sorted(waiting, key=lambda each: _number(each[1]), reverse=True):
            if not reader.has_ended(claimer, queue, token):
                self._outcomes.settle_for(place, Settlement(claimer, queue, token, "return"))

    # -- the dead -----------------------------------------------------------------------------------------------

    def _bury(self, slot: Slot) -> None:
        """Puts the claims of a dead child in order.

        What it has handed over stands, what it ran is a crash unless it was ended on purpose, and the rest was never
        started.
        """
        fork = slot.get("fork")
        if fork in self._burials:
            return
        reader = self._reader(slot)
        reader.read()
        burial = Burial(reader)
        ran = {running.number: (place, running) for place in slot.shown if (running := place.running()) is not None}
        for worker in self.ward.workers:
            orphans = self.ward.scripts.orphans(worker, claimer_name(worker, str(fork)))
            claimer = claimer_name(worker, str(fork))
            left = [each for each in orphans if not reader.has_ended(claimer, *each)]
            waiting = [each for each in left if _number(each[1]) not in ran]
            self._give_back(worker, fork, waiting, reader, burial.opened(len(left)))
            # The newest first, as all that goes back to the front.
            for each in sorted((each for each in left if each not in waiting), key=_newest):
                place, running = ran.pop(_number(each[1]))
                self._end_attempt(slot, place, running, worker, each, burial)
        for place, running in ran.values():
            if place.get("reason_for") != running.number:
                # Its claim had ended before: acknowledged before it began, and nobody runs it again; or handed over in
                # the last moment, and then the ledger has its end.
                self._fail_unclaimed(slot, running, burial.opened())
        self._known.pop(fork, None)
        self._readers.pop(fork, None)
        self._tidings.forget(fork)
        self._burials[fork] = burial

    def _end_attempt(
        self, slot: Slot, place: Place, running: Running, worker: str, ran: tuple[str, str], burial: Burial
    ) -> None:
        queue, token = ran
        claimer = claimer_name(worker, str(running.fork))
        reason = Reason(place.get("reason")) if place.get("reason_for") == running.number else Reason.NONE
        if reason in (Reason.HARD_LIMIT, Reason.TERMINATED):
            # Celery's own request does what follows, in the worker, where tasks are known; it says when it has.
            self.ward.tell(
                died={
                    "fork": running.fork,
                    "deliveries": running.deliveries,
                    "reason": reason.name,
                    "claimer": claimer,
                    "queue": queue,
                    "token": token,
                    "pid": running.pid,
                    "raw": running.raw.decode("latin-1") if running.raw is not None else None,
                    "started_at": running.started_at,
                    "limit": place.time("hard_limit"),
                }
            )
        elif reason is Reason.SHUTDOWN:
            self._outcomes.settle_for(burial, Settlement(claimer, queue, token, "interrupt"))
        else:
            settlement = Settlement(claimer, queue, token, "crash", str(self.ward.crash_limit))
            self._crash(slot, running, settlement, reason, burial)

    def _crash(self, slot: Slot, running: Running, settlement: Settlement, reason: Reason, burial: Burial) -> None:
        how = "it took too much memory" if reason is Reason.MEMORY else f"ended {ending(slot.get('exit_status'))}"
        headers = _headers(running) or {}
        logger.error("the process of %s[%s] died (%s); the job goes back", headers.get("task"), headers.get("id"), how)
        key = headers.get("outbox")
        settlement = settlement._replace(second=key if isinstance(key, str) else "")
        if self._records_anything and (delivery := self._delivery(running, settlement.claimer.rpartition(".")[0])):
            failure = describe_cause(Cause.CRASHED, how)
            outcome = Outcome(state=State.QUEUED, reason=Cause.CRASHED, failure=failure).encoded()
            began = datetime.fromtimestamp(running.started_at, UTC)
            record = Record(step=Step.END, delivery=delivery, outcome=outcome, started_at=began, at=datetime.now(UTC))
            self._outcomes.take_from(burial.opened(), Kind.RECORD, record)
        # Not put back when the ledger knows that the job has ended, or that its retry goes on.
        self._outcomes.settle_for(burial, settlement)

    def _fail_unclaimed(self, slot: Slot, running: Running, burial: Burial) -> None:
        if not self._records_anything or (delivery := self._delivery(running)) is None:
            burial.close()
            return
        how = f"its process ended {ending(slot.get('exit_status'))}, and it had been acknowledged before it began"
        outcome = Outcome(state=State.FAILED, reason=Cause.CRASHED, failure=describe_cause(Cause.CRASHED, how))
        began = datetime.fromtimestamp(running.started_at, UTC)
        now = datetime.now(UTC)
        record = Record(step=Step.END, delivery=delivery, outcome=outcome.encoded(), started_at=began, at=now)
        self._outcomes.take_from(burial, Kind.RECORD, record)

    def seen(self, fork: int) -> None:
        """The worker has done what follows from the end of a child that it was told of."""
        if fork in self._burials:
            self._burials[fork].close()

    def _free_buried(self) -> None:
        """A slot is free when everything that its child had handed over is done with."""
        for fork, burial in list(self._burials.items()):
            burial.reader.read()
            if burial.is_done:
                del self._burials[fork]
                burial.reader.slot.clear()

    def _forget(self) -> None:
        seconds, _ = self.ward.scripts.client.time()
        for worker in self.ward.workers:
            self.ward.scripts.forget_claimers(worker, int(seconds) * 1000 - LATE_MS)

    def end(self, slots: Iterable[Slot]) -> None:
        """Ends children whose claims are somebody else's."""
        for slot in slots:
            for place in slot.shown:
                place.give_reason(Reason.LOST)
            with contextlib.suppress(ProcessLookupError):
                os.kill(slot.get("pid"), signal.SIGKILL)


@dataclass
class _Known:
    """Numbers of the last jobs of a place of which something was told."""

    shown: int = 0
    row: int = 0
    recalled: int = 0


class Burial:
    """What is still to be done for a dead child. Its slot stays until then, for the next keeper if this one dies."""

    def __init__(self, reader: RingReader) -> None:
        self.reader = reader
        self._open = 0

    def opened(self, things: int = 1) -> Burial:
        """So many things more are to be done."""
        self._open += things
        return self

    def close(self) -> None:
        """One is."""
        self._open -= 1

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._open <= 0 and self.reader.is_empty


def _number(token: str) -> int:
    return int(token.partition(":")[0])


def _newest(claim: tuple[str, str]) -> int:
    return -_number(claim[1])


def _headers(running: Running) -> dict[str, Any] | None:
    if running.raw is None:
        return None
    with contextlib.suppress(envelope.Unreadable):
        headers: dict[str, Any] = envelope.read(running.raw)["headers"]
        return headers
    return None
