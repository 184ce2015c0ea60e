"""Submitting jobs and asking what became of them.

redis-py, kombu and SQLAlchemy are imported by the first call that needs them: a web application that imports its task
modules pays for none.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from penstock import message
from penstock.actor import actor
from penstock.broker.keys import step_of
from penstock.config import Settings
from penstock.errors import ArgumentError, BrokerUnavailable, NotCancellable
from penstock.job import State
from penstock.message import Arguments, Template
from penstock.outbox import Outbox, current_outbox, outbox
from penstock.results import failure_of, pauses
from penstock.task import BoundCall, Options, Task, declared_task, register_sender

if TYPE_CHECKING:
    from penstock.broker.hearing import Hearing
    from penstock.broker.publisher import Producers
    from penstock.broker.scripts import Scripts
    from penstock.cancelling import Cancelled, Meaning
    from penstock.ledger.outbox import OutboxRow
    from penstock.ledger.rows import JobRow
    from penstock.outbox import AnySession

R = TypeVar("R")
T = TypeVar("T")
HARD_LIMIT_GRACE = 5.0
"""Seconds between a task's timeout, which its body may catch, and the end of its process."""
CANCEL_GRACE = 10.0
"""Seconds that a body which is cancelled has to stop by itself, unless the request says else."""
CHUNK = 1000
MAX_CALL_BYTES = 4_000_000
"""Bytes that one call of ``enqueue_many`` to Redis carries, or a single job that is larger."""


class Job(Generic[R]):
    """A submitted job. Its attributes do no I/O; ``refresh`` and ``result`` ask for news."""

    __slots__ = ("_outbox_row", "_waiting", "id", "queue", "row", "task")

    def __init__(self, id: str, task: str, queue: str | None = None) -> None:
        """Args:
        queue: where it was put, if that is known.
        """
        self.id = id
        self.task = task
        self.queue = queue
        self.row: JobRow | None = None
        self._outbox_row: OutboxRow | None = None
        self._waiting: State | None = None

    def __repr__(self) -> str:
        return f"<Job {self.id} of {self.task}>"

    @property
    def state(self) -> State | None:
        """The state at the last refresh: the ledger's, or else where the job waits.

        None when neither knew it: a worker had just claimed it, or it was never submitted, or not by us.
        """
        known = self.row or self._outbox_row
        return known.state if known else self._waiting

    def refresh(self) -> Job[R]:
        """Reads the job's row; without one, asks the outbox and then Redis whether it waits.

        Raises:
            LedgerUnavailable: the SQL database does not answer.
            BrokerUnavailable: there is no row, and Redis does not answer.
        """
        self._waiting = None
        if not self._read_row() and not self._outbox_row:
            self._waiting = publisher().waiting_state(self.id, self.queue)
            if self._waiting is None:
                self._read_row()  # It may have ended between the two questions.
        return self

    def _read_row(self) -> JobRow | None:
        from penstock.ledger import queries
        from penstock.ledger.outbox import find_waiting
        from penstock.ledger.session import reading

        with reading(publisher().settings.database_url) as connection:
            self.row = queries.find_job(connection, self.id)
            self._outbox_row = None if self.row else find_waiting(connection, self.id)
        return self.row

    async def arefresh(self) -> Job[R]:
        """As :meth:`refresh`, in a thread."""
        return await _in_a_thread(self.refresh)

    def result(self, timeout: float) -> R:
        """Waits up to ``timeout`` seconds for the job to end and returns what its body returned.

        It is what the annotation of the task's body says, where the task has been imported, or else plain JSON.

        Raises:
            JobFailed: it failed or was cancelled.
            UnreadableResult: what is recorded is not what the annotation says.
            TimeoutError: it has not ended in time; it goes on.
            LedgerUnavailable: the SQL database does not answer.
        """
        if timeout <= 0:
            self._read_row()
            return self._value(timeout)
        with publisher().hearing.ear([self.id]) as ear:
            for pause in pauses(timeout):
                ear.wait(pause)
                if self._has_ended():
                    break
        return self._value(timeout)

    async def aresult(self, timeout: float) -> R:
        """As :meth:`result`; any number of tasks may wait, on one connection."""
        from penstock.broker.hearing import AsyncEar

        if timeout <= 0:
            await _in_a_thread(self._read_row)
            return self._value(timeout)
        ear = AsyncEar()
        with publisher().hearing.listening([self.id], ear):
            for pause in pauses(timeout):
                await ear.wait(pause)
                if await _in_a_thread(self._has_ended):
                    break
        return self._value(timeout)

    def cancel(self, reason: str | None = None, grace: float | None = CANCEL_GRACE) -> Meaning:
        """Cancels the job, whatever it is doing; what that means for it.

        One that waits never starts. A body that runs is asked to stop: ``current_job().is_cancelled`` becomes true,
        and where it can hear, :class:`~penstock.errors.JobCancelled` is raised in it. A body that has not stopped
        when its grace is over is stopped. To repeat it does no harm.

        Args:
            reason: why, for the audit and ``jobs show``.
            grace: seconds that a body has to stop by itself; 0: none; None: as long as it takes.

        Raises:
            NotCancellable: it had ended already, and not because somebody cancelled it.
            LedgerUnavailable: SQL does not answer; nothing is cancelled.
            BrokerUnavailable: Redis does not answer, and a worker may have the job; call it again.
        """
        done = publisher().cancel(self.id, reason, grace)
        for row in done.ended:
            self.row = row
            raise NotCancellable(f"job {self.id} of {self.task} has already ended: {row.state}")
        return done.means[self.id]

    async def acancel(self, reason: str | None = None, grace: float | None = CANCEL_GRACE) -> Meaning:
        """As :meth:`cancel`, in a thread."""
        return await _in_a_thread(self.cancel, reason, grace)

    def _has_ended(self) -> bool:
        row = self._read_row()
        return row is not None and row.state.is_final

    def _value(self, timeout: float) -> R:
        if self.row is None or not self.row.state.is_final:
            raise TimeoutError(f"{self!r} has not ended within {timeout:g} s; it goes on")
        if self.row.state is not State.SUCCEEDED:
            raise failure_of(self.row)
        # What has replaced the task has its own result, and its name in the row.
        declared = declared_task(self.row.task)
        conversion = declared.conversion if declared else None
        return cast(R, self.row.result if conversion is None else conversion.decode_result(self.row.result))


