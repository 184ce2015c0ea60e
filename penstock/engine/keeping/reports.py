"""Writes what jobs say of themselves into the ledger: a thread with a SQL connection of its own.

Of its own, because no outcome may wait for a log. It begins with the first job that says something, and its connection
is closed when for a while none does. Of what comes while SQL is slow or away the newest of each attempt is kept, up to
a bound; behind that nothing more is taken from the children, who then keep less.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from penstock.engine.keeping import Ward
from penstock.engine.reporting.attempt import Line, Packet
from penstock.errors import PenstockError
from penstock.ledger.reports import forget_middle, place_of, write_chunks, write_reports
from penstock.ledger.rows import clip
from penstock.ledger.session import is_about_data, own_connection, translated
from penstock.ledger.tables import plain
from penstock.redaction import WORDS, Redaction

logger = logging.getLogger("penstock.keeper")
MOST_CHARACTERS, MOST_ATTEMPTS = 16_000_000, 10_000
"""Of lines that wait for SQL, and attempts of which something does; beyond either nothing more is taken."""
BATCH = 200
"""Attempts of one transaction."""
CATCH_UP_SECONDS, IMPATIENT_SECONDS = 0.5, 5.0
"""How long outcomes wait for what their jobs have said before, and for how long not at all after that was too short."""
REST_SECONDS = 30.0
"""After so long without anything to write the connection is closed."""
FIRST_PAUSE, LAST_PAUSE = 0.25, 5.0
GOODBYE_SECONDS = 2.0
Key = tuple[str, int]


@dataclass
class _Pending:
    """The newest of an attempt."""

    packet: Packet
    points: Any
    chunks: dict[int, tuple[int, tuple[Line, ...]]] = field(default_factory=dict)
    """(number, lines) of a chunk, by its place."""

    @property
    def size(self) -> int:
        return sum(len(line[-1]) for _, lines in self.chunks.values() for line in lines)


class Reports:
    """Of one keeper. Constructing starts nothing."""

    def __init__(self, ward: Ward, database_url: str) -> None:
        words = ward.transport_options.get("redact")
        self._redaction = Redaction(words if isinstance(words, list) and words else WORDS)
        self._url = database_url
        self._connection: Connection | None = None
        self._changed = threading.Condition()
        self._pending: dict[Key, _Pending] = {}
        self._characters = 0
        self._taken = self._grabbed = self._written = 0
        """Packets so far."""
        self._is_failing = self._is_stopped = False
        self._impatient_until = 0.0
        self._thread: threading.Thread | None = None

    # -- by the keeper's threads --------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether more may be taken."""
        return self._characters < MOST_CHARACTERS and len(self._pending) < MOST_ATTEMPTS

    def take(self, packet: Packet) -> None:
        """Takes what an attempt says; without room for it no lines, which then count as left out."""
        if not self.has_room:
            packet = packet._replace(chunks=())
        with self._changed:
            self._taken += 1
            self._merge(packet, [(place_of(number), number, lines) for number, lines in packet.chunks])
            self._start()
            self._changed.notify_all()

    def _merge(self, packet: Packet, chunks: Iterable[tuple[int, int, tuple[Line, ...]]]) -> None:
        key = packet.id, packet.began
        known = self._pending.pop(key, None)
        before = known.size if known is not None else 0
        chunks_by_place = known.chunks if known is not None else {}
        for place, number, lines in chunks:
            chunks_by_place[place] = (number, lines)
        points = packet.points if packet.points is not None or known is None else known.points
        self._pending[key] = pending = _Pending(packet, points, chunks_by_place)
        self._characters += pending.size - before

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
            self._thread.start()

    def catch_up(self) -> None:
        """Waits until what was taken before is written: for a moment, and not at all while that takes longer.

        So who reads that a job has ended finds all that it has said, as long as SQL is well.
        """
        if self._taken == self._written or self._is_failing or time.monotonic() < self._impatient_until:
            return
        with self._changed:
            mark = self._taken
            if not self._changed.wait_for(lambda: self._written >= mark or self._is_failing, CATCH_UP_SECONDS):
                self._impatient_until = time.monotonic() + IMPATIENT_SECONDS

    def stop(self) -> None:
        """Has what there is written, if SQL answers soon."""
        with self._changed:
            if self._thread is None:
                return
            mark = self._taken
            self._changed.wait_for(lambda: self._written >= mark or self._is_failing, GOODBYE_SECONDS)
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join(GOODBYE_SECONDS)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = 0.0
        while (batch := self._grab(pause)) is not None:
            if not batch:
                self._hang_up()
                continue
            try:
                self._write(batch)
                pause = 0.0
            except Exception as error:  # Whatever it is: jobs go on, and so do their outcomes.
                self._put_back(batch, error)
                pause = min(max(pause * 2, FIRST_PAUSE), LAST_PAUSE)
        self._hang_up()

    def _grab(self, pause: float) -> list[_Pending] | None:
        """What has come, the oldest first; nothing after a while without any. None: the end."""
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self._is_stopped, pause)
            self._changed.wait_for(lambda: self._pending or self._is_stopped, REST_SECONDS)
            if self._is_stopped:
                return None
            self._grabbed = self._taken if len(self._pending) <= BATCH else self._written
            keys = list(self._pending)[:BATCH]
            batch = [self._pending.pop(key) for key in keys]
            self._characters -= sum(each.size for each in batch)
        return batch

    def _write(self, batch: list[_Pending]) -> None:
        try:
            self._in_one_transaction(batch)
        except Exception as error:
            if not is_about_data(error):
                raise
            for each in batch:
                self._write_alone(each)
        with self._changed:
            self._written = self._grabbed
            self._is_failing = False
            self._changed.notify_all()

    def _write_alone(self, pending: _Pending) -> None:
        """One that no database takes must not stand before all others."""
        try:
            self._in_one_transaction([pending])
        except Exception as error:
            if not is_about_data(error):
                raise
            logger.exception("what job %s says of itself cannot be written and is given up", pending.packet.id)

    def _in_one_transaction(self, batch: list[_Pending]) -> None:
        with translated(self._url):
            if self._connection is None:
                self._connection = own_connection(self._url)
            with self._connection.begin():
                write_reports(self._connection, [self._row(each) for each in batch])
                write_chunks(self._connection, [row for each in batch for row in self._chunks(each)])
                for each in batch:
                    if each.packet.is_repeated:
                        forget_middle(self._connection, clip(each.packet.id))

    def _row(self, pending: _Pending) -> dict[str, Any]:
        packet = pending.packet
        done, total, note, at = packet.progress or (None, None, None, None)
        return {
            "job_id": clip(packet.id),
            "began": packet.began,
            "token": clip(packet.token) if packet.token else None,
            "done": float(done) if done is not None else None,
            "total": float(total) if total is not None else None,
            "note": self._redaction.text(note) if note else None,
            "at": datetime.fromtimestamp(at, UTC) if at is not None else None,
            "points": pending.points,
            "lines": packet.logged,
        }

    def _chunks(self, pending: _Pending) -> Iterable[dict[str, Any]]:
        for place, (_, lines) in pending.chunks.items():
            shown = [(*line[:3], plain(line[3]), plain(self._redaction.text(line[4]))) for line in lines]
            yield {
                "job_id": clip(pending.packet.id),
                "began": pending.packet.began,
                "place": place,
                "last": lines[-1][0],
                "lines": shown,
            }

    def _put_back(self, batch: list[_Pending], error: Exception) -> None:
        """Under what has come meanwhile."""
        self._hang_up()
        with self._changed:
            if not self._is_failing:
                is_known = isinstance(error, PenstockError)
                logger.warning("what jobs say of themselves is written later: %s", error, exc_info=not is_known)
            self._is_failing = True
            newer, self._pending, self._characters = self._pending, {}, 0
            for each in (*batch, *newer.values()):
                places = [(place, number, lines) for place, (number, lines) in each.chunks.items()]
                self._merge(each.packet._replace(points=each.points), places)
            self._changed.notify_all()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                logger.debug("%s", error)
