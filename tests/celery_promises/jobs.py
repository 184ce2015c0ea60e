"""The tasks of both applications: plain shared tasks that know nothing of the engine beneath them."""

import os
import signal
import time
from typing import Any

from celery import Task, chain, current_task, group, shared_task
from celery.backends.base import DisabledBackend
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.result import allow_join_result
from celery.utils.log import get_task_logger
from celery.worker.request import Request

from tests.celery_promises import notes

logger = get_task_logger(__name__)

READABLE = (
    "id",
    "root_id",
    "parent_id",
    "group",
    "hostname",
    "retries",
    "eta",
    "expires",
    "headers",
    "correlation_id",
    "origin",
    "shadow",
    "argsrepr",
    "kwargsrepr",
    "timelimit",
    "reply_to",
    "is_eager",
    "called_directly",
    "delivery_info",
    "args",
    "kwargs",
    "stamps",
    "stamped_headers",
    "ignore_result",
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "group_index",
    "replaced_task_nesting",
)


class Unlucky(Exception):
    """What failing tasks raise."""


@shared_task
def add(x: Any, y: Any) -> Any:
    """Add two things."""
    return x + y


@shared_task(acks_late=False)
def add_early(x: Any, y: Any) -> Any:
    """The same, acknowledged before it starts."""
    return x + y


@shared_task
def total(numbers: list[int]) -> int:
    """The sum of a list, as chords ask for it."""
    return sum(numbers)


@shared_task
def echo(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": args, "kwargs": kwargs}


@shared_task(name="promises.a_name_of_its_own")
def named() -> str:
    return "named"


@shared_task
def routed_by_name() -> str:
    return "by name"


@shared_task
def routed_by_glob_pattern() -> str:
    return "by glob"


@shared_task(bind=True)
def context(self: Any) -> dict[str, Any]:
    """What a running task can read about itself."""
    request = self.request
    return {name: getattr(request, name, None) for name in READABLE} | {"task": self.name}


@shared_task
def note(key: str, text: Any = None) -> Any:
    """Notes that it ran, and when."""
    notes.write(key, {"text": text, "at": time.time(), "pid": os.getpid()})
    return text


@shared_task(bind=True)
def hold(self: Any, key: str, value: Any = None) -> Any:
    """Runs until the test lets it go on."""
    _hold(self, key)
    return value


@shared_task(bind=True, acks_late=True)
def hold_late(self: Any, key: str, value: Any = None) -> Any:
    """The same, acknowledged when it ends."""
    _hold(self, key)
    return value


@shared_task(bind=True, acks_late=True, reject_on_worker_lost=True)
def hold_rejecting(self: Any, key: str) -> None:
    """The same, to be run again when its process is lost."""
    _hold(self, key)


@shared_task(bind=True, acks_late=False)
def hold_early(self: Any, key: str) -> None:
    """The same, acknowledged before it starts, and says so."""
    _hold(self, key)


@shared_task(bind=True, track_started=True)
def hold_tracked(self: Any, key: str, value: Any = None) -> Any:
    """The same, with its start recorded."""
    _hold(self, key)
    return value


def _hold(task: Any, key: str) -> None:
    info = task.request.delivery_info or {}
    notes.write(key, {"id": task.request.id, "pid": os.getpid(), "redelivered": info.get("redelivered")})
    notes.wait(key)


@shared_task
def fail(text: str = "no luck") -> None:
    raise Unlucky(text)


@shared_task
def fail_as_value_error(text: str) -> None:
    raise ValueError(text)


@shared_task(ignore_result=True)
def forgotten(key: str) -> str:
    notes.write(key, "ran")
    return "a result that nobody keeps"


@shared_task(ignore_result=True, store_errors_even_if_ignored=True)
def forgotten_unless_it_fails() -> None:
    raise Unlucky("kept")


@shared_task(bind=True)
def report_progress(self: Any, key: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 50})
    notes.wait(key)
    return "done"


@shared_task(bind=True)
def ignores_itself(self: Any, key: str) -> None:
    self.update_state(state="CUSTOM", meta={"left": "as it is"})
    notes.write(key, "ran")
    raise Ignore


@shared_task(bind=True, acks_late=True)
def rejects_itself(self: Any, key: str) -> None:
    notes.write(key, self.request.id)
    raise Reject("no thanks", requeue=False)


@shared_task(bind=True, acks_late=True)
def rejects_itself_once(self: Any, key: str) -> str:
    """Asks to be delivered again the first time."""
    info = self.request.delivery_info or {}
    notes.write(key, {"id": self.request.id, "redelivered": info.get("redelivered")})
    if len(notes.read(notes.database(), key)) == 1:
        raise Reject("not now", requeue=True)
    return "the second time"


@shared_task(acks_late=True, acks_on_failure_or_timeout=False)
def fails_without_ack(key: str) -> None:
    notes.write(key, "ran")
    raise Unlucky("not acknowledged")


@shared_task(bind=True, max_retries=2, default_retry_delay=0)
def retries(self: Any, key: str) -> None:
    """Fails each time, asking for another try."""
    notes.write(key, {"id": self.request.id, "retries": self.request.retries, "at": time.time()})
    raise self.retry(exc=Unlucky("every time"))