def as_ended(jobs: Iterable[Job[R]], timeout: float) -> Iterator[Job[R]]:
    """Jobs in the order in which they end, each with its row; ``job.result(0)`` then waits for nothing.

    Args:
        timeout: seconds for all of them.

    Raises:
        TimeoutError: some have not ended in time; they go on.
        LedgerUnavailable: the SQL database does not answer.
    """
    waiting = {job.id: job for job in jobs}
    yield from _ended(waiting, set(waiting))
    if not waiting:
        return
    with publisher().hearing.ear(waiting) as ear:
        for pause in pauses(timeout):
            news = ear.wait(pause)
            yield from _ended(waiting, news or set(waiting))
            if not waiting:
                return
    raise TimeoutError(f"{len(waiting)} of the jobs have not ended within {timeout:g} s; they go on")


def _ended(waiting: dict[str, Job[R]], ids: set[str]) -> list[Job[R]]:
    """Those of ``ids`` that have ended, which wait no more."""
    from penstock.ledger import queries
    from penstock.ledger.session import reading

    if not (asked := list(ids & waiting.keys())):
        return []
    with reading(publisher().settings.database_url) as connection:
        rows = [row for row in queries.find_jobs(connection, asked) if row.state.is_final]
    for row in rows:
        waiting[row.id].row = row
    return [waiting.pop(row.id) for row in sorted(rows, key=lambda row: row.updated_at)]


async def _in_a_thread(call: Callable[..., T], *args: Any) -> T:
    """What waits for a server, beside the loop. Whoever awaits this has imported asyncio; others save its 20 ms."""
    import asyncio

    return await asyncio.to_thread(call, *args)


class Outgoing(NamedTuple):
    """A job on its way to its queue."""

    id: str
    template: Template
    arguments: Arguments


class Destination(NamedTuple):
    """What messages have in common that go to Redis in one call."""

    queue: str
    step: int
    due: datetime | None

    @property
    def due_ms(self) -> int:
        """Milliseconds since 1970; 0: at once."""
        return int(self.due.timestamp() * 1000) if self.due else 0


