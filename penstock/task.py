"""Declaring tasks. Importing this, or a module of tasks, does not import Celery.

``@task`` keeps a declaration in a registry; each Celery app makes a twin of it (``penstock.app``). Submitting goes
through the sender that ``penstock.client`` registers here, so that this module knows no broker.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, SupportsFloat, TypeVar, overload

from penstock import tags as tagging
from penstock.breaker import Breaker
from penstock.errors import ArgumentError, DeclarationError
from penstock.option_names import names_options
from penstock.progress import as_number, problem_of
from penstock.retrying import Retry
from penstock.seconds import MOST_SECONDS, are_seconds

if TYPE_CHECKING:
    from celery.canvas import Signature

    from penstock.client import Job
    from penstock.codec.conversion import Call, Conversion
    from penstock.outbox import AnySession

P = ParamSpec("P")
R = TypeVar("R")
DEFAULT_QUEUE = "default"
PRIORITIES = range(10)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a job is queued and run. Of a declaration, or of one call (:meth:`Task.options`)."""

    queue: str = DEFAULT_QUEUE
    retry: Retry | None = None
    breaker: Breaker | None = None
    timeout: float | None = None
    expires: float | None = None
    schedule_timeout: float | None = None
    priority: int = 0
    delay: float | None = None
    at: datetime | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (isinstance(self.queue, str) and self.queue and self.queue.isprintable() and " " not in self.queue):
            raise DeclarationError(f"queue={self.queue!r}: a name without spaces")
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise DeclarationError(f"retry={self.retry!r}: give a Retry, e.g. Retry(attempts=5)")
        _check_breaker(self.breaker)
        for name in ("timeout", "expires", "schedule_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not (are_seconds(seconds) and seconds > 0):
                raise DeclarationError(f"{name}={seconds!r}: seconds, more than 0 and at most {MOST_SECONDS:,}")
        if isinstance(self.priority, bool) or self.priority not in PRIORITIES:
            raise DeclarationError(f"priority={self.priority!r}: from 0 (first) to 9 (last)")
        if self.delay is not None and not are_seconds(self.delay):
            raise DeclarationError(f"delay={self.delay!r}: seconds, from 0 to {MOST_SECONDS:,}")
        if self.at is not None and self.at.tzinfo is None:
            raise DeclarationError(f"at={self.at!r}: give it a time zone, e.g. datetime(..., tzinfo=UTC)")
        if self.at is not None and self.delay is not None:
            raise DeclarationError("delay and at: give one of them")
        if problem := tagging.problem_of(self.tags):
            raise DeclarationError(problem)


def _check_breaker(breaker: object) -> None:
    if breaker is not None and not isinstance(breaker, Breaker):
        raise DeclarationError(f"breaker={breaker!r}: give a Breaker, e.g. Breaker(failures=10, pause=300)")


class Sender(Protocol):
    """Puts a job on its queue, or into a session's transaction; see ``penstock.client``."""

    def __call__(
        self, declared: Task[..., R], options: Options, args: Any, kwargs: Any, session: AnySession | None
    ) -> Job[R]: ...


class AsyncSender(Protocol):
    """The same for coroutines."""

    async def __call__(
        self, declared: Task[..., R], options: Options, args: Any, kwargs: Any, session: AnySession | None
    ) -> Job[R]: ...


class Reports(Protocol):
    """Takes what a body says of itself; see ``penstock.ledger.collecting``."""

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        """Has it known how far the body is. Never waits."""


logger = logging.getLogger("penstock.job")


@dataclass(frozen=True)
class RunningJob:
    """The job whose body is running here."""

    id: str
    task: str
    attempt: int
    """Which attempt of its Retry's this is, from 1. Starts after a snooze or a crash are none."""
    enqueued_at: datetime | None = None
    """When it was submitted, the same at every attempt; None when its producer did not say."""
    reports: Reports | None = field(default=None, repr=False, compare=False)
    """Where it says how far it is; None: nobody listens."""

    def progress(self, done: SupportsFloat, total: SupportsFloat | None = None, note: str | None = None) -> None:
        """Says how far the body is, for whoever watches. It takes microseconds, and waits for nobody.

        The last report stands; up to four a second reach the ledger, and the last one always. A report that makes no
        sense changes nothing and fails nothing: it is a warning in the log.

        Args:
            done: how much is done, in any unit; 0 or more, and of any kind of number: a Decimal or numpy's as well.
            total: how much there is; None: nobody knows.
            note: what it is at, in a few words; what is longer than 500 characters is cut.
        """
        told = as_number(done), as_number(total), note
        if problem := problem_of(*told):
            logger.warning("%s; the report is ignored", problem)
        elif self.reports is not None:
            self.reports.progress(*told)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it: then stop soon, or be stopped. It reads memory, and may be asked often."""
        return _cancellations(self.id)


_cancellations: Callable[[str], bool] = lambda id: False  # noqa: ARG005, E731
_running: ContextVar[RunningJob | None] = ContextVar("penstock_running_job", default=None)
_find_running: Callable[[], RunningJob | None] | None = None


def current_job() -> RunningJob | None:
    """The job whose body is running, or None outside of a worker.

    In a task of Celery's own (``@app.task``) as well, where outcomes are kept in the ledger.
    """
    found = _running.get()
    return _find_running() if found is None and _find_running is not None else found


def find_running_by(find: Callable[[], RunningJob | None]) -> None:
    """Has ``current_job`` find jobs of tasks that are not declared here; for workers."""
    global _find_running
    _find_running = find


@contextmanager
def running(job: RunningJob) -> Iterator[None]:
    """Marks the job whose body runs inside; for workers."""
    token = _running.set(job)
    try:
        yield
    finally:
        _running.reset(token)


def watch_cancellations(is_cancelled: Callable[[str], bool]) -> None:
    """Says who knows whether a job, by its id, that runs in this process is cancelled; for workers."""
    global _cancellations
    _cancellations = is_cancelled


@dataclass(frozen=True, eq=False)
class Task(Generic[P, R]):
    """A declared task: call it to run the body here, ``enqueue`` it to have a worker run it."""

    name: str
    function: Callable[P, R]
    defaults: Options
    signature: inspect.Signature = field(repr=False)
    _fits: _Fit = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fits", _Fit(self.signature))

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.function.__doc__

    @property
    def is_async(self) -> bool:
        """Whether the body is an ``async def``."""
        return isinstance(self, AsyncTask)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the body in this process, now."""
        return self.function(*args, **kwargs)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Submits a job.

        Raises:
            ArgumentError: the arguments do not fit, or have no form as JSON; nothing was sent.
            BrokerUnavailable: Redis did not take the job; it was not accepted.
        """
        return _send(self, self.defaults, args, kwargs)

    delay = enqueue
    """Celery's word for it."""

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """:meth:`enqueue` for coroutines: the event loop goes on while Redis has the job."""
        return await _asend(self, self.defaults, args, kwargs)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundCall[R]:
        """A call for :func:`penstock.enqueue_many`; nothing is checked or sent yet."""
        return BoundCall(self, self.defaults, args, kwargs)

    @names_options
    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        expires: float | None = None,
        schedule_timeout: float | None = None,
        delay: float | None = None,
        at: datetime | None = None,
        tags: Iterable[str] | None = None,
        session: AnySession | None = None,
    ) -> Submission[P, R]:
        """The same task with other options for the next job: ``task.options(delay=60).enqueue(...)``.

        Args:
            queue: queue instead of the declared one.
            priority: 0 (first) to 9 (last).
            expires: seconds after which a job that has not started is cancelled.
            schedule_timeout: seconds that it may wait for a worker once it may start, see :func:`task`.
            delay: seconds to wait before it may start.
            at: time, with a zone, before which it may not start.
            tags: words to find the job by, instead of the declared ones; at most 10 of up to 64 characters.
            session: SQLAlchemy's, synchronous or not, of the ledger's database: the job exists if and only if its
                transaction commits; see docs/outbox.md.

        Raises:
            DeclarationError: an option is out of its bounds.
            UnknownOption: there is no such option.
        """
        given = {
            "queue": queue,
            "priority": priority,
            "expires": expires,
            "schedule_timeout": schedule_timeout,
            "delay": delay,
            "at": at,
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if tags is not None:
            changes["tags"] = tagging.given(tags)
        return Submission(self, replace(self.defaults, **changes), session)

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """A Celery signature for canvas (chain, group, chord); loads Celery. Arguments may be partial."""
        from celery import signature

        args, kwargs = self.written(args, kwargs)
        return signature(self.name, args=args, kwargs=kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """An immutable Celery signature: the result of the job before it is not passed on."""
        from celery import signature

        args, kwargs = self.written(args, kwargs)
        return signature(self.name, args=args, kwargs=kwargs, immutable=True)

    def check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raises ArgumentError when the arguments do not fit the body's parameters."""
        if self._fits(args, kwargs):
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self.name}{self.signature}: {error}") from None

    @cached_property
    def conversion(self) -> Conversion | None:
        """How arguments and results become JSON and come back; None when all of them are JSON by themselves.

        Made at the first use: only then every class that an annotation names has been declared.
        """
        from penstock.codec.conversion import conversion_of

        return conversion_of(self.name, self.function, self.signature)

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The arguments of a message as the body takes them.

        Raises:
            ArgumentError: they do not fit.
        """
        self.check_arguments(args, kwargs)
        conversion = self.conversion
        return (args, kwargs) if conversion is None else conversion.decode(args, kwargs)

    def written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """Arguments as JSON that need not be all of them, or have places for the time of a fire.

        Raises:
            ArgumentError: one has no form as JSON.
        """
        if self.conversion is None:
            return tuple(args), dict(kwargs)
        from penstock.codec.values import plain_call

        return plain_call(self.name, args, kwargs)


class AsyncTask(Task[P, R]):
    """A declared task whose body is an ``async def``. Workers of every kind run it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """The body's coroutine; await it to run it here."""
        return self.function(*args, **kwargs)  # type: ignore[return-value]


@dataclass(frozen=True)
class Submission(Generic[P, R]):
    """A task with the options of one call."""

    task: Task[P, R]
    chosen: Options
    session: AnySession | None = None

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Submits a job with these options; see :meth:`Task.enqueue`.

        Raises:
            OutboxError: the session cannot take the job.
        """
        return _send(self.task, self.chosen, args, kwargs, self.session)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """:meth:`enqueue` for coroutines, and for sessions that have to be awaited."""
        return await _asend(self.task, self.chosen, args, kwargs, self.session)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundCall[R]:
        """A call with these options for :func:`penstock.enqueue_many`.

        Raises:
            DeclarationError: the options have a session.
        """
        if self.session is not None:
            raise DeclarationError("a bound call has no session; give it to enqueue_many(..., session=session)")
        return BoundCall(self.task, self.chosen, args, kwargs)


class BoundCall(NamedTuple, Generic[R]):
    """A task with its arguments and options, to be submitted with many others."""

    task: Task[..., R]
    options: Options
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Fit:
    """A quick test that says yes to arguments that surely fit; ``Signature.bind``, which can say why not, is slow."""

    def __init__(self, signature: inspect.Signature) -> None:
        parameters = signature.parameters.values()
        positional = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        named = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
        is_plain = len(positional) + len(named) == len(parameters)
        # By the number of positional arguments: the parameters that may follow by name, and those that must.
        left = [(*positional[given:], *named) for given in range(len(positional) + 1)] if is_plain else []
        self._allowed = [{each.name for each in those} for those in left]
        self._required = [{each.name for each in those if each.default is each.empty} for those in left]

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        given = len(args)
        if given >= len(self._allowed):
            return False
        required = self._required[given]
        return required <= kwargs.keys() <= self._allowed[given] if kwargs else not required


class Declare(Protocol):
    """What :func:`task` returns: makes a task of a function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


@names_options
def task(
    *,
    queue: str = DEFAULT_QUEUE,
    retry: Retry | None = None,
    breaker: Breaker | None = None,
    timeout: float | None = None,
    expires: float | None = None,
    schedule_timeout: float | None = None,
    priority: int = 0,
    tags: Iterable[str] = (),
    name: str | None = None,
) -> Declare:
    """Declares a task: a ``def``, or an ``async def``.

    Args:
        queue: where its jobs wait.
        retry: when to try again; None fails at the first error.
        breaker: when its jobs are not started for a while, because they keep failing; None: never.
        timeout: seconds that an attempt may take; then the body gets ``SoftTimeLimitExceeded``.
        expires: seconds after enqueueing from which a job that has not started is cancelled.
        schedule_timeout: seconds that a job may wait for a worker once it may start: after its ``delay`` or ``at``, and
            anew after the pause of each retry and snooze. Then it is cancelled, with the reason ``expired``.
        priority: 0 (first) to 9 (last) within the queue.
        tags: words to find its jobs by, at most 10 of up to 64 characters: ``tags=["nightly"]``.
        name: instead of ``module.function``; keep it when you move the function.

    Raises:
        DeclarationError: an option is out of its bounds, the body cannot be a task, or the name is taken.
        UnknownOption: there is no such option.
    """
    defaults = Options(
        queue=queue,
        retry=retry,
        breaker=breaker,
        timeout=timeout,
        expires=expires,
        schedule_timeout=schedule_timeout,
        priority=priority,
        tags=tagging.given(tags),
    )

    def declare(function: Callable[..., Any], /) -> Any:
        _check_body(function)
        chosen = name or f"{function.__module__}.{function.__qualname__}"
        kind = AsyncTask if inspect.iscoroutinefunction(function) else Task
        declared: Task[..., Any] = kind(chosen, function, defaults, inspect.signature(function))
        _register(declared)
        return declared

    return declare


def _check_body(function: Callable[..., Any]) -> None:
    if not inspect.isfunction(function):
        raise DeclarationError(f"{function!r}: a task is a function; write @task(...) with parentheses above a def")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(f"{function.__qualname__}: a task returns once; collect what it would yield")
    if "<locals>" in function.__qualname__ or function.__name__ == "<lambda>":
        raise DeclarationError(f"{function.__qualname__}: declare it at module level, where a worker can import it")


_declared: dict[str, Task[..., Any]] = {}
_listeners: list[Callable[[Task[..., Any]], None]] = []
_senders: tuple[Sender, AsyncSender] | None = None


def _register(declared: Task[..., Any]) -> None:
    known = _declared.get(declared.name)
    if known is not None and _place(known) != _place(declared):
        raise DeclarationError(f"{declared.name}: another task has this name; give one of them name=...")
    _declared[declared.name] = declared
    for listener in _listeners:
        listener(declared)


def _place(declared: Task[..., Any]) -> tuple[str, str]:
    return declared.function.__module__, declared.function.__qualname__


def declared_tasks() -> dict[str, Task[..., Any]]:
    """Every task declared so far, by name."""
    return dict(_declared)


def declared_task(name: str) -> Task[..., Any] | None:
    """The task of this name, if it has been declared here."""
    return _declared.get(name)


def on_declared(listener: Callable[[Task[..., Any]], None]) -> None:
    """Calls ``listener`` with every task declared so far and from now on."""
    for declared in _declared.values():
        listener(declared)
    _listeners.append(listener)


def register_sender(sender: Sender, asynchronous: AsyncSender) -> None:
    """Makes these the ones through which ``enqueue`` and ``aenqueue`` submit."""
    global _senders
    _senders = sender, asynchronous


def _send(
    declared: Task[..., R],
    options: Options,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    session: AnySession | None = None,
) -> Job[R]:
    send, _ = _checked(declared, args, kwargs)
    return send(declared, options, args, kwargs, session)


async def _asend(
    declared: Task[..., R],
    options: Options,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    session: AnySession | None = None,
) -> Job[R]:
    _, asend = _checked(declared, args, kwargs)
    return await asend(declared, options, args, kwargs, session)


def _checked(declared: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sender, AsyncSender]:
    """The senders, once it is certain that the arguments fit."""
    if _senders is None:
        raise DeclarationError("nothing can send jobs yet; import penstock before you enqueue")
    declared.check_arguments(args, kwargs)
    return _senders
