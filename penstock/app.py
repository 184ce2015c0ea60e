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
from penstock.ledger import collecting
from penstock.ledger.backend import VERDICT
from penstock.ledger.records import Verdict
from penstock.message import ENQUEUED_AT, TAGS
from penstock.profile import Profile, distinct
from penstock.profile_option import ProfileOption
from penstock.scheduler.schedule import Schedule
from penstock.task import RunningJob, Task, declared_tasks, on_declared, running


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

    def add_twin(declared: Task[..., Any]) -> None:
        if app.finalized:
            app.register_task(TaskTwin(declared))

    def add_twins(**_: Any) -> None:
        on_declared(add_twin)

    # Made when Celery finalizes the app: making a twin reads the configuration, and importing must stay cheap.
    app.on_after_finalize.connect(add_twins, weak=False)
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

    def __init__(self, declared: Task[..., Any]) -> None:
        self.declared = declared
        self.name = declared.name
        self.__doc__ = declared.__doc__
        self.__module__ = declared.function.__module__
        self.queue = declared.defaults.queue
        self.priority = declared.defaults.priority
        self.expires = declared.defaults.expires
        self.time_limit, self.soft_time_limit = client.time_limits(declared.defaults)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the body and repeats it as the task's Retry says."""
        if getattr(self.request, VERDICT, Verdict.WON) is not Verdict.WON:
            raise Ignore  # Cancelled meanwhile, or a second delivery: the ledger keeps the end that it has.
        self.declared.check_arguments(args, kwargs)
        if (conversion := self.declared.conversion) is not None:
            args, kwargs = conversion.decode(args, kwargs)
        retry = self.declared.defaults.retry
        attempt = self.request.retries + 1
        id = self.request.id
        job = RunningJob(id, self.name, attempt, _enqueued_at(self.request), collecting.current_of(id))
        with running(job):
            try:
                result = self._call(*args, **kwargs)
            except (TaskPredicate, TimeLimitExceeded):
                raise  # Celery's own Retry, Ignore and Reject are answers; after a hard limit nothing is tried again.
            except Exception as error:
                if retry is None or not isinstance(error, retry.on):
                    raise
                pause = retry.pause(attempt, error)
                raise self.retry(exc=error, countdown=pause, max_retries=retry.attempts - 1) from error
        # Outside of what is retried: the body has done its work, and a second time would return the same.
        return result if conversion is None else conversion.encode_result(result)

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
        """Celery's; refuses arguments that do not fit the body, as ``enqueue`` does, and has the declared tags.

        Arguments may be JSON already: what Celery sends by itself (retries, the members of a chain) is.
        """
        args, kwargs = self._written(args, kwargs)
        if tags := self.declared.defaults.tags:
            options["headers"] = {TAGS: list(tags), **(options.get("headers") or {})}
        return super().apply_async(args, kwargs, *rest, **options)

    def apply(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Celery's: runs the task here, with the arguments that a worker would get."""
        return super().apply(*self._written(args, kwargs), *rest, **options)

    def _written(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs, declared = tuple(args or ()), dict(kwargs or {}), self.declared
        declared.check_arguments(args, kwargs)
        return (args, kwargs) if declared.conversion is None else declared.conversion.encode_either(args, kwargs)


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