class Publisher:
    """What this process knows of its deployment: the settings, and the way to Redis."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        """The settings that this publisher was made with."""

    def publish(self, destination: Destination, jobs: list[Outgoing]) -> None:
        """Sends jobs, all of them or none.

        Raises:
            BrokerUnavailable: Redis did not take them.
        """
        self.begin(destination, jobs)()

    def begin(self, destination: Destination, jobs: list[Outgoing]) -> Callable[[], None]:
        """Sends jobs; a call of what is returned waits until Redis has taken them."""
        signals = listened_signals()
        if signals is None:
            return self.begin_quietly(destination, [(id, way.unsealed(id, arguments)) for id, way, arguments in jobs])
        messages, tell = _announce(signals, jobs)
        self.begin_quietly(destination, messages)()
        return tell

    def begin_quietly(self, destination: Destination, messages: list[tuple[str, bytes]]) -> Callable[[], None]:
        """Sends pairs of id and message, without a signal."""
        return self._producers.begin(destination.queue, destination.step, messages, destination.due_ms).wait

    def waiting_state(self, id: str, queue: str | None) -> State | None:
        """Where a job waits.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        from penstock.broker.connection import translated
        from penstock.broker.waiting import waiting_state

        with translated(self.settings.redis_url):
            return waiting_state(self._producers.client, self._producers.keys, id, queue)

    def cancel(self, id: str, reason: str | None, grace: float | None) -> Cancelled:
        """Cancels a job; see :func:`penstock.cancelling.cancel`."""
        from penstock import cancelling

        url = self.settings.database_url
        return cancelling.cancel(url, self._broker, [id], actor=actor(), grace=grace, reason=reason)

    @contextmanager
    def _broker(self) -> Iterator[Scripts]:
        from penstock.broker.connection import translated
        from penstock.broker.scripts import Scripts

        with translated(self.settings.redis_url):
            yield Scripts(self._producers.client, self._producers.keys)

    @property
    def hearing(self) -> Hearing:
        """Where this process hears of ended jobs."""
        from penstock.broker.hearing import hearing_of

        return hearing_of(self.settings.redis_url, self.settings.broker_options)

    @cached_property
    def _producers(self) -> Producers:
        from penstock.broker.publisher import Producers

        return Producers(self.settings.redis_url, self.settings.broker_options)


def listened_signals() -> Any:
    """Celery's signals, if somebody listens to those of publishing, or else None."""
    signals = sys.modules.get("celery.signals")
    if signals and (signals.before_task_publish.receivers or signals.after_task_publish.receivers):
        return signals
    return None


def _announce(signals: Any, jobs: list[Outgoing]) -> tuple[list[tuple[str, bytes]], Callable[[], None]]:
    """Sends Celery's signal before publishing and returns the messages, and a function that sends the one after it.

    Tracing tools hook there, and their changes to headers are kept.
    """
    messages, sent = [], []
    for id, template, arguments in jobs:
        headers = template.headers(id, arguments)
        common = {
            "sender": template.task,
            "body": (arguments.args, arguments.kwargs, {}),
            "exchange": "",
            "routing_key": template.queue,
            "headers": headers,
        }
        signals.before_task_publish.send(declare=[], properties={"correlation_id": id}, retry_policy={}, **common)
        messages.append((id, template.unsealed_with(headers, id, arguments)))
        sent.append(common)

    def tell() -> None:
        for common in sent:
            signals.after_task_publish.send(**common)

    return messages, tell


_publisher: Publisher | None = None
_publisher_lock = threading.Lock()


def configure(settings: Settings) -> None:
    """Makes this process submit and read with ``settings`` instead of what the environment says."""
    global _publisher
    with _publisher_lock:
        _publisher = Publisher(settings)


def publisher() -> Publisher:
    """The publisher of this process; made from the environment at first use."""
    global _publisher
    if _publisher is None:
        with _publisher_lock:
            _publisher = _publisher or Publisher(Settings.load())
    return _publisher


def put_scheduled(block: Outbox, call: BoundCall[Any], schedule: str) -> None:
    """Puts a job that a schedule starts into a transaction. Its arguments are JSON already, as the schedule is.

    Raises:
        ArgumentError: the arguments do not fit, or are not JSON.
    """
    task, options, args, kwargs = call
    task.read(args, kwargs)
    arguments = message.check(task.name, args, kwargs, publisher().settings.max_argument_bytes)
    destination, template = _way(task, options, datetime.now(UTC), in_outbox=True, schedule=schedule)
    (id,) = new_ids(1)
    _keep(block, destination, [Outgoing(id, template, arguments)])


