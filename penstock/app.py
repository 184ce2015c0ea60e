"""The Celery app of a deployment: Celery's own, with our tasks, timetable and settings on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import celery
from celery import signals
from celery._state import _task_stack
from celery.exceptions import Ignore, TaskPredicate, TimeLimitExceeded
from kombu import Exchange, Queue

from penstock import client, coroutines
from penstock.adoption import SCHEDULER, adopt
from penstock.checks import require_servers
from penstock.config import Settings
from penstock.errors import PenstockError
from penstock.expiry import expiry_of_send
from penstock.job import Reason
from penstock.ledger import collecting
from penstock.ledger.backend import REASON, VERDICT
from penstock.ledger.records import Verdict
from penstock.ledger.values import as_time
from penstock.message import ENQUEUED_AT, FIRST_DUE, SCHEDULE_TIMEOUT, TAGS
from penstock.profile import Profile, distinct
from penstock.profile_option import ProfileOption
from penstock.retrying import Again, Decision, Tries, decision_in
from penstock.scheduler.schedule import Schedule
from penstock.task import RunningJob, Task, declared_tasks, running

FIRST = Tries(attempt=1)


class PenstockApp(celery.Celery):
    """A Celery app that knows its deployment: settings, worker profiles and timetable."""

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        profiles: Sequence[Profile],
        schedules: Sequence[Schedule],
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self.settings = settings
        self.profiles = distinct(profiles)
        self.schedules = tuple(schedules)
        self.user_options["worker"].add(ProfileOption(self.profiles))

    @cached_property
    def Beat(self) -> type:
        """Celery's beat, which has no signal that comes before it opens its files."""
        from celery.apps.beat import Beat

        class CheckedBeat(Beat):
            def run(self) -> None:
                _stop_unless_ready(self.app)
                super().run()

        return self.subclass_with_self(CheckedBeat)  # type: ignore[no-any-return]


def make_app(
    name: str,
    *,
    settings: Settings,
    config: object = "celeryconfig",
    profiles: Sequence[Profile] = (),
    schedules: Sequence[Schedule] = (),
) -> PenstockApp:
    """The app that ``celery -A`` finds. Opens no connection.

    Args:
        name: the app's main module, for task names that Celery makes up.
        settings: the deployment's settings; producers in this process use them as well.
        config: module, or object, with Celery's settings.
        profiles: the kinds of workers of this deployment, for ``worker --profile NAME``.
        schedules: what beat starts.
    """
    app = PenstockApp(name, settings=settings, profiles=profiles, schedules=schedules)
    app.config_from_object(config)
    adopt(app)
    app.conf.beat_scheduler = SCHEDULER
    # Named, so that a worker without -Q serves them all and Flower's broker page lists them all.
    app.conf.task_queues = [
        Queue(name, Exchange(name), routing_key=name)
        for name in dict.fromkeys(queue for profile in profiles for queue in profile.queues)
    ]
    app.conf.task_routes = (route_declared,)
    client.configure(settings)
    return app


@contextmanager
def exit_with_sentence() -> Iterator[None]:
    """Around the making of an app that the command line imports: what a person can mend ends the process with its
    sentences, where Celery would show an import error with its whole traceback.
    """
    try:
        yield
    except PenstockError as error:
        raise SystemExit(f"penstock: {error}") from None