@shared_task(bind=True, max_retries=1, default_retry_delay=0)
def retries_without_cause(self: Any) -> None:
    raise self.retry()


@shared_task(bind=True, max_retries=5)
def retries_with(self: Any, key: str, times: int, options: dict[str, Any]) -> dict[str, Any]:
    """Retries so often with these options, and returns how its last attempt looked."""
    request = self.request
    notes.write(key, {"id": request.id, "retries": request.retries, "at": time.time()})
    if request.retries < times:
        raise self.retry(exc=Unlucky("again"), **options)
    return {"retries": request.retries, "delivery_info": request.delivery_info, "headers": request.headers}


@shared_task(bind=True, max_retries=5)
def retries_with_other_arguments(self: Any, number: int) -> int:
    if self.request.retries == 0:
        raise self.retry(args=(number + 1,), countdown=0)
    return number


@shared_task(bind=True, max_retries=3)
def goes_on_after_retry(self: Any, key: str) -> str:
    """Does something else after it has asked for another try."""
    if self.request.retries == 0:
        self.retry(throw=False, countdown=0)
        notes.write(key, "went on")
    return "ended"


@shared_task(bind=True, max_retries=None)
def retries_for_ever(self: Any) -> int:
    attempt: int = self.request.retries
    if attempt < 5:
        raise self.retry(countdown=0)
    return attempt


@shared_task(bind=True, autoretry_for=(Unlucky,), retry_kwargs={"max_retries": 2, "countdown": 0})
def retries_by_itself(self: Any, key: str) -> None:
    notes.write(key, self.request.retries)
    raise Unlucky("every time")


@shared_task(bind=True, autoretry_for=(Exception,), dont_autoretry_for=(Unlucky,), default_retry_delay=0)
def does_not_retry_by_itself(self: Any, key: str) -> None:
    notes.write(key, self.request.retries)
    raise Unlucky("at once")


@shared_task(bind=True, autoretry_for=(Unlucky,), retry_backoff=1, retry_jitter=False, max_retries=2)
def backs_off(self: Any, key: str) -> None:
    notes.write(key, time.time())
    raise Unlucky("slower and slower")


@shared_task(bind=True, autoretry_for=(Unlucky,), retry_backoff=500, retry_backoff_max=7, retry_jitter=False)
def backs_off_to_a_limit(self: Any) -> None:
    raise Unlucky("not that slow")


@shared_task(bind=True, autoretry_for=(Unlucky,), retry_backoff=1000, retry_backoff_max=1000, retry_jitter=True)
def backs_off_with_jitter(self: Any) -> None:
    raise Unlucky("at some time")


@shared_task(soft_time_limit=0.3)
def catches_its_soft_limit() -> str:
    try:
        time.sleep(20)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never told"


@shared_task(soft_time_limit=0.3)
def hits_its_soft_limit() -> None:
    time.sleep(20)


@shared_task(time_limit=0.4)
def hits_its_hard_limit(key: str) -> None:
    notes.write(key, os.getpid())
    time.sleep(20)


@shared_task
def sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@shared_task(rate_limit="4/s")
def at_most_four_a_second(key: str) -> None:
    notes.write(key, time.time())


@shared_task
def without_rate_limit(key: str) -> None:
    notes.write(key, time.time())


