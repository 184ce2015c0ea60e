"""Asking workers by Celery's remote control, so that nobody else's question takes the answers away."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from celery import Celery
from celery.app.control import Control
from kombu.exceptions import OperationalError
from kombu.pidbox import Mailbox
from redis.exceptions import RedisError

from penstock.errors import BrokerUnavailable

POLL_SECONDS = 0.05
"""How long one BRPOP waits for answers."""


def ask(
    app: Celery, command: str, names: Sequence[str] | None, timeout: float, **arguments: Any
) -> dict[str, dict[str, Any]]:
    """The answers to a command, by worker. With names, it returns as soon as all of them have answered.

    Args:
        names: who is asked; None: everybody.
        timeout: seconds that are waited for the next answer.

    Raises:
        BrokerUnavailable: Redis did not pass it on.
    """
    if names is not None and not names:
        return {}
    wanted = {"destination": list(names), "limit": len(names)} if names else {}
    try:
        with _control(app) as (control, connection):
            replies = control.broadcast(
                command, arguments=arguments, reply=True, timeout=timeout, connection=connection, **wanted
            )
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerUnavailable(f"Redis did not pass the question on to workers ({error}); ask again") from error
    return {name: answer for reply in replies or () for name, answer in reply.items()}


class _Mailbox(Mailbox):
    """Whose queue for answers is this question's alone.

    Celery has one for each thread. After a question whose time was over, its BRPOP waits on there for up to a second,
    and takes the answers to the next one: a worker that has answered would look as if it stood still.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._oid = str(uuid.uuid4())

    @property
    def oid(self) -> str:
        """The queue's name begins with it."""
        return self._oid


class _Control(Control):
    Mailbox = _Mailbox


@contextlib.contextmanager
def _control(app: Celery) -> Iterator[tuple[Any, Any]]:
    """For one question, and the connection that it is asked over; the queue for answers is gone afterwards."""
    control = _Control(app)
    # Not from the pool: a BRPOP that is left behind on one holds up whoever comes next. Closing waits for it.
    with app.connection_for_write(transport_options={"polling_interval": POLL_SECONDS}) as connection:
        try:
            yield control, connection
        finally:
            with contextlib.suppress(OperationalError, RedisError, OSError):
                control.mailbox.reply_queue(connection.default_channel).delete()
