"""The record that nearly every job has: its first delivery succeeded, and nothing follows from that.

Whoever ran the job has all values in hand, and makes the row of them at once, as PostgreSQL's COPY reads it: one text,
which nobody looks into on its way. Where anything in it is unusual, or on another database, the values travel as they
are. Whoever needs the record as any other, because the job has a row already, gets it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from penstock import tags
from penstock.job import State
from penstock.ledger.encoding import Encoded
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, Outcome, clip
from penstock.ledger.tables import ID_LENGTH
from penstock.ledger.values import as_time, small_integer

SUCCEEDED = State.SUCCEEDED.value
_BETWEEN = (SUCCEEDED, None, 0, 0, 1)
"""State, reason, retries, deliveries, attempts."""
_AFTER = (None,) * 6
"""Progress and the parts of a failure."""
_NULL = "\\N"
_BETWEEN_TEXT, _AFTER_TEXT = f"{SUCCEEDED}\t{_NULL}\t0\t0\t1", "\t".join([_NULL] * len(_AFTER))
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(\+00:00|Z)", re.ASCII)
"""Times as our own producers write them."""
_TEXTS = 10


class Values(NamedTuple):
    """Of a plain success, in the order of its row."""

    id: str
    task: str
    queue: Any
    worker: str
    token: str
    parent: Any
    root: Any
    group: Any
    replay_of: Any
    schedule: Any
    priority: Any
    tags: str | None
    """As the ledger keeps them."""
    args: str
    """As JSON, and so are ``kwargs`` and ``result``."""
    kwargs: str
    result: str | None
    enqueued_at: Any
    """As the message says it."""
    started: float
    """Seconds since 1970, as ``ended``."""
    ended: float


_ENQUEUED_AT = Values._fields.index("enqueued_at")
_AFTER_ENQUEUED_AT = 5
"""Tabs from there to the end of a line."""


class PlainSuccess:
    """A record of step END; see :class:`penstock.ledger.records.Record` for what it says."""

    def __init__(
        self,
        id: str,
        queue: Any,
        said: str | tuple[Any, ...],
        *,
        is_accepted: bool,
        started: float,
        ended: float,
        took_long: bool = False,
    ) -> None:
        """Args:
        said: its row as COPY reads it, or its :class:`Values`.
        is_accepted: whether the balance sheet has counted the job when it was enqueued; messages of stock producers
            do not say when that was.
        took_long: whether the ledger was probably told that it runs, so that there is a row.
        """
        self.id, self.queue, self.is_accepted, self.took_long = id, queue, is_accepted, took_long
        self.started, self.ended = started, ended
        """Seconds since 1970."""
        self._said = said
        self.line = said if isinstance(said, str) else None
        """The row as COPY reads it; None: the row says it."""

    @property
    def weight(self) -> int:
        """Bytes of what may be large."""
        if self.line is not None:
            return len(self.line)
        return sum(len(text) for text in self._said[_TEXTS + 1 : _ENQUEUED_AT] if text)

    @property
    def waited(self) -> float | None:
        """Seconds from when it was enqueued until it started; None: its producer did not say when that was."""
        if not self.is_accepted:
            return None
        said = self._said
        # By its place from the end, without the row, which costs ten times as much.
        at = as_time(said.rsplit("\t", _AFTER_ENQUEUED_AT)[1] if isinstance(said, str) else said[_ENQUEUED_AT])
        return self.started - at.timestamp() if at is not None else None

    @cached_property
    def row(self) -> tuple[Any, ...]:
        """Values in the order of COLUMNS."""
        said = self._said
        return _row_of_line(said) if isinstance(said, str) else _row_of_values(said)

    @cached_property
    def record(self) -> Record:
        """The same as any other."""
        id, task, queue, worker, token, parent, root, group, replay_of, schedule = self.row[:10]
        priority, tagged, args, kwargs, result = self.row[15:20]
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
            tags=tags.of_text(tagged),
        )
        outcome = Outcome(state=State.SUCCEEDED, result=Encoded(result) if result is not None else None)
        return Record(step=Step.END, delivery=delivery, outcome=outcome, started_at=started_at, at=at)

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a record."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.record, name)


def told_of(values: tuple[Any, ...], *, by_copy: bool) -> tuple[str | tuple[Any, ...], bool]:
    """What a :class:`PlainSuccess` is made of: its row's line or its :class:`Values`, and whether it was accepted.

    Args:
        by_copy: whether the database is one that reads lines.
    """
    line = line_of(values) if by_copy else None
    enqueued_at = values[_ENQUEUED_AT]
    is_accepted = enqueued_at is not None and (line is not None or as_time(enqueued_at) is not None)
    return values if line is None else line, is_accepted


def line_of(values: tuple[Any, ...]) -> str | None:
    """The row as COPY reads it, if nothing in it is unusual."""
    texts = _plain_texts(values[:_TEXTS])
    priority, tagged, args, kwargs, result, enqueued_at, started, ended = values[_TEXTS:]
    if texts is None or not (enqueued_at is None or _is_time(enqueued_at)):
        return None
    at = _stamp(ended)
    return (
        f"{texts}\t{_BETWEEN_TEXT}\t{_null(small_integer(priority))}\t{_escaped(tagged)}\t{_escaped(args)}\t"
        f"{_escaped(kwargs)}\t{_escaped(result)}\t{_AFTER_TEXT}\t{_null(enqueued_at)}\t{_NULL}\t"
        f"{_stamp(started)}\t{at}\t{at}\n"
    )


def _row_of_values(values: tuple[Any, ...]) -> tuple[Any, ...]:
    priority, tagged, args, kwargs, result, enqueued_at, started, ended = values[_TEXTS:]
    at = datetime.fromtimestamp(ended, UTC)
    return (
        *_fitting(values[:_TEXTS]),
        *_BETWEEN,
        small_integer(priority),
        tagged,
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


def _row_of_line(line: str) -> tuple[Any, ...]:
    """What :func:`line_of` has made the line of."""
    read = [None if text == _NULL else text for text in line[:-1].split("\t")]
    priority, *data = read[15:20]
    enqueued_at, _, *times = map(as_time, read[26:])
    return (
        *read[:_TEXTS],
        *_BETWEEN,
        int(priority) if priority is not None else None,
        *(text and text.replace("\\\\", "\\") for text in data),
        *_AFTER,
        enqueued_at,
        None,
        *times,
    )


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
    return _NULL if value is None else value


def _escaped(text: str | None) -> str:
    """JSON, or tags, in which nothing but a backslash means something to COPY."""
    if text is None:
        return _NULL
    return text.replace("\\", "\\\\") if "\\" in text else text


def _stamp(seconds: float) -> str:
    """A time in UTC; what is the same for a whole second is made once."""
    whole = int(seconds)
    micros = round((seconds - whole) * 1_000_000)
    if micros == 1_000_000:
        whole, micros = whole + 1, 0
    return f"{_second(whole)}.{micros:06d}+00:00"


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
    return "\t".join([_NULL if text is None else text for text in texts])


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
