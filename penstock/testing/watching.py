"""Sees each job that this process submits, whichever way it goes.

Four places lead to a queue: a call of the client or of an adopted app's ``delay()``, kombu's own publishing through our
transport, the outbox of a session, and what is published of an outbox (by the scheduler, or after a job that goes on).
All are looked at from outside, so that nothing of the library knows about tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import ref

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from penstock.broker import envelope, publisher, scripts
from penstock.ledger import outbox
from penstock.ledger.records import FollowUp
from penstock.ledger.session import reading
from penstock.ledger.tables import jobs as jobs_table
from penstock.ledger.tables import outbox as outbox_table
from penstock.message import SCHEDULE, sealed

Listener = Callable[[list["Sent"]], None]


@dataclass
class Sent:
    """A job's first message."""

    id: str
    task: str
    queue: str
    payload: dict[str, Any]
    due_ms: int
    """0: at once."""
    connection: Any = None
    """A weak reference to the connection whose transaction has it; None: it went to a queue."""

    @property
    def due(self) -> datetime | None:
        """When it may start."""
        return datetime.fromtimestamp(self.due_ms / 1000, UTC) if self.due_ms else None

    @property
    def schedule(self) -> str | None:
        """The schedule that has started it."""
        name = self.payload["headers"].get(SCHEDULE)
        return str(name) if name else None


class Watch:
    """What was sent while it was open, in its order, each job once."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self.sent: dict[str, Sent] = {}
        self.listeners: list[Listener] = []
        """Told of jobs that are on a queue now."""

    def note(self, queue: str, due_ms: int, raws: Iterable[bytes], connection: Connection | None = None) -> None:
        """Takes in first messages of jobs."""
        new: list[Sent] = []
        for raw in raws:
            payload = envelope.read(raw)
            headers = payload["headers"]
            if not (id := envelope.job_id(payload)) or not isinstance(headers.get("task"), str):
                continue
            if id in self.sent and self.sent[id].connection is not None and connection is None:
                new.append(self.sent[id])  # It comes out of the outbox.
            elif id not in self.sent:
                weak = ref(connection) if connection is not None else None
                self.sent[id] = Sent(id, headers["task"], queue, payload, due_ms, weak)
                new.append(self.sent[id])
        if new and connection is None:
            for listener in tuple(self.listeners):
                listener(new)

    def note_file(self, path: Path) -> None:
        """Takes in what another process has written of its own, a line of JSON each."""
        for line in path.read_text().splitlines() if path.exists() else ():
            words = json.loads(line)
            self.note(words["queue"], words["due_ms"], [json.dumps(words["payload"]).encode()])

    def standing(self) -> tuple[set[str], set[str]]:
        """Ids of jobs in transactions that are open, and of those whose transaction was rolled back."""
        kept = {sent.id: sent for sent in self.sent.values() if sent.connection is not None}
        if not kept:
            return set(), set()
        with reading(self._url) as connection:
            committed = set(connection.execute(select(outbox_table.c.job_id)).scalars())
            committed |= set(connection.execute(select(jobs_table.c.id).where(jobs_table.c.id.in_(kept))).scalars())
        waiting = {id for id in kept.keys() - committed if _is_open(kept[id])}
        return waiting, kept.keys() - committed - waiting


def _is_open(sent: Sent) -> bool:
    """Whether the transaction that has the job still has it: a savepoint may have been rolled back."""
    connection: Connection | None = sent.connection()
    if connection is None or connection.closed or not connection.in_transaction():
        return False
    asked = select(outbox_table.c.key).where(outbox_table.c.job_id == sent.id)
    options: dict[str, Any] = {"schema_translate_map": None}
    try:
        return connection.execute(asked, execution_options=options).first() is not None
    except SQLAlchemyError:
        # It has to be awaited, or cannot be asked just now; that it is open is known.
        return True


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Everything that is submitted inside of the block is seen by ``watch``."""
    former = (
        (publisher.Sending, "wait", _waiting(publisher.Sending.wait, watch)),
        (scripts.Scripts, "publish", _publishing(scripts.Scripts.publish, watch)),
        (scripts.Scripts, "publish_outbox", _relaying(scripts.Scripts.publish_outbox, watch)),
        (outbox, "put", _keeping(outbox.put, watch)),
    )
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in former]
    for owner, name, seen in former:
        setattr(owner, name, seen)
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _waiting(original: Any, watch: Watch) -> Any:
    def wait(self: publisher.Sending) -> None:
        original(self)
        *_, queue, _step, due_ms, is_new = self._call[:8]
        if is_new:
            watch.note(queue, due_ms, self._call[9::2])

    return wait


def _publishing(original: Any, watch: Watch) -> Any:
    def publish(
        self: scripts.Scripts,
        producer: str,
        sequence: int,
        queue: str,
        step: int,
        messages: Sequence[tuple[str, bytes | str]],
        due_ms: int = 0,
        *,
        is_new: bool = True,
    ) -> bool:
        is_done: bool = original(self, producer, sequence, queue, step, messages, due_ms, is_new=is_new)
        if is_new:
            raws = (raw.encode() if isinstance(raw, str) else raw for _, raw in messages)
            watch.note(queue, due_ms, raws)
        return is_done

    return publish


def _relaying(original: Any, watch: Watch) -> Any:
    def publish_outbox(self: scripts.Scripts, messages: Iterable[scripts.Outgoing]) -> list[bool | str]:
        messages = list(messages)
        answers: list[bool | str] = original(self, messages)
        for message, answer in zip(messages, answers, strict=True):
            if message.is_new and answer is True:
                watch.note(message.queue, message.due_ms, [message.raw])
        return answers

    return publish_outbox


def _keeping(original: Any, watch: Watch) -> Any:
    def put(connection: Connection, messages: Sequence[FollowUp]) -> None:
        original(connection, messages)
        for message in messages:
            due_ms = int(message.due.timestamp() * 1000) if message.due else 0
            watch.note(message.queue, due_ms, [sealed(message.payload, "seen")], connection)

    return put