@shared_task(bind=True)
def dies(self: Any, key: str) -> str:
    """Kills its own process the first time, as the kernel does when memory runs out."""
    notes.write(key, os.getpid())
    if len(notes.read(notes.database(), key)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@shared_task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_and_asks_for_another_try(self: Any, key: str) -> str:
    notes.write(key, os.getpid())
    if len(notes.read(notes.database(), key)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@shared_task(bind=True)
def place(self: Any, key: str) -> Any:
    """Runs until the test lets it go on, and returns the name of the worker."""
    notes.write(key, self.request.id)
    notes.wait(key)
    return self.request.hostname


@shared_task
def process_id() -> int:
    return os.getpid()


@shared_task
def on_result(result: Any, key: str) -> None:
    """A callback."""
    notes.write(key, result)


@shared_task
def on_error(request: Any, exc: BaseException, traceback: str, key: str) -> None:
    """An error callback of the kind with three arguments."""
    notes.write(key, {"id": request.id, "exc": repr(exc), "traceback": traceback})


@shared_task
def on_error_by_id(task_id: str, key: str) -> None:
    """An error callback of the kind with the failed task's id."""
    notes.write(key, task_id)


@shared_task(bind=True)
def replaced_by(self: Any, number: int) -> Any:
    raise self.replace(add.s(number, 10))


@shared_task(bind=True)
def replaced_by_chain(self: Any, number: int) -> Any:
    raise self.replace(chain(add.s(number, 10), add.s(100)))


@shared_task(bind=True)
def replaced_by_group(self: Any, number: int) -> Any:
    raise self.replace(group(add.s(number, i) for i in range(3)))


@shared_task(bind=True)
def adds_to_chord(self: Any, number: int) -> int:
    self.add_to_chord(add.s(number, 100))
    return number


@shared_task
def expands(numbers: list[int]) -> Any:
    """Starts children of its own."""
    for number in numbers:
        add.delay(number, number)
    return len(numbers)


@shared_task
def starts_child() -> str:
    child: str = context.delay().id
    return child


@shared_task
def starts_child_that_notes_its_priority(key: str) -> None:
    notes_its_priority.apply_async((key,))


@shared_task(bind=True)
def notes_its_priority(self: Any, key: str) -> None:
    notes.write(key, self.request.delivery_info["priority"])


@shared_task
def waits_for_child() -> Any:
    return add.delay(1, 1).get(timeout=10)


@shared_task
def waits_for_child_knowingly() -> Any:
    with allow_join_result():
        return add.delay(1, 1).get(timeout=10)


@shared_task
def unserialisable() -> Any:
    return object()


@shared_task
def describes(value: Any) -> str:
    """Name of the argument's type after its way through JSON."""
    return type(value).__name__


@shared_task(bind=True, typing=False)
def untyped(self: Any, *args: Any) -> int:
    return len(args)


@shared_task(bind=True)
def records_group(self: Any) -> Any:
    return self.request.group


@shared_task(bind=True)
def tells(self: Any, text: str) -> None:
    self.send_event("task-progress", text=text)


class Hooked(Task):
    """Notes which of its hooks are called, in which try, with what."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self._note("before_start", task_id, args, kwargs)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self._note("on_success", task_id, args, kwargs, retval=retval)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._note("on_failure", task_id, args, kwargs, exc=repr(exc), einfo=str(einfo))

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._note("on_retry", task_id, args, kwargs, exc=repr(exc), einfo=str(einfo))

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._note("after_return", task_id, args, kwargs, status=status, retval=repr(retval))

    def _note(self, hook: str, task_id: str, args: Any, kwargs: Any, **more: Any) -> None:
        fields = {"hook": hook, "id": task_id, "args": list(args), "kwargs": kwargs, "try": self.request.retries}
        notes.write(args[0], fields | more)


@shared_task(bind=True, base=Hooked, max_retries=1)
def hooked(self: Any, key: str, how: str = "", *, seconds: float = 0) -> str:
    """Ends as it is told to."""
    self._note("body", self.request.id, self.request.args, self.request.kwargs)
    time.sleep(seconds)
    if how == "fail":
        raise Unlucky("hooked")
    if how == "retry" and not self.request.retries:
        raise self.retry(exc=Unlucky("once more"), countdown=0)
    return "returned"


class Counting(Task):
    """Counts in an attribute of its own."""

    abstract = True

    def __init__(self) -> None:
        super().__init__()
        self.ran = 0


@shared_task(bind=True, base=Counting)
def counts(self: Any) -> dict[str, int]:
    self.ran += 1
    return {"pid": os.getpid(), "ran": self.ran}


class Watchful(Request):
    """A request that notes what becomes of its task."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        super().on_timeout(soft, timeout)
        notes.write(f"watched:{self.id}", ["on_timeout", bool(soft), timeout])

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        notes.write(f"watched:{self.id}", ["on_failure", type(exc_info.exception).__name__])


class Watched(Task):
    """Has requests of that kind."""

    abstract = True
    Request = Watchful


@shared_task(base=Watched)
def watched(seconds: float = 0, text: str = "") -> float:
    time.sleep(seconds)
    if text:
        raise Unlucky(text)
    return seconds


class Broken(DisabledBackend):
    """Takes no results, and not quietly."""

    def mark_as_done(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("the result cannot be kept")


class Unkept(Task):
    """Has a result backend of that kind."""

    abstract = True

    @property
    def backend(self) -> Broken:
        return Broken(app=self.app)


@shared_task(base=Unkept)
def meets_an_internal_error(number: int, *, more: str) -> int:
    return number


@shared_task(throws=(KeyError,))
def throws(name: str) -> None:
    raise KeyError(name)


@shared_task
def reads_current_task() -> dict[str, Any]:
    return {"id": current_task.request.id, "name": current_task.name}


@shared_task
def logs(text: str) -> None:
    logger.warning(text)


@shared_task
def prints(text: str) -> None:
    print(text)


@shared_task(bind=True, acks_late=True, time_limit=0.4, acks_on_timeout=False)
def comes_back_after_its_limit(self: Any, key: str) -> str:
    info = self.request.delivery_info or {}
    notes.write(key, {"id": self.request.id, "redelivered": info.get("redelivered")})
    if len(notes.read(notes.database(), key)) == 1:
        time.sleep(20)
    return "the second time"


@shared_task(bind=True)
def sets_state_of(self: Any, task_id: str) -> None:
    self.update_state(task_id=task_id, state="PROGRESS", meta={"by": self.request.id})


@shared_task(bind=True)
def replaced_by_context(self: Any) -> Any:
    raise self.replace(context.s())


@shared_task(bind=True)
def logs_and_holds(self: Any, key: str) -> None:
    logger.warning("from its process")
    _hold(self, key)
