"""Submitting jobs and asking what became of them.

kombu and SQLAlchemy are imported by the first call that needs them: a web application that imports its task modules
pays for neither.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from penstock import message
from penstock.config import Settings
from penstock.errors import BrokerUnavailable, JobFailed
from penstock.job import State
from penstock.task import Options, Task, register_sender

if TYPE_CHECKING:
    from kombu import Connection
    from kombu.connection import ConnectionPool

    from penstock.ledger.rows import JobRow

R = TypeVar("R")
HARD_LIMIT_GRACE = 5.0
"""Seconds between a task's timeout, which its body may catch, and the end of its process."""
POOL_SIZE = 10
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 3.0
"""How long Redis may take; redis-py tries three times more before it gives up."""
FIRST_POLL, LAST_POLL = 0.02, 0.5


class Job(Generic[R]):
    """A submitted job. Its attributes do no I/O; ``refresh`` and ``result`` read the ledger."""

    def __init__(self, id: str, task: str) -> None:
        self.id = id
        self.task = task
        self.row: JobRow | None = None

    def __repr__(self) -> str:
        return f"<Job {self.id} of {self.task}>"

    @property
    def state(self) -> State | None:
        """The state at the last refresh; None when the ledger had no row yet: no worker has started the job."""
        return self.row.state if self.row else None

    def refresh(self) -> Job[R]:
        """Reads the job's row.

        Raises:
            LedgerUnavailable: the SQL database does not answer.
        """
        from penstock.ledger import queries
        from penstock.ledger.session import reading

        with reading(publisher().settings.database_url) as connection:
            self.row = queries.find_job(connection, self.id)
        return self

    def result(self, timeout: float) -> R:
        """Waits up to ``timeout`` seconds for the job to end and returns what its body returned.

        Raises:
            JobFailed: it failed or was cancelled.
            TimeoutError: it has not ended in time; it goes on.
            LedgerUnavailable: the SQL database does not answer.
        """
        deadline = time.monotonic() + timeout
        pause = FIRST_POLL
        while not (self.refresh().row and self.row and self.row.state.is_final):
            if time.monotonic() + pause > deadline:
                raise TimeoutError(f"{self!r} has not ended within {timeout} s; it goes on")
            time.sleep(pause)
            pause = min(pause * 1.5, LAST_POLL)
        if self.row.state is not State.SUCCEEDED:
            reason = self.row.error_message or self.row.reason
            raise JobFailed(f"{self!r} {self.row.state.value}: {self.row.error_type or ''} {reason}")
        return cast(R, self.row.result)


class Publisher:
    """Puts messages on the lists of Redis, through connections of this process only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._owner = os.getpid()
        self._pool: ConnectionPool | None = None

    def publish(self, outgoing: message.Message) -> None:
        """Sends one message.

        Raises:
            BrokerUnavailable: Redis did not take it.
        """
        from kombu import Producer

        with _publish_signals(outgoing), self._connection() as connection:
            Producer(connection.default_channel).publish(
                outgoing.body,
                exchange="",
                routing_key=outgoing.queue,
                priority=outgoing.priority,
                headers=outgoing.headers,
                content_type="application/json",
                content_encoding="utf-8",
                correlation_id=outgoing.id,
            )

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        from kombu.exceptions import OperationalError
        from redis.exceptions import RedisError

        try:
            with self._open_pool().acquire(block=True) as connection:
                yield connection
        except (OperationalError, RedisError, OSError) as error:
            raise BrokerUnavailable(
                f"Redis at {self._address()} did not take the job ({error}); start it or correct REDIS_URL"
            ) from error

    def _open_pool(self) -> ConnectionPool:
        from kombu import Connection

        if self._pool is None:
            options = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": ANSWER_SECONDS}
            self._pool = Connection(self._settings.redis_url, transport_options=options).Pool(limit=POOL_SIZE)
        return self._pool

    def _address(self) -> str:
        from kombu.utils.url import maybe_sanitize_url

        return str(maybe_sanitize_url(self._settings.redis_url))

    @property
    def is_ours(self) -> bool:
        """False in a forked child, which must not share its parent's sockets."""
        return self._owner == os.getpid()

    @property
    def settings(self) -> Settings:
        """The settings that this publisher was made with."""
        return self._settings


_publisher: Publisher | None = None
_publisher_lock = threading.Lock()


def configure(settings: Settings) -> None:
    """Makes this process submit and read with ``settings`` instead of what the environment says."""
    global _publisher
    with _publisher_lock:
        _publisher = Publisher(settings)


def publisher() -> Publisher:
    """The publisher of this process; made from the environment at first use, and anew in a forked child."""
    global _publisher
    with _publisher_lock:
        if _publisher is None:
            _publisher = Publisher(Settings.load())
        elif not _publisher.is_ours:
            _publisher = Publisher(_publisher.settings)
        return _publisher


def send(declared: Task[..., R], options: Options, args: Any, kwargs: Any) -> Job[R]:
    """Submits one job of a declared task; what ``Task.enqueue`` calls."""
    sender = publisher()
    now = datetime.now(UTC)
    due = options.at or (now + timedelta(seconds=options.delay) if options.delay else None)
    outgoing = message.build(
        id=str(uuid.uuid4()),
        task=declared.name,
        queue=options.queue,
        priority=options.priority,
        args=args,
        kwargs=kwargs,
        now=now,
        eta=due,
        expires=now + timedelta(seconds=options.expires) if options.expires else None,
        time_limits=time_limits(options),
        lineage=_lineage(),
        max_bytes=sender.settings.max_argument_bytes,
    )
    sender.publish(outgoing)
    return Job(outgoing.id, declared.name)


def time_limits(options: Options) -> tuple[float | None, float | None]:
    """(hard, soft) limits in seconds for a task's timeout."""
    if options.timeout is None:
        return None, None
    return options.timeout + HARD_LIMIT_GRACE, options.timeout


def _lineage() -> message.Lineage:
    """Names the submitting job when this runs inside one; without Celery in the process there is none."""
    celery = sys.modules.get("celery")
    current = celery.current_task if celery else None
    request = getattr(current, "request", None)
    if request is None or not request.id:
        return message.Lineage()
    return message.Lineage(parent=request.id, root=request.root_id or request.id)


@contextmanager
def _publish_signals(outgoing: message.Message) -> Iterator[None]:
    """Celery's publish signals around a send: tracing tools hook there, and their changes to headers are kept."""
    signals = sys.modules.get("celery.signals")
    if signals is None:
        yield
        return
    common = {
        "sender": outgoing.task,
        "exchange": "",
        "routing_key": outgoing.queue,
        "headers": outgoing.headers,
    }
    signals.before_task_publish.send(
        body=outgoing.body,
        declare=[],
        properties={"correlation_id": outgoing.id},
        retry_policy={},
        **common,
    )
    yield
    signals.after_task_publish.send(body=outgoing.body, **common)


register_sender(send)
