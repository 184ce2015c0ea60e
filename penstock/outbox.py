"""Jobs in the transactions of the application: no commit, no job; commit, a job for certain.

A job becomes a row of the ledger's outbox, in the transaction of the caller's session; the keeper of a worker puts it
on its queue once that has been committed. SQLAlchemy is imported when the first job goes there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import ContextVar, Token
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from penstock.errors import OutboxError
from penstock.message import sealed
from penstock.threads import in_a_thread, noted

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    from penstock.broker.scripts import Outgoing
    from penstock.ledger.records import FollowUp

    SyncSession: TypeAlias = Session | scoped_session[Any] | Connection
    AnySession: TypeAlias = SyncSession | AsyncSession | async_scoped_session[Any] | AsyncConnection


ROWS = "penstock.ledger.outbox"
SLICE = 200
"""Rows of one statement that is awaited."""


def outbox(session: AnySession) -> Outbox:
    """Puts every job that is submitted inside of the block into the session's transaction.

    For Celery's ``delay()`` and ``apply_async()`` of plain tasks, and for everything of ours::

        with penstock.outbox(session):
            legacy_task.delay(7)
        session.commit()

    With an asynchronous session it is ``async with``, and the rows are inserted when the block ends; commit after it.

    Args:
        session: SQLAlchemy's Session or Connection, or their asynchronous twins; of the database that DATABASE_URL
            names, where the ledger is.
    """
    return Outbox(session)


class Outbox:
    """A block whose jobs go into one session's transaction; :func:`outbox` makes it."""

    def __init__(self, session: AnySession) -> None:
        self._session: Any = session
        self._inserts_at_once = True
        self._waiting: list[FollowUp] = []
        self._token: Token[Outbox | None] | None = None

    def put(self, messages: Sequence[FollowUp]) -> None:
        """Takes messages, all of them or none.

        Raises:
            OutboxError: the session's database does not take them.
        """
        if self._inserts_at_once:
            _insert(self._session, messages)
        else:
            self._waiting += messages

    @property
    def taken(self) -> str:
        """What became of messages that it has taken, for the sentence of an error."""
        if self._inserts_at_once:
            return "put into the session's transaction"
        return "kept for the session's transaction, and put there if the block ends without an error"

    def __enter__(self) -> Self:
        self._session = _unscoped(self._session)
        if is_asynchronous(self._session):
            raise OutboxError(
                "this session is asynchronous, so its jobs can only be inserted by awaiting it: use `await "
                "task.options(session=session).aenqueue(...)`, or `async with penstock.outbox(session):` for all others"
            )
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _current.reset(self._token)

    async def __aenter__(self) -> Self:
        self._session = _unscoped(self._session)
        self._inserts_at_once = not is_asynchronous(self._session)
        if ROWS not in sys.modules:  # Their tables take a tenth of a second.
            with noted(lambda: "the session's block has not begun: nothing of it was submitted"):
                await in_a_thread(import_module, ROWS)
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        _current.reset(self._token)
        waiting, self._waiting = self._waiting, []
        if error is None:
            with noted(partial(_fate, waiting)):
                # In slices, between which others in the loop have their turn.
                for first in range(0, len(waiting), SLICE):
                    await self._session.run_sync(_insert, waiting[first : first + SLICE])


class Drawer(Outbox):
    """A block whose messages somebody else inserts, in a transaction of theirs."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.messages: list[FollowUp] = []

    def put(self, messages: Sequence[FollowUp]) -> None:
        """Takes messages."""
        self.messages += messages

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self


def outgoing(message: FollowUp, tag: str) -> Outgoing:
    """A message of the outbox as Redis takes it.

    Args:
        tag: the delivery tag, which no other publication has.
    """
    from penstock.broker.scripts import Outgoing

    return Outgoing(
        key=message.key,
        queue=message.queue,
        step=message.step,
        due_ms=int(message.due.timestamp() * 1000) if message.due else 0,
        job_id=message.job_id,
        # A retry and what replaces a job come under its id, with a key of their own.
        is_new=message.key == message.job_id,
        raw=sealed(message.payload, tag),
    )


_current: ContextVar[Outbox | None] = ContextVar("penstock_outbox", default=None)


def current_outbox() -> Outbox | None:
    """The innermost block that this runs in."""
    return _current.get()


def is_asynchronous(session: Any) -> bool:
    """Whether the session has to be awaited. Whoever has one has imported SQLAlchemy's module of those."""
    asynchronous = sys.modules.get("sqlalchemy.ext.asyncio")
    return asynchronous is not None and isinstance(
        session, (asynchronous.AsyncSession, asynchronous.AsyncConnection, asynchronous.async_scoped_session)
    )


def _unscoped(session: Any) -> Any:
    """The session itself, of a registry that has one for each thread, request or task."""
    from sqlalchemy.orm import scoped_session

    asynchronous = sys.modules.get("sqlalchemy.ext.asyncio")
    is_scoped = isinstance(session, scoped_session) or (
        asynchronous is not None and isinstance(session, asynchronous.async_scoped_session)
    )
    return session() if is_scoped else session


def _fate(waiting: Sequence[FollowUp]) -> str:
    """What becomes of messages of which nobody knows whether they were inserted."""
    if not waiting:
        return "no job was waiting for the session's transaction"
    more = f" and {len(waiting) - 1:,} more of the same block" if len(waiting) > 1 else ""
    return f"job {waiting[0].job_id}{more}: not submitted, unless the session's transaction has it and is committed"


def _insert(session: Session | Connection, messages: Sequence[FollowUp]) -> None:
    from sqlalchemy import Connection
    from sqlalchemy.exc import UnboundExecutionError
    from sqlalchemy.orm import Session

    from penstock.ledger import outbox as rows
    from penstock.ledger.tables import outbox as table

    if isinstance(session, Connection):
        rows.put(session, messages)
        return
    if not isinstance(session, Session):
        raise OutboxError(
            f"{type(session).__name__} is no session; give SQLAlchemy's Session, Connection, AsyncSession or "
            "AsyncConnection, with a transaction of yours"
        )
    try:
        connection = session.connection(bind_arguments={"clause": table})
    except UnboundExecutionError:
        raise OutboxError(
            "the session is bound to engines by table, and none of them is for the outbox: give it the engine of the "
            "ledger's database as its bind as well, as in Session(bind=engine, binds=...)"
        ) from None
    rows.put(connection, messages)
