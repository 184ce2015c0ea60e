"""The record that nearly every job has: its first delivery succeeded, and nothing follows from that.

It is the row itself, so that no value is looked at twice on its way. Whoever needs the record as any other, because the
job has a row already, gets it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
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
        texts = (id, task, queue, worker, token, *lineage)
        self.id, self.queue = id, queue
        at = datetime.fromtimestamp(ended, UTC)
        self.enqueued_at = as_time(enqueued_at)
        self.row: tuple[Any, ...] = (
            *_fitting(texts),
            *_BETWEEN,
            small_integer(priority),
            args,
            kwargs,
            result,
            *_AFTER,
            self.enqueued_at,
            None,
            datetime.fromtimestamp(started, UTC),
            at,
            at,
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
            enqueued_at=self.enqueued_at,
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
