"""Ends cancelled jobs that wait, wherever they do, and drops their messages.

Every claim that comes after a request knows of it, and starts no job of it. So a job that is cancelled and that nobody
holds is not running and never will: its end is written, and then its message goes, if that is found. Whoever dies
between the two leaves the request, and another sees to the rest. A message that is not found, in the middle of a long
queue, is dropped by whoever claims it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from redis.exceptions import RedisError

from penstock.broker import envelope, seeking
from penstock.broker.seeking import Found, Noted
from penstock.engine.keeping import Ward
from penstock.engine.keeping.burial import told_by
from penstock.errors import PenstockError
from penstock.job import State
from penstock.ledger import cancellations
from penstock.ledger.queries import find_jobs
from penstock.ledger.records import Record, Verdict
from penstock.ledger.rows import Delivery, JobRow
from penstock.ledger.session import reading
from penstock.ledger.values import UNKNOWN_TASK

logger = logging.getLogger("penstock.keeper")
SLICE = 100
"""Requests that are looked at together."""
FRESH_SECONDS, SLOW_SECONDS = 10.0, 5.0
"""A request is looked at twice a second for so long, and then each five seconds."""
UNCLAIMED_SECONDS = 2.0
"""After so long a job that was acknowledged before it began, and that nobody holds therefore, shows as running."""
FORGET_SECONDS = 600.0
"""After so long the request is forgotten of a job that is nowhere. Claims go on to know that it is revoked."""
SOUGHT = 3
"""Jobs that are looked for among all that is parked, at a time."""
TURN_SECONDS = 0.2
"""How long outcomes may wait meanwhile, which the same thread writes."""


@dataclass(frozen=True)
class _Known:
    """What is known of some cancelled jobs."""

    ages: Mapping[str, float]
    """Seconds since each was cancelled."""
    rows: Mapping[str, JobRow]
    sent: Mapping[str, str]
    """Tasks of those that have a message in the outbox."""
    noted: Mapping[str, Noted]

    def may_end(self, id: str) -> bool:
        """Whether the job waits, as long as nobody holds its message."""
        if (row := self.rows.get(id)) is not None:
            return not (row.state.is_final or row.state is State.RUNNING)
        return id in self.sent or (id in self.noted and self.ages[id] >= UNCLAIMED_SECONDS)

    def is_somewhere(self, id: str) -> bool:
        """Whether anything is known of the job beside the request."""
        return id in self.rows or id in self.sent or id in self.noted

    def is_expected(self, id: str) -> bool:
        """Whether a message of it is to be parked, or is parked and was not met just now."""
        return id in self.sent or (id in self.noted and not self.noted[id].is_due)

    def task(self, id: str) -> str:
        """Its task, if anybody knows it."""
        return self.rows[id].task if id in self.rows else self.sent.get(id, UNKNOWN_TASK)


class Cancelling:
    """Of all workers of this broker: one elected keeper does it."""

    def __init__(self, ward: Ward, database_url: str, write: Callable[[Sequence[Record]], Sequence[Verdict]]) -> None:
        """Args:
        write: returns when the records are committed, and what became of each.
        """
        self._ward = ward
        self._url = database_url
        self._write = write
        self._due: dict[str, float] = {}
        self._slow = float("-inf")
        self._is_slow = False
        """Whether all requests are looked at this time."""
        self._has_failed = False

    def perform(self) -> None:
        """Ends what waits; what cannot be ended now is tried again."""
        try:
            keys = self._ward.scripts.keys
            if self._ward.scripts.client.exists(keys.cancelling) and self._ward.elect(keys.canceller):
                self._look()
            self._has_failed = False
        except (RedisError, OSError, PenstockError) as error:
            if not self._has_failed:
                logger.warning("cancelled jobs wait for their end for now: %s", error)
            self._has_failed = True

    def _look(self) -> None:
        """Goes on where it has stopped, or begins anew."""
        if not self._due:
            self._due = self._requests()
        end = time.monotonic() + TURN_SECONDS
        while self._due:
            some = dict(islice(self._due.items(), SLICE))
            self._end(some)
            for id in some:
                del self._due[id]
            if time.monotonic() >= end:
                return

    def _requests(self) -> dict[str, float]:
        """Those that are to be looked at now, and how many seconds old each is."""
        client, keys = self._ward.scripts.client, self._ward.scripts.keys
        seconds, micros = client.time()
        now = int(seconds) + int(micros) / 1e6
        self._is_slow = time.monotonic() - self._slow >= SLOW_SECONDS
        if self._is_slow:
            self._slow = time.monotonic()
        asked = client.hscan_iter(keys.cancelling, count=SLICE)
        ages = {id.decode(): now - int(value.partition(b":")[0]) / 1000 for id, value in asked}
        return {id: age for id, age in ages.items() if self._is_slow or age < FRESH_SECONDS}

    def _end(self, ages: Mapping[str, float]) -> None:
        scripts = self._ward.scripts
        known = self._known(ages)
        messages = seeking.find(scripts, list(ages), dict(known.noted))
        if self._is_slow:
            lost = [id for id in ages if not known.is_somewhere(id)]
            sought = random.sample(lost, min(SOUGHT, len(lost)))
            messages += [found for id in sought for found in seeking.find_parked(scripts, id)]
        met = {message.job_id for message in messages}
        bare = self._unheld([id for id in ages if id not in met and known.may_end(id)])
        ends = [end for message in messages if (end := _end_of(message))]
        ends += [cancellations.end_of_waiting(Delivery(id=id, task=known.task(id))) for id in bare]
        verdicts = self._write(ends) if ends else ()
        # One that runs after all is its worker's.
        ended = {end.delivery.id for end, verdict in zip(ends, verdicts, strict=True) if verdict is not Verdict.STALE}
        seeking.remove(scripts, [message for message in messages if message.job_id in ended])
        ended |= {id for id, row in known.rows.items() if row.state.is_final}
        over = [id for id in ended if id in met or not known.is_expected(id)]
        over += [id for id in ages if ages[id] > FORGET_SECONDS and id not in met and not known.is_somewhere(id)]
        if over:
            scripts.client.hdel(scripts.keys.cancelling, *over)

    def _known(self, ages: Mapping[str, float]) -> _Known:
        ids = list(ages)
        with reading(self._url) as connection:
            rows = {row.id: row for row in find_jobs(connection, ids)}
            sent = cancellations.in_outbox(connection, ids)
        return _Known(ages, rows, sent, seeking.noted(self._ward.scripts, ids))

    def _unheld(self, ids: list[str]) -> list[str]:
        """Those that nobody holds. One whose claim has ended since has left its outcome in the ledger before that; or,
        while SQL was away, in the spool, which is looked at after the claims.
        """
        if not ids:
            return []
        scripts = self._ward.scripts
        held = seeking.held(scripts)
        if scripts.client.exists(scripts.keys.spool):
            return []
        return [id for id in ids if id not in held]


def _end_of(message: Found) -> Record | None:
    """The end of a job, by its message; with it the message is done with."""
    job, part = told_by(message.raw, message.queue, message.step)
    if job is None:
        return None
    keys = list(envelope.from_outbox([message.raw]))
    parts = (part,) if part is not None else ()
    return cancellations.end_of_waiting(job, parts=parts, outbox_key=keys[0] if keys else None)
