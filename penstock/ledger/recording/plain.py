"""The record that nearly every job has: its first delivery succeeded, and nothing follows from that.

It is the row itself, so that no value is looked at twice on its way. Whoever needs the record as any other, because the
job has a row already, gets it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

from penstock.job import State
from penstock.ledger.delivery import as_time, small_integer
from penstock.ledger.encoding import Encoded
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, Outcome, clip
from penstock.ledger.tables import ID_LENGTH

SUCCEEDED = State.SUCCEEDED.value
_BETWEEN = (SUCCEEDED, None, 0, 0, 1)
"""State, reason, retries, deliveries, attempts."""
_AFTER = (None,) * 6
"""Progress and the parts of a failure."""
_BETWEEN_TEXT, _AFTER_TEXT = f"{SUCCEEDED}\t\\N\t0\t0\t1", "\t".join(["\\N"] * len(_AFTER))
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(\+00:00|Z)", re.ASCII)
"""Times as our own producers write them."""


class PlainSuccess:
    """A record of step END; see :class:`penstock.ledger.records.Record` for what it says."""

    def __init__(
        self,
        *,
        id: str,
        task: str,
        queue: Any,
        worker: str,
        token: str,
        lineage: tuple[Any, Any, Any, Any, Any],
        priority: Any,
        args: str,
        kwargs: str,
        result: str | None,
        enqueued_at: Any,
        started: float,
        ended: float,
    ) -> None:
        """Args:
        lineage: parent, root, group, job that it is a replay of, schedule.
        enqueued_at: as the message says it.
        started: seconds since 1970, as ``ended``.
        """
        self.id, self.queue = id, queue
        self._texts = (id, task, queue, worker, token, *lineage)
        self._values = (priority, args, kwargs, result)
        self._times = (enqueued_at, started, ended)
        self.line: str | None = None
        """The row as PostgreSQL's COPY has it; None: the row says it."""

    @property
    def is_accepted(self) -> bool:
        """Whether the balance sheet has counted the job when it was enqueued."""
        told = self._times[0]
        return told is not None and (self.line is not None or as_time(told) is not None)

    @cached_property
    def row(self) -> tuple[Any, ...]:
        """Values in the order of COLUMNS."""
        (priority, args, kwargs, result), (enqueued_at, started, ended) = self._values, self._times
        at = datetime.fromtimestamp(ended, UTC)
        return (
            *_fitting(self._texts),
            *_BETWEEN,
            small_integer(priority),
            args,
            kwargs,
            result,
            *_AFTER,
            as_time(enqueued_at),
            None,
            datetime.fromtimestamp(started, UTC),
            at,
            at,
        )

    def make_line(self) -> None:
        """Makes the row as COPY has it, if nothing in it is unusual: in one piece, in a fraction of the time
        that a driver takes value by value.
        """
        (priority, args, kwargs, result), (enqueued_at, started, ended) = self._values, self._times
        texts = _plain_texts(self._texts)
        if texts is None or not (enqueued_at is None or _is_time(enqueued_at)):
            return
        at = _stamp(ended)
        self.line = (
            f"{texts}\t{_BETWEEN_TEXT}\t{_null(small_integer(priority))}\t{_escaped(args)}\t{_escaped(kwargs)}\t"
            f"{_escaped(result)}\t{_AFTER_TEXT}\t{_null(enqueued_at)}\t\\N\t{_stamp(started)}\t{at}\t{at}\n"
        )

    @cached_property
    def record(self) -> Record:
        """The same as any other."""
        id, task, queue, worker, token, parent, root, group, replay_of, schedule = self.row[:10]
        priority, args, kwargs, result = self.row[15:19]
        started_at, at = self.row[-3], self.row[-1]
        delivery = Delivery(
            id=id,
            task=task,
            queue=queue,
            priority=priority,
            args=Encoded(args),
            kwargs=Encoded(kwargs),
            token=token,
            worker=worker,
            enqueued_at=self.row[-5],
            parent_id=parent,
            root_id=root,
            group_id=group,
            replay_of=replay_of,
            schedule=schedule,
        )
        outcome = Outcome(state=State.SUCCEEDED, result=Encoded(result) if result is not None else None)
        return Record(step=Step.END, delivery=delivery, outcome=outcome, started_at=started_at, at=at)

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a record."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.record, name)


def _is_time(value: Any) -> bool:
    """Whether it is a time in UTC, written as our own producers do."""
    if type(value) is not str or _TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _null(value: Any) -> Any:
    return "\\N" if value is None else value


def _escaped(text: str | None) -> str:
    """JSON, in which nothing but a backslash means something to COPY."""
    if text is None:
        return "\\N"
    return text.replace("\\", "\\\\") if "\\" in text else text


def _stamp(seconds: float) -> str:
    """A time in UTC; what is the same for a whole second is made once."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1_000_000):06d}+00:00"


@lru_cache(maxsize=64)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _plain_texts(texts: tuple[Any, ...]) -> str | None:
    """The short texts, if nothing in them means something to COPY, and all of them together fit into one column."""
    try:
        together = "".join([text for text in texts if text is not None])
    except TypeError:
        return None
    if len(together) > ID_LENGTH or not together.isascii() or not together.isprintable() or "\\" in together:
        return None
    return "\t".join(["\\N" if text is None else text for text in texts])


def _fitting(texts: tuple[Any, ...]) -> tuple[str | None, ...]:
    """Each as its column takes it. When all of them together fit, each one does."""
    try:
        together = "".join([text for text in texts if text is not None])
    except TypeError:
        texts = tuple(text if text is None or isinstance(text, str) else str(text) for text in texts)
        together = "".join([text for text in texts if text is not None])
    if len(together) <= ID_LENGTH and together.isascii() and "\x00" not in together:
        return texts
    return tuple(clip(text) if text is not None else None for text in texts)


def as_record(record: Record | PlainSuccess) -> Record:
    """The record as any other."""
    return record.record if isinstance(record, PlainSuccess) else record


def row_of(new: tuple[Any, ...] | PlainSuccess) -> tuple[Any, ...]:
    """The row of a job that has none."""
    return new.row if isinstance(new, PlainSuccess) else new