def route_declared(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """A Celery router for sends by name, as by `celery call`: a declared task waits on its declared queue."""
    declared = declared_tasks().get(name)
    return {"queue": declared.defaults.queue} if declared else None


class TaskTwin(celery.Task):
    """A declared task as Celery knows it, so that ``app.tasks[name].delay()``, canvas and Flower work."""

    def __new__(cls, *_: Any) -> TaskTwin:
        """Of a class of its own: Celery keeps a task's app with its class, and a process may have several apps."""
        made: TaskTwin = super().__new__(type(cls.__name__, (cls,), {}))
        return made

    def __init__(self, declared: Task[..., Any]) -> None:
        self.declared = declared
        self.name = declared.name
        self.__doc__ = declared.__doc__
        self.__module__ = declared.function.__module__
        self.queue = declared.defaults.queue
        self.priority = declared.defaults.priority
        self.expires = declared.defaults.expires
        self.throws = (Decision,)  # Celery logs them, and Sentry tells them, as what they are: no accidents.
        self.breaker = declared.defaults.breaker
        self.time_limit, self.soft_time_limit = client.time_limits(declared.defaults)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the body and repeats it as the task's Retry says."""
        if getattr(self.request, VERDICT, Verdict.WON) is not Verdict.WON:
            raise Ignore  # Cancelled meanwhile, or a second delivery: the ledger keeps the end that it has.
        self.declared.check_arguments(args, kwargs)
        if (conversion := self.declared.conversion) is not None:
            args, kwargs = conversion.decode(args, kwargs)
        retry = self.declared.defaults.retry
        tries = Tries.of(self.request.retries, self.request.get) if self.request.retries else FIRST
        if retry is not None and retry.deadline is not None:
            self.request.update({FIRST_DUE: _first_due(self.request).isoformat()})
        id = self.request.id
        job = RunningJob(id, self.name, tries.attempt, _enqueued_at(self.request), collecting.current_of(id))
        with running(job):
            try:
                result = self._call(*args, **kwargs)
            except (TaskPredicate, TimeLimitExceeded):
                raise  # Celery's own Retry, Ignore and Reject are answers; after a hard limit nothing is tried again.
            except Exception as error:
                if (decision := decision_in(error)) is not None:
                    raise decision from decision.__cause__
                again = retry.again(error, tries, self.name) if retry else None
                if again is None or self._is_too_late(again):
                    raise
                raise self._retry(error, again) from error
        # Outside of what is retried: the body has done its work, and a second time would return the same.
        return result if conversion is None else conversion.encode_result(result)

    def _is_too_late(self, again: Again) -> bool:
        """Whether the job's deadline forbids another attempt; then its row says so."""
        retry, first_due = self.declared.defaults.retry, self.request.get(FIRST_DUE)
        if retry is None or retry.deadline is None:
            return False
        is_too_late = retry.is_too_late(datetime.fromisoformat(first_due), again.pause)
        if is_too_late:
            self.request.update({REASON: Reason.DEADLINE})
        return is_too_late

    def _retry(self, error: Exception, again: Again) -> Any:
        """Celery's, which raises. Its own limit says nothing here: Retry has counted."""
        headers = {**(self.request.headers or {}), **again.headers}
        most = self.request.retries + 1
        return self.retry(exc=error, countdown=again.pause, max_retries=most, headers=headers)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if self.declared.is_async:
            return coroutines.run(self._as_current(self.request, self.declared(*args, **kwargs)))
        return self.declared.function(*args, **kwargs)

    async def _as_current(self, request: Any, body: Any) -> Any:
        """The body; Celery's ``current_task`` is this task inside of it, also in a thread that the tracer is not in."""
        if _task_stack.top is self:
            return await body
        _task_stack.push(self)
        self.request_stack.push(request)
        try:
            return await body
        finally:
            self.request_stack.pop()
            _task_stack.pop()

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Celery's; refuses arguments that do not fit the body, as ``enqueue`` does, and has the declared tags and
        schedule timeout.

        Arguments may be JSON already: what Celery sends by itself (retries, the members of a chain) is.
        """
        args, kwargs = self._written(args, kwargs)
        declared = self.declared.defaults
        headers = {TAGS: list(declared.tags)} if declared.tags else {}
        headers |= options.get("headers") or {}
        if options.get("retries") and (first_due := self.request.get(FIRST_DUE)):
            headers[FIRST_DUE] = first_due
        if declared.schedule_timeout is not None or SCHEDULE_TIMEOUT in headers:
            expiry = expiry_of_send({**options, "headers": headers}, declared.schedule_timeout, declared.expires)
            options["expires"] = expiry.at
            headers |= expiry.headers
        if headers:
            options["headers"] = headers
        return super().apply_async(args, kwargs, *rest, **options)

    def apply(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Celery's: runs the task here, with the arguments that a worker would get."""
        return super().apply(*self._written(args, kwargs), *rest, **options)

    def _written(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs, declared = tuple(args or ()), dict(kwargs or {}), self.declared
        declared.check_arguments(args, kwargs)
        return (args, kwargs) if declared.conversion is None else declared.conversion.encode_either(args, kwargs)


def _first_due(request: Any) -> datetime:
    """When a job might first start. What does not say when it was enqueued, of a stock producer's, starts just now."""
    if not request.retries:
        return as_time(request.eta) or _enqueued_at(request) or datetime.now(UTC)
    return as_time(request.get(FIRST_DUE)) or _enqueued_at(request) or datetime.now(UTC)


def _enqueued_at(request: Any) -> datetime | None:
    """The time from the message's header, which anyone may have written; nonsense counts as absent."""
    try:
        moment = datetime.fromisoformat(request.get(ENQUEUED_AT))
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@signals.celeryd_init.connect(weak=False)
def _check_worker(instance: Any = None, **_: Any) -> None:
    _stop_unless_ready(instance.app)


def _stop_unless_ready(app: celery.Celery) -> None:
    """Ends the process with one message before anything is half-started; afterwards outages are waited out."""
    if not isinstance(app, PenstockApp):
        return
    with exit_with_sentence():
        require_servers(app.settings)