def send(declared: Task[..., R], options: Options, args: Any, kwargs: Any, session: AnySession | None = None) -> Job[R]:
    """Submits one job of a declared task; what ``Task.enqueue`` calls."""
    if session is not None:
        with outbox(session):
            return send(declared, options, args, kwargs)
    sender, block = publisher(), current_outbox()
    if (conversion := declared.conversion) is not None:
        args, kwargs = conversion.encode(args, kwargs)
    arguments = message.check(declared.name, args, kwargs, sender.settings.max_argument_bytes)
    destination, template = _way(declared, options, datetime.now(UTC), in_outbox=block is not None)
    (id,) = new_ids(1)
    outgoing = [Outgoing(id, template, arguments)]
    if block is None:
        sender.publish(destination, outgoing)
    else:
        _keep(block, destination, outgoing)
    return Job(id, declared.name, options.queue)


async def asend(
    declared: Task[..., R], options: Options, args: Any, kwargs: Any, session: AnySession | None = None
) -> Job[R]:
    """:func:`send` for coroutines. A thread waits for Redis; a session stays in the one that it belongs to."""
    if session is not None:
        async with outbox(session):
            return send(declared, options, args, kwargs)
    if current_outbox() is not None:
        return send(declared, options, args, kwargs)
    return await _in_a_thread(send, declared, options, args, kwargs)


def _keep(block: Outbox, destination: Destination, jobs: list[Outgoing]) -> Callable[[], None]:
    """Puts jobs into a session's transaction; there is nothing to wait for in what is returned."""
    from penstock.ledger.records import FollowUp

    signals = listened_signals()
    messages = [(id, way.unsealed(id, arguments)) for id, way, arguments in jobs] if signals is None else []
    tell: Callable[[], None] = _nothing
    if signals is not None:
        messages, tell = _announce(signals, jobs)
    block.put(
        [
            FollowUp(key=id, job_id=id, task=way.task, payload=raw, **destination._asdict())
            for (_, way, _), (id, raw) in zip(jobs, messages, strict=True)
        ]
    )
    tell()
    return _nothing


def _nothing() -> None:
    pass


def enqueue_many(
    calls: Iterable[BoundCall[R]], *, chunk: int = CHUNK, session: AnySession | None = None
) -> list[Job[R]]:
    """Submits many jobs: ``enqueue_many(send_welcome.bind(user) for user in users)``.

    Calls are taken from the iterable chunk by chunk. A chunk is checked as a whole before any of it is sent, and its
    jobs for one queue, priority and due time reach Redis in one round trip, or several if they are large, in the order
    of the calls.

    Args:
        calls: of any tasks, made by ``bind``.
        chunk: how many calls are checked and sent together; Redis serves nobody else for a few milliseconds meanwhile.
        session: SQLAlchemy's, of the ledger's database: the jobs exist if and only if its transaction commits. For one
            that has to be awaited, call this inside of ``async with penstock.outbox(session)``.

    Returns:
        A job for each call, in the order of the calls.

    Raises:
        ArgumentError: of the call whose position it names; nothing of its chunk was sent, but the chunks before were.
        BrokerUnavailable: Redis did not take a chunk; its sentence says which calls were accepted.
        OutboxError: the session cannot take the jobs.
    """
    if chunk < 1:
        raise ValueError(f"chunk={chunk}: at least 1")
    if session is not None:
        with outbox(session):
            return enqueue_many(calls, chunk=chunk)
    waiting = iter(calls)
    jobs: list[Job[R]] = []
    bulk = _Bulk()
    try:
        while taken := list(islice(waiting, chunk)):
            jobs += bulk.submit(taken)
    finally:
        bulk.settle()
    return jobs


