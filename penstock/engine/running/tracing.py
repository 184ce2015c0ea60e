"""The tracer of tasks that nobody has hooked into.

Celery's tracer is where applications, Sentry, OpenTelemetry and New Relic hook in: by signals, by methods of a task, by
a tracer of their own in its place. For a task that has none of these it does nothing but run it, and takes longer over
that than a child over everything else. This one does the same in the same order, with Celery's own words for how a body
ends, and only then: whoever hooks in, also while the worker runs, gets Celery's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import _state, signals, states
from celery.app import trace
from celery.app.task import Context
from celery.app.task import Task as CelerysTask
from celery.canvas import maybe_signature
from celery.exceptions import Ignore, Reject, Retry
from celery.loaders.base import BaseLoader

from penstock.ledger.backend import LedgerBackend

Traced = tuple[Any, Any, Any, Any]
"""What Celery's tracer returns: the result, what became of it unless it succeeded, seconds, the result as text."""
Tracer = Callable[[str, list[Any], dict[str, Any], dict[str, Any]], Traced]
HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")
MORE = ("callbacks", "chain", "chord")
"""What a request may ask for that follows from a success."""
CALLS = ("celery.app.task", "celery.app.trace")
"""Whose a task's `__call__` is when it is nobody's own: Celery's workers put one of their own around it."""
STATES = {Reject: states.REJECTED, Ignore: states.IGNORED, Retry: states.RETRY, Exception: states.FAILURE}
"""What becomes of a job by what its body raises; the first that fits."""
CODE = ("traced", __file__)
"""Name and file of this module's tracer, by which its frames are found."""
_BUILD = trace.build_tracer
"""As the worker has found it: Celery's, or that of somebody who was here first."""


def quick_tracer(task: Any, app: Any, *, logs_success: bool = False) -> Tracer:
    """The tracer for plain deliveries of a task: this module's where that is enough, otherwise Celery's.

    Args:
        logs_success: whether the tracer is to log that a job succeeded, because nobody else does.
    """
    celerys: Tracer = task.__trace__
    if logs_success and trace.logger.isEnabledFor(logging.INFO):
        return celerys
    return _build(task, celerys) if _is_enough(task, app) else celerys


def _is_enough(task: Any, app: Any) -> bool:
    loader = type(app.loader)
    return (
        trace.build_tracer is _BUILD
        and _BUILD.__module__ == trace.__name__
        and not hasattr(_BUILD, "__wrapped__")
        and type(task).__call__ is CelerysTask.__call__
        and CelerysTask.__call__.__module__ in CALLS
        and not {"__call__", *HOOKS} & vars(task).keys()
        and not any(trace.task_has_custom(task, name) for name in HOOKS)
        and loader.on_task_init is BaseLoader.on_task_init
        and loader.on_process_cleanup is BaseLoader.on_process_cleanup
        and not app.conf.worker_deduplicate_successful_tasks
        and all(_is_of_the_ledger(task.backend, name) for name in ("mark_as_done", "process_cleanup"))
    )


def _is_of_the_ledger(backend: Any, method: str) -> bool:
    """Whether nobody has put another method in place of ours."""
    return getattr(getattr(backend, method), "__func__", None) is getattr(LedgerBackend, method)


def _build(task: Any, celerys: Tracer) -> Tracer:
    backend, longest = task.backend, task.resultrepr_maxsize
    tasks, requests = _state._task_stack, task.request_stack
    prerun, postrun, success = (
        signal.receivers for signal in (signals.task_prerun, signals.task_postrun, signals.task_success)
    )
    new, now = Context.__new__, time.monotonic

    def traced(id: str, args: list[Any], kwargs: dict[str, Any], request: dict[str, Any]) -> Traced:
        if prerun or postrun or success or any(map(request.get, MORE)):
            return celerys(id, args, kwargs, request)
        began = now()
        context = new(Context)
        # What Celery's context would copy. `_protected`: a task that calls itself gets a request of its own.
        context.__dict__ = request
        request["args"], request["kwargs"], request["called_directly"], request["_protected"] = args, kwargs, False, 1
        if limits := request.get("timelimit"):
            context.time_limit, context.soft_time_limit = limits
        tasks.push(task)
        requests.push(context)
        try:
            begun = True  # noqa: F841  for whoever wants to know whether the body runs
            result = task.run(*args, **kwargs)
            if any(map(request.get, MORE)):
                _follow(task, context, result)  # The body has asked for it.
            ignored = request.get("ignore_result")
            is_kept = not (task.ignore_result if ignored is None else ignored)
            backend.mark_as_done(id, result, context, is_kept)
            return result, None, now() - began, trace.saferepr(result, longest)
        except Exception as error:
            result = None
            return _ended(task, context, error)
        finally:
            tasks.pop()
            requests.pop()

    return traced


def is_before_outcome(local: dict[str, Any]) -> bool:
    """Whether the body runs, by the local variables of a frame of :data:`CODE`: until it returns there is no result."""
    return "begun" in local and "result" not in local


def _follow(task: Any, context: Context, result: Any) -> None:
    """Sends what Celery's tracer does after a success; a chord's part is the backend's."""
    app = task.app
    priority = context.delivery_info.get("priority") if app.conf.task_inherit_parent_priority else None
    options = {"parent_id": context.id, "root_id": context.root_id or context.id, "priority": priority}
    for callback in context.callbacks or ():
        app.amqp._retry_publish(maybe_signature(callback, app=app).apply_async, (result,), **options)
    if context.chain:
        *others, following = context.chain
        app.amqp._retry_publish(maybe_signature(following, app=app).apply_async, (result,), chain=others, **options)


def _ended(task: Any, context: Context, error: Exception) -> Traced:
    """A body has raised: what Celery's tracer does then. While the error is being handled, as it must be for this."""
    state = next(state for kind, state in STATES.items() if isinstance(error, kind))
    info = trace.TraceInfo(state, error)
    if state == states.REJECTED:
        result = ExceptionInfo(internal=True)
        info.handle_reject(task, context)
    elif state == states.IGNORED:
        result = ExceptionInfo(internal=True)
        info.handle_ignore(task, context)
    else:
        result = info.handle_error_state(task, context, eager=False, call_errbacks=state != states.RETRY)
    trace.traceback_clear(error)
    return result, info, None, None
