"""Steps of a beat's work at which it can be made to send itself a signal: once, as soon as there is a file, which it
takes away.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy.engine.default import DefaultDialect

from penstock.ledger import fires, schedules
from penstock.scheduler.firing import Firing
from penstock.scheduler.publishing import Publishing

STEP, SIGNAL, ARMED = "HALTS_AT", "HALTS_BY", "HALTS_WITH"
"""Variables: the step, the name of the signal, the file."""


def halt() -> None:
    """Here, if the file is there."""
    try:
        Path(os.environ[ARMED]).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.Signals[os.environ[SIGNAL]])


def before(owner: Any, name: str, has_work: Callable[..., bool] = lambda *_: True) -> None:
    """Halts before a function is called with something to do."""
    function = getattr(owner, name)

    def called(*arguments: Any, **named: Any) -> Any:
        if has_work(*arguments):
            halt()
        return function(*arguments, **named)

    setattr(owner, name, called)


def has_done_something(answer: Any, *arguments: Any) -> bool:
    """As the answer of a function says, or its last argument."""
    return bool(answer or (answer is None and arguments[-1]))


def after(owner: Any, name: str, is_it: Callable[..., bool] = has_done_something) -> None:
    """Halts after a function, if that was the call that is meant."""
    function = getattr(owner, name)

    def called(*arguments: Any, **named: Any) -> Any:
        answer = function(*arguments, **named)
        if is_it(answer, *arguments):
            halt()
        return answer

    setattr(owner, name, called)


def is_in_transaction(_answer: Any, _dialect: Any, cursor: Any, *_: Any) -> bool:
    """Whether the driver is inside of one; on SQLite the first statement of one is its BEGIN."""
    connection = cursor.connection
    if isinstance(connection, sqlite3.Connection):
        return connection.in_transaction
    return bool(connection.info.transaction_status == TransactionStatus.INTRANS)


DEADLY = (
    "before the transaction",
    "its fires are inserted",
    "all is written and not committed",
    "committed and not published",
    "published",
)
"""At which a process may die, and what it leaves differs."""
INNER = (
    "in its transaction, after a statement",
    "all is written and not committed",
    "committed and not published",
)
"""In the middle of something, so that whoever is to end in order has to undo it, or to do the rest."""
STEPS: dict[str, Callable[[], None]] = {
    "in its transaction, after a statement": lambda: after(DefaultDialect, "do_execute", is_in_transaction),
    "before the transaction": lambda: before(Firing, "fire_due"),
    "its fires are inserted": lambda: after(fires, "insert"),
    "all is written and not committed": lambda: after(schedules, "move_on"),
    "committed and not published": lambda: before(Publishing, "put", lambda _, messages: bool(messages)),
    "published": lambda: after(Publishing, "_publish"),
}


def prepare() -> None:
    """Makes this process one that halts."""
    STEPS[os.environ[STEP]]()
