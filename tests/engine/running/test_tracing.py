"""The tracer of tasks that nobody has hooked into: when it is taken, and that it does what Celery's does."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, Task, signals, states
from celery.app import trace
from celery.exceptions import Ignore, Reject, Retry
from celery.loaders.app import AppLoader
from celery.utils.threads import _FastLocalStack as FastLocalStack

from penstock.engine.running import quickening, tracing
from penstock.engine.running.tracing import Traced, quick_tracer
from penstock.ledger import collecting

pytestmark = pytest.mark.usefixtures("_in_a_child")
LEDGER = "penstock.ledger.backend:LedgerBackend+sqlite://"
HOOKS = {"before_start", "on_success", "on_failure", "on_retry", "after_return", "__call__"}


def application(backend: str = LEDGER, **settings: Any) -> Celery:
    app = Celery("tracing", broker="memory://", backend=backend, set_as_current=False)
    app.conf.update(settings)
    return app


NO_JSON = object()


def nothing() -> None:
    """A body."""


def declared(app: Celery, body: Callable[..., Any], base: type[Task] = Task, **options: Any) -> Any:
    """The task, traced as in a child."""
    app.task(base=base, name="traced", shared=False, **options)(body)
    app.finalize()
    task = app.tasks["traced"]
    task.__trace__ = trace.build_tracer("traced", task, app.loader, "here", app=app)
    return task


def is_quick(task: Any) -> bool:
    return quick_tracer(task, task.app) is not task.__trace__


def test_a_task_without_hooks_is_traced_quickly() -> None:
    assert is_quick(declared(application(), nothing))


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_task_whose_class_has_a_hook_is_celerys(hook: str) -> None:
    base = type("Hooked", (Task,), {hook: lambda *_, **__: None, "abstract": True})
    assert not is_quick(declared(application(), nothing, base))


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_task_that_was_given_a_hook_is_celerys(hook: str) -> None:
    task = declared(application(), nothing)
    setattr(task, hook, lambda *_, **__: None)
    assert not is_quick(task)


def test_a_tracer_of_somebody_elses_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    task = declared(application(), nothing)
    monkeypatch.setattr(trace, "build_tracer", lambda *_, **__: None)
    assert not is_quick(task)


def test_a_tracer_that_was_replaced_before_the_worker_began_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    task = declared(application(), nothing)

    def theirs(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(trace, "build_tracer", theirs)
    monkeypatch.setattr(tracing, "_BUILD", theirs)
    assert not is_quick(task)


def test_a_loader_that_looks_at_each_task_is_asked() -> None:
    class Loader(AppLoader):  # type: ignore[misc]
        def on_task_init(self, task_id: str, task: Any) -> None: ...

    app = Celery("tracing", broker="memory://", backend=LEDGER, loader=Loader, set_as_current=False)
    assert not is_quick(declared(app, nothing))


def test_another_backend_is_told_by_celerys() -> None:
    assert not is_quick(declared(application("cache+memory://"), nothing))


def test_a_worker_that_looks_for_successes_before_it_runs_a_job_is_celerys() -> None:
    assert not is_quick(declared(application(worker_deduplicate_successful_tasks=True), nothing))


def test_a_backend_that_somebody_has_extended_is_told_by_celerys() -> None:
    task = declared(application(), nothing)
    assert is_quick(task)
    told: list[Any] = []
    task.backend.mark_as_done = lambda *given, **_: told.append(given)
    assert not is_quick(task)


def test_whoever_has_to_log_successes_is_celerys(monkeypatch: pytest.MonkeyPatch) -> None:
    task = declared(application(), nothing)
    monkeypatch.setattr(trace.logger, "level", logging.INFO)
    trace.logger.manager._clear_cache()  # type: ignore[attr-defined]
    assert quick_tracer(task, task.app, logs_success=True) is task.__trace__
    monkeypatch.setattr(trace.logger, "level", logging.WARNING)
    trace.logger.manager._clear_cache()  # type: ignore[attr-defined]
    assert quick_tracer(task, task.app, logs_success=True) is not task.__trace__


def test_a_body_that_is_replaced_later_is_the_one_that_runs() -> None:
    task = declared(application(), nothing)
    quick = quick_tracer(task, task.app)
    task.run = lambda: 8
    assert run(quick, "1")[0][0] == 8


def test_a_body_may_ask_for_what_follows_as_with_celerys() -> None:
    app = application()

    def asks(self: Any) -> int:
        self.request.chain = [self.s(3), self.s(2)]
        self.request.callbacks = [self.s(1)]
        return 7

    task = declared(app, asks, bind=True)
    sent: list[Any] = []
    app.amqp._retry_publish = lambda call, args, **options: sent.append((call.__self__.args, args, options))
    (_, _, _, shown), told = run(task.__trace__, "1")
    by_celerys = list(sent)
    sent.clear()
    (_, _, _, quick_shown), quickly_told = run(quick_tracer(task, app), "1")
    assert (sent, quick_shown, quickly_told.success) == (by_celerys, shown, told.success)
    assert len(sent) == 2


@pytest.mark.parametrize("name", ["task_prerun", "task_postrun", "task_success"])
def test_whoever_listens_to_a_signal_hears_it_from_then_on(name: str) -> None:
    task, heard = declared(application(), nothing), []
    quick = quick_tracer(task, task.app)

    def listen(**_: Any) -> None:
        heard.append(name)

    run(quick, "1")
    signal = getattr(signals, name)
    signal.connect(listen)
    try:
        run(quick, "2")
    finally:
        signal.disconnect(listen)
    assert heard == [name]


def run(tracer: Any, id: str, *args: Any, **more: Any) -> tuple[Traced, collecting.Collection]:
    """One job by a tracer, and what it has told."""
    collection = collecting.Collection(id, is_on_the_books=True, keeps_success=True)
    mark = collecting.open(collection)
    try:
        told = tracer(id, list(args), {}, {"id": id, "task": "traced", "delivery_info": {}, "headers": None, **more})
    finally:
        collecting.close(mark)
    return told, collection


def ended(kind: str) -> Any:
    """A body that ends so."""
    if kind == "returns":
        return 7
    if kind == "returns what is no JSON":
        return NO_JSON
    raise {
        "retries": Retry("later", ValueError("soon"), 3),
        "is ignored": Ignore(),
        "is rejected": Reject("no"),
        "fails": ValueError("bad"),
        "runs out of memory": MemoryError(),
    }[kind]


KINDS = ("returns", "returns what is no JSON", "retries", "is ignored", "is rejected", "fails", "runs out of memory")


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_end_is_told_as_by_celerys(kind: str, ignores: bool) -> None:
    task = declared(application(), ended, ignore_result=ignores)
    (result, info, _, shown), told = run(task.__trace__, "1", kind)
    (quick_result, quick_info, _, quick_shown), quickly_told = run(quick_tracer(task, task.app), "1", kind)
    assert (type(quick_result), quick_shown) == (type(result), shown)
    assert (quick_info and quick_info.state) == (info and info.state)
    assert (quickly_told.has_succeeded, quickly_told.success) == (told.has_succeeded, told.success)
    assert [words(record) for record in quickly_told.records] == [words(record) for record in told.records]


def words(record: Any) -> Any:
    """What is the same in each run."""
    outcome = record.outcome
    failure = outcome.failure and (outcome.failure.message, outcome.failure.fingerprint)
    return record.step, outcome.state, outcome.reason, failure


def test_an_error_has_the_bodys_frames_in_its_traceback_and_none_of_celerys_errors() -> None:
    task = declared(application(), ended)
    (einfo, info, _, _), _ = run(quick_tracer(task, task.app), "1", "fails")
    assert info.state == states.FAILURE
    assert einfo.traceback.rstrip().endswith("ValueError: bad")
    assert "in ended" in einfo.traceback


def test_a_body_sees_its_request_and_itself() -> None:
    app, seen = application(), []

    def look(self: Any) -> None:
        request = self.request
        seen.append((request.id, request.called_directly, request.is_eager, request.time_limit, request.args))
        seen.append(app.current_worker_task is self)

    task = declared(app, look, bind=True)
    run(quick_tracer(task, app), "1", timelimit=[9, None])
    assert seen == [("1", False, False, 9, []), True]
    assert app.current_worker_task is None


def test_a_body_that_calls_its_own_task_gets_a_request_of_its_own_as_with_celerys() -> None:
    app, seen = application(), []

    def nested(self: Any, depth: int) -> None:
        seen.append((len(self.request_stack), self.request.id, list(self.request.args)))
        if depth:
            self(depth - 1)

    task = declared(app, nested, bind=True)
    run(task.__trace__, "1", 1)
    run(quick_tracer(task, app), "1", 1)
    assert seen == [(1, "1", [1]), (2, "1", [0])] * 2


def test_stacks_that_celery_has_made_cheap_itself_are_left_alone() -> None:
    """`USE_FAST_LOCALS`, a variable of Celery's."""
    stack = FastLocalStack()
    quickening._quicken_stack(stack)
    stack.push("one")
    assert stack.top == "one"


@pytest.mark.parametrize("more", [{"callbacks": ["x"]}, {"chain": ["x"]}, {"chord": {"x": 1}}])
def test_what_has_something_follow_is_celerys(more: dict[str, Any]) -> None:
    task, asked = declared(application(), nothing), []
    task.__trace__ = lambda *given: asked.append(given) or (None, None, 0, "")
    run(quick_tracer(task, task.app), "1", **more)
    assert len(asked) == 1


def test_after_an_error_nothing_is_left_of_the_job() -> None:
    app = application()
    task = declared(app, ended)
    with contextlib.suppress(Exception):
        run(quick_tracer(task, app), "1", "fails")
    assert app.current_worker_task is None
    assert task.request_stack.top is None