class _Bulk:
    """Submits chunk after chunk; the next one is built while Redis takes the last."""

    def __init__(self) -> None:
        self._block = current_outbox()
        self._taken = self._accepted = 0
        """Calls of the chunks that were begun, and of those that Redis has taken."""
        self._partly: list[str] = []
        """Queues whose jobs Redis has taken of the chunk in between."""
        self._sending: tuple[Callable[[], None], str, int] | None = None
        """What is on its way: how to wait for it, its queue, and the calls that are accepted with its chunk."""

    def submit(self, calls: list[BoundCall[R]]) -> list[Job[R]]:
        """Checks a chunk, waits for what is on its way, and sends the chunk."""
        is_quiet = self._block is None and listened_signals() is None
        try:
            jobs, groups = self._build(calls, is_quiet)
        except ArgumentError as error:
            self.settle()
            raise ArgumentError(f"{error}; {self._so_far()}") from None
        self._taken += len(calls)
        parts = [(destination, part) for destination, group in groups.items() for part in _parts(group)]
        begin: Callable[..., Callable[[], None]] = publisher().begin_quietly if is_quiet else publisher().begin
        if self._block is not None:
            begin = partial(_keep, self._block)
        for number, (destination, part) in enumerate(parts, 1):
            # One at a time, so that jobs for one destination stay in the order of their calls.
            self.settle()
            wait = self._reporting(partial(begin, destination, part))
            self._sending = wait, destination.queue, self._taken if number == len(parts) else 0
        return jobs

    def settle(self) -> None:
        """Waits for what is on its way."""
        if self._sending is None:
            return
        (wait, queue, accepted), self._sending = self._sending, None
        self._reporting(wait)
        self._partly.append(queue)
        if accepted:
            self._accepted, self._partly = accepted, []

    def _build(self, calls: list[BoundCall[R]], is_quiet: bool) -> tuple[list[Job[R]], dict[Destination, list[Any]]]:
        """The jobs, and what goes where: messages, or what they are made of if somebody may want to change them."""
        limit, now = publisher().settings.max_argument_bytes, datetime.now(UTC)
        # By identity, as most calls of a chunk share one object, whose hash would cost more than the call.
        ways: dict[tuple[int, int], tuple[Template, list[Any]]] = {}
        groups: dict[Destination, list[Any]] = {}
        jobs: list[Job[R]] = []
        last, conversion = None, None
        for job_id, (task, options, args, kwargs) in zip(new_ids(len(calls)), calls, strict=True):
            try:
                task.check_arguments(args, kwargs)
                if task is not last:
                    last, conversion = task, task.conversion
                if conversion is not None:
                    args, kwargs = conversion.encode(args, kwargs)
                arguments = message.check(task.name, args, kwargs, limit)
            except ArgumentError as error:
                raise ArgumentError(f"call {self._taken + len(jobs) + 1:,}: {error}") from None
            key = id(task), id(options)
            if key not in ways:
                destination, template = _way(task, options, now, in_outbox=self._block is not None)
                ways[key] = template, groups.setdefault(destination, [])
            template, group = ways[key]
            # What is made at once leaves no objects behind through which the garbage collector would go.
            group.append(
                (job_id, template.unsealed(job_id, arguments)) if is_quiet else Outgoing(job_id, template, arguments)
            )
            jobs.append(Job(job_id, task.name, options.queue))
        return jobs, groups

    def _reporting(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except BrokerUnavailable as error:
            raise BrokerUnavailable(f"{error}; {self._so_far()}") from error

    def _so_far(self) -> str:
        done = "accepted" if self._block is None else "put into the session's transaction"
        whole = f"calls 1 to {self._accepted:,} were {done}" if self._accepted else f"none was {done}"
        return (
            f"{whole}, and some of the next chunk, for {', '.join(dict.fromkeys(self._partly))}"
            if self._partly
            else whole
        )


def _parts(group: list[Any]) -> Iterator[list[Any]]:
    """A group in calls that hold Redis up for some milliseconds each, however large the arguments are."""
    part: list[Any] = []
    size = 0
    for each in group:
        length = len(each[1]) if len(each) == 2 else len(each.arguments.text)
        if part and size + length > MAX_CALL_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    yield part


def _way(
    task: Task[..., Any], options: Options, now: datetime, *, in_outbox: bool, schedule: str | None = None
) -> tuple[Destination, Template]:
    """Where jobs go that are submitted now, and what their messages have in common."""
    due = options.at or (now + timedelta(seconds=options.delay) if options.delay else None)
    template = Template(
        task=task.name,
        queue=options.queue,
        priority=options.priority,
        now=now,
        eta=due,
        expires=now + timedelta(seconds=options.expires) if options.expires else None,
        time_limits=time_limits(options),
        lineage=_lineage(),
        in_outbox=in_outbox,
        schedule=schedule,
        tags=options.tags,
    )
    return Destination(options.queue, step_of(options.priority), due), template


def new_ids(count: int) -> Iterator[str]:
    """Random UUIDs, version 4, from one reading of the system's random numbers."""
    digits = os.urandom(16 * count).hex()
    for start in range(0, 32 * count, 32):
        each = digits[start : start + 32]
        variant = "89ab"[int(each[16], 16) & 3]
        yield f"{each[:8]}-{each[8:12]}-4{each[13:16]}-{variant}{each[17:20]}-{each[20:]}"


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


register_sender(send, asend)
