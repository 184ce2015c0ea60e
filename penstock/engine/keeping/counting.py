"""Counts what a keeper has written of each queue, and keeps that in memory until the minute is over.

In the thread of the books, which alone writes it: nobody waits for a lock. An attempt counts where its record has won
and had not been written before, in the minute in which it ended. So what a keeper that is killed has not written yet is
lost, and nothing is counted twice; a COMMIT whose answer is lost costs its batch. Not counted is what no keeper writes:
ends of jobs whose stock worker has none, because nobody lives there who could write minutes, and of jobs that somebody
cancels while they wait.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from penstock.errors import PenstockError
from penstock.job import State
from penstock.ledger.histogram import bucket_of
from penstock.ledger.minutes import MINUTE, QUARTER, Counts, Depth, Span, write_counts, write_depths
from penstock.ledger.recording import Written
from penstock.ledger.recording.columns import fit
from penstock.ledger.recording.fence import is_waiting_again, target
from penstock.ledger.recording.plain import SUCCEEDED, PlainSuccess
from penstock.ledger.records import Record, Step, Verdict
from penstock.ledger.session import writing

logger = logging.getLogger("penstock.keeper")
LATE_SECONDS = 900
"""How long a minute takes late ends, as after SQL was away; later ones count in the oldest minute that still does."""
MOST_LOOKED_AT = 25
"""Plain successes of a queue in one transaction of which it is seen how long they waited and ran. Of more of them, each
that is looked at stands for several.
"""
MOST_KEPT = 20_000
"""Spans, and as many samples of depths, that wait for SQL: six hours of twenty-five queues."""
RETRIED = "retried"
Placed = tuple[str, int, int]
"""A queue, a minute since 1970 and a bucket of a histogram."""


class Counting:
    """What one process has counted. Its rows are its own: nobody else has its name."""

    def __init__(self, database_url: str, length: int = MINUTE) -> None:
        """Args:
        length: seconds of a minute; tests have shorter ones.
        """
        self._url = database_url
        self._length = length
        self._lengths = (length, length * QUARTER // MINUTE)
        self._writer = f"{socket.gethostname()[:200]}:{os.getpid()}:{secrets.token_hex(6)}"
        self._ends: Counter[tuple[str, int, str]] = Counter()
        """By queue, minute since 1970, and what became of the attempt."""
        self._waits: Counter[Placed] = Counter()
        self._runs: Counter[Placed] = Counter()
        self._spans: dict[Span, Counts] = {}
        self._unwritten: set[Span] = set()
        self._depths: deque[tuple[Span, Depth]] = deque()
        self._oldest = 0
        """The first second of which something new may be counted: rows of spans before that are not written anew."""
        self._written = 0
        """The minute in which it was written last."""
        self._has_failed = self._has_dropped = False

    # -- counting -----------------------------------------------------------------------------------------------

    def count(self, records: Sequence[Record | PlainSuccess], written: Written) -> None:
        """Takes what one transaction has written."""
        try:
            won = _won(records, written)
            plains = [record for record in won if type(record) is PlainSuccess]
            for queue, group in _by_queue(plains):
                self._count_plains(queue, group)
            if len(plains) < len(won):
                for record in won:
                    if type(record) is Record and record.step is Step.END:
                        self._count_end(record)
        except Exception:  # The outcomes are committed, and their claims must end whatever is wrong with a count.
            logger.exception("outcomes of a transaction are missing in the history of their queues")

    def _count_plains(self, queue: str, plains: Sequence[PlainSuccess]) -> None:
        """Nearly all jobs come here, so when there are many nothing is done for each but to find its minute."""
        length = self._length
        for minute, count in Counter([each.ended // length for each in plains]).items():
            self._ends[queue, int(minute), SUCCEEDED] += count
        stride = 1 + len(plains) // MOST_LOOKED_AT
        # From a place by chance: whatever comes in turns would else be looked at always or never.
        for each in plains[random.randrange(stride) :: stride]:  # noqa: S311
            minute = int(each.ended // length)
            self._runs[queue, minute, bucket_of(each.ended - each.started)] += stride
            if (waited := each.waited) is not None:
                self._waits[queue, minute, bucket_of(waited)] += stride

    def _count_end(self, record: Record) -> None:
        queue, minute = record.delivery.queue, int(record.at.timestamp()) // self._length
        if queue is None or record.replaced:
            return
        self._ends[queue, minute, RETRIED if is_waiting_again(record) else target(record).value] += 1
        if record.started_at is not None:
            self._runs[queue, minute, bucket_of((record.at - record.started_at).total_seconds())] += 1
            if (since := _waiting_since(record)) is not None:
                self._waits[queue, minute, bucket_of((record.started_at - since).total_seconds())] += 1

    def sample(self, depths: Mapping[str, Depth]) -> None:
        """Takes how queues stand; from any thread."""
        for queue, depth in depths.items():
            at = int(depth.sampled_at.timestamp())
            self._depths.extend((_span(queue, length, at), depth) for length in self._lengths)

    # -- writing ------------------------------------------------------------------------------------------------

    def perform(self) -> None:
        """Writes the minutes that are over, once each minute, and depths as soon as there are any.

        With the depths of a minute everything that was counted before it is written: who finds these depths and no
        counts of the minute before knows that nothing had ended in it.
        """
        now = time.time()
        if self._depths or int(now) // self._length != self._written:
            self._write(now, is_last=False)

    def close(self) -> None:
        """Writes also the minute that is not over."""
        self._write(time.time(), is_last=True)

    def _write(self, now: float, *, is_last: bool) -> None:
        self._gather(now)
        depths = list(self._depths)
        # A quarter of an hour is written with each minute of it.
        counts = {
            span: self._spans[span]
            for span in self._unwritten
            if is_last or span.seconds != self._length or span.end <= now
        }
        try:
            if counts or depths:
                with writing(self._url) as connection:
                    write_depths(connection, depths)
                    write_counts(connection, self._writer, counts)
        except PenstockError as error:
            if not self._has_failed:
                logger.warning("the history of queues is written later: %s", error)
            self._has_failed = True
        except Exception:  # Something that no database takes must not stand before all that comes after it.
            logger.exception("some minutes of the history of queues cannot be written and are given up")
            self._done(now, counts, len(depths))
        else:
            self._has_failed = False
            self._done(now, counts, len(depths))
        self._forget()

    def _done(self, now: float, counts: Mapping[Span, Counts], depths: int) -> None:
        self._written = int(now) // self._length
        self._unwritten -= counts.keys()
        for _ in range(depths):
            self._depths.popleft()

    def _gather(self, now: float) -> None:
        """Adds what was counted to its spans."""
        # Never back, whatever the clock does: the row of a span that was forgotten would be written with less in it.
        self._oldest = max(self._oldest, (int(now) - LATE_SECONDS) // self._length * self._length)
        for (queue, minute, end), count in self._ends.items():
            for counts in self._counts(queue, minute):
                setattr(counts, end, getattr(counts, end) + count)
        for (queue, minute, bucket), count in self._waits.items():
            for counts in self._counts(queue, minute):
                counts.waits[bucket] += count
        for (queue, minute, bucket), count in self._runs.items():
            for counts in self._counts(queue, minute):
                counts.runs[bucket] += count
        for each in (self._ends, self._waits, self._runs):
            each.clear()

    def _counts(self, queue: str, minute: int) -> list[Counts]:
        at = max(minute * self._length, self._oldest)
        spans = [_span(queue, length, at) for length in self._lengths]
        self._unwritten.update(spans)
        return [self._spans.setdefault(span, Counts()) for span in spans]

    def _forget(self) -> None:
        """Lets go of spans that nothing is added to any more, and of the oldest when too many wait for SQL."""
        for span in [span for span in self._spans if span.end <= self._oldest and span not in self._unwritten]:
            del self._spans[span]
        dropped = 0
        while len(self._spans) > MOST_KEPT:
            self._oldest = max(self._oldest, min(span.end for span in self._spans))
            gone = {span for span in self._spans if span.end <= self._oldest}
            for span in gone:
                del self._spans[span]
            # With many queues most of them are written, and nothing is missing.
            dropped += len(self._unwritten & gone)
            self._unwritten -= gone
        while len(self._depths) > MOST_KEPT:
            self._depths.popleft()
            dropped += 1
        if dropped and not self._has_dropped:
            logger.error("the ledger is away for so long that the oldest minutes of the history of queues are given up")
        self._has_dropped = bool(dropped) or (self._has_dropped and self._has_failed)


def _won(records: Sequence[Record | PlainSuccess], written: Written) -> Sequence[Record | PlainSuccess]:
    """Those that have won now, which as a rule all have."""
    if not written.repeated and written.verdicts.count(Verdict.WON) == len(records):
        return records
    judged = enumerate(zip(records, written.verdicts, strict=True))
    return [each for place, (each, verdict) in judged if verdict is Verdict.WON and place not in written.repeated]


def _by_queue(plains: Sequence[PlainSuccess]) -> Iterable[tuple[str, Sequence[PlainSuccess]]]:
    """Those whose messages name a queue, as a rule all of them the same."""
    first = plains[0].queue if plains else None
    if type(first) is str and all(each.queue == first for each in plains):
        return [(first, plains)]
    groups: defaultdict[str, list[PlainSuccess]] = defaultdict(list)
    for each in plains:
        if type(each.queue) is str:
            groups[each.queue].append(each)
    return groups.items()


def _span(queue: str, length: int, at: int) -> Span:
    return Span(fit(queue), length, at // length * length)


def _waiting_since(record: Record) -> datetime | None:
    """When the wait began that an attempt has ended; None: nobody knows, or it is another attempt of the same wait."""
    delivery = record.delivery
    if delivery.deliveries:
        return None
    known = (delivery.enqueued_at if not delivery.retries else None, delivery.eta)
    return max((at for at in known if at is not None), default=None)


assert {State.SUCCEEDED.value, State.FAILED.value, State.CANCELLED.value, RETRIED} <= Counts.__dataclass_fields__.keys()
