"""Every statement that reads or writes a dead letter, one function each. The caller brings the transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, tuple_, update

from penstock.job import State
from penstock.ledger.failure import describe_cause
from penstock.ledger.queries import add_audit, insert_into
from penstock.ledger.recording import OnWritten, record
from penstock.ledger.records import FollowUp, Record, Step
from penstock.ledger.rows import DeadLetter, Delivery, LetterRow, Outcome, clip, letter_id
from penstock.ledger.tables import Kind, Resolution, dead_letters, outbox

ACTIONS = {Resolution.REPLAYED: "replay", Resolution.DISCARDED: "discard"}
"""What the audit calls them."""
_shown = [column for column in dead_letters.c if column.name != "payload"]
_size = func.length(dead_letters.c.payload).label("size")


@dataclass(frozen=True, kw_only=True)
class LetterFilter:
    """Which dead letters; every condition that is given must hold."""

    kind: Kind | None = None
    task: str | None = None
    queue: str | None = None
    job_id: str | None = None
    reason: str | None = None
    """Text that the reason contains."""
    id_end: str | None = None
    """Text that the id ends with; every letter is looked at."""
    since: datetime | None = None
    until: datetime | None = None
    """Before this time."""
    is_open: bool | None = None
    """Whether nobody has replayed or discarded it yet."""


def bury(connection: Connection, letters: Sequence[DeadLetter], on_written: OnWritten | None = None) -> int:
    """Keeps messages that nobody could run, and ends the jobs of those that are buried as failed.

    A letter that is there already is left alone, with its job: both were written in one transaction. So whoever does
    not know whether its own went through writes them again. In the order of their ids, so that two who write the same
    ones at once wait for each other instead of both for ever. A job that has ended keeps its end.

    Args:
        on_written: told of the ends of their jobs, which are not committed yet.

    Returns:
        how many of them were new.
    """
    ordered = sorted(letters, key=lambda letter: letter_id(letter.id))
    new = [letter for letter in ordered if _insert(connection, letter)]
    ends = [_end(letter, letter.job) for letter in new if letter.kind is Kind.BURIED and letter.job]
    written = record(connection, ends)
    _leave_to_relay(connection, written.messages)
    if on_written is not None:
        on_written(ends, written)
    return len(new)


def _leave_to_relay(connection: Connection, messages: Sequence[FollowUp]) -> None:
    """Has messages published by whoever looks after the outbox: those who bury publish nothing."""
    if messages:
        keys = [message.key for message in messages]
        connection.execute(update(outbox).where(outbox.c.key.in_(keys)).values(published_at=None))


def _insert(connection: Connection, letter: DeadLetter) -> bool:
    insert = insert_into(connection, dead_letters).values(**letter.columns()).on_conflict_do_nothing()
    return connection.execute(insert.returning(dead_letters.c.id)).one_or_none() is not None


def _end(letter: DeadLetter, job: Delivery) -> Record:
    """Of a job that nobody has a claim on any more."""
    failure = describe_cause(letter.cause, letter.reason)
    outcome = Outcome(state=State.FAILED, reason=letter.cause, failure=failure)
    parts = (letter.part,) if letter.part else ()
    return Record(step=Step.END, delivery=replace(job, token=None), outcome=outcome, at=letter.at, parts=parts)


def find_letter(connection: Connection, id: str) -> LetterRow | None:
    """The dead letter with this id, by primary key."""
    row = connection.execute(select(*_shown, _size).where(dead_letters.c.id == letter_id(id))).one_or_none()
    return _letter(row) if row else None


def payload_of(connection: Connection, id: str) -> bytes | None:
    """The message itself, as it was on the wire."""
    return connection.execute(
        select(dead_letters.c.payload).where(dead_letters.c.id == letter_id(id))
    ).scalar_one_or_none()


def list_letters(
    connection: Connection,
    chosen: LetterFilter,
    limit: int,
    after: LetterRow | None = None,
    *,
    oldest_first: bool = False,
) -> list[LetterRow]:
    """The newest letters first, or the oldest; each single condition has an index that ends in ``at``.

    Args:
        after: the last one of the page before.
    """
    place = tuple_(dead_letters.c.at, dead_letters.c.id)
    statement = _matching(select(*_shown, _size), chosen).limit(limit)
    if after is not None:
        end = tuple_(after.at, after.id, types=[dead_letters.c.at.type, dead_letters.c.id.type])
        statement = statement.where(place > end if oldest_first else place < end)
    by_place = [dead_letters.c.at, dead_letters.c.id]
    statement = statement.order_by(*by_place if oldest_first else [column.desc() for column in by_place])
    return [_letter(row) for row in connection.execute(statement)]


def count_letters(connection: Connection, chosen: LetterFilter) -> dict[Kind, int]:
    """How many letters there are of each kind."""
    statement = _matching(select(dead_letters.c.kind, func.count()), chosen).group_by(dead_letters.c.kind)
    return {Kind(kind): count for kind, count in connection.execute(statement)}


def _matching(statement: Select[Any], chosen: LetterFilter) -> Select[Any]:
    return statement.where(*_conditions(chosen))


def _conditions(chosen: LetterFilter) -> Iterator[ColumnElement[bool]]:
    for column, value in (
        (dead_letters.c.kind, chosen.kind),
        (dead_letters.c.task, chosen.task),
        (dead_letters.c.queue, chosen.queue),
        (dead_letters.c.job_id, chosen.job_id),
    ):
        if value is not None:
            yield column == value
    if chosen.id_end is not None:
        yield dead_letters.c.id.endswith(chosen.id_end, autoescape=True)
    if chosen.reason is not None:
        yield dead_letters.c.reason.contains(chosen.reason, autoescape=True)
    if chosen.since is not None:
        yield dead_letters.c.at >= chosen.since
    if chosen.until is not None:
        yield dead_letters.c.at < chosen.until
    if chosen.is_open is not None:
        open_ = dead_letters.c.resolution.is_(None)
        yield open_ if chosen.is_open else ~open_


def mark_resolved(
    connection: Connection, id: str, resolution: Resolution, *, actor: str, replay_job_id: str | None = None
) -> bool:
    """Notes that a person has replayed or discarded a letter, in its row and in the audit.

    ``WHERE resolution IS NULL`` on the primary key is the guard: of two people who replay the same letter at once, one
    waits for the other's transaction and then gets False. So replay inside of this transaction, after this call.

    Args:
        replay_job_id: the job that carries the letter's on.

    Returns:
        False when somebody was first, or there is no such letter.
    """
    statement = (
        update(dead_letters)
        .where(dead_letters.c.id == letter_id(id), dead_letters.c.resolution.is_(None))
        .values(
            resolution=resolution.value,
            resolved_at=datetime.now(UTC),
            resolved_by=clip(actor),
            replay_job_id=clip(replay_job_id) if replay_job_id else None,
        )
        .returning(dead_letters.c.id, dead_letters.c.job_id)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return False
    details = {"letter": row.id} | ({"new": replay_job_id} if replay_job_id else {})
    add_audit(connection, actor=actor, action=ACTIONS[resolution], job_id=row.job_id, details=details)
    return True


def _letter(row: Any) -> LetterRow:
    values = dict(row._mapping)
    values["kind"] = Kind(values["kind"])
    values["resolution"] = Resolution(values["resolution"]) if values["resolution"] else None
    return LetterRow(**values)
