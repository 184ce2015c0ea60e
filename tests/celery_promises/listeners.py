"""Loaded by every worker: notes each signal that it sends, and answers which parts it is made of."""

import os
import sys
from typing import Any

from celery import signals
from celery.worker.control import control_command, inspect_command

from tests.celery_promises import notes


@signals.task_prerun.connect
def on_prerun(task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
    _note(task_id, "task_prerun", {"task": task.name, "args": list(args), "kwargs": kwargs})


@signals.task_postrun.connect
def on_postrun(task_id: str, retval: Any, state: str, **_: Any) -> None:
    _note(task_id, "task_postrun", {"retval": retval, "state": state})


@signals.task_success.connect
def on_success(sender: Any, result: Any, **_: Any) -> None:
    _note(sender.request.id, "task_success", {"result": result})


@signals.task_failure.connect
def on_failure(task_id: str, exception: BaseException, **_: Any) -> None:
    _note(task_id, "task_failure", {"exception": type(exception).__name__})


@signals.task_internal_error.connect
def on_internal_error(task_id: str, **_: Any) -> None:
    _note(task_id, "task_internal_error", {})


@signals.task_retry.connect
def on_retry(request: Any, reason: Any, **_: Any) -> None:
    _note(request.id, "task_retry", {"reason": str(reason), "when": getattr(reason, "when", None)})


@signals.task_revoked.connect
def on_revoked(request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
    _note(request.id, "task_revoked", {"terminated": terminated, "expired": expired})


@signals.task_received.connect
def on_received(request: Any, **_: Any) -> None:
    _note(request.id, "task_received", {"name": request.name})


@signals.task_rejected.connect
def on_rejected(message: Any, exc: Any, **_: Any) -> None:
    _note("rejected", "task_rejected", {"body": repr(message.body)[:200]})


@signals.task_unknown.connect
def on_unknown(name: str, id: str, **_: Any) -> None:
    _note(id, "task_unknown", {"name": name})


@signals.worker_init.connect
def on_worker_init(sender: Any, **_: Any) -> None:
    _note(sender.hostname, "worker_init", {"pid": os.getpid()})


@signals.worker_ready.connect
def on_worker_ready(sender: Any, **_: Any) -> None:
    _note(sender.hostname, "worker_ready", {"pid": os.getpid()})


@signals.worker_shutting_down.connect
def on_worker_shutting_down(sender: str, sig: Any, how: str, **_: Any) -> None:
    _note(sender, "worker_shutting_down", {"how": how})


@signals.worker_shutdown.connect
def on_worker_shutdown(sender: Any, **_: Any) -> None:
    _note(sender.hostname, "worker_shutdown", {"pid": os.getpid()})


@signals.worker_process_init.connect
def on_process_init(**_: Any) -> None:
    _note(f"processes:{os.getppid()}", "worker_process_init", {"pid": os.getpid()})


@signals.worker_process_shutdown.connect
def on_process_shutdown(pid: int, **_: Any) -> None:
    _note(f"processes:{os.getppid()}", "worker_process_shutdown", {"pid": pid})


@inspect_command()
def parts(state: Any) -> dict[str, Any]:
    """The classes that really run in this worker, and what it has imported of Penstock."""
    consumer = state.consumer
    return {
        "pool": _path(type(consumer.pool)),
        "transport": _path(type(consumer.connection.transport)),
        "backend": _path(type(state.app.backend)),
        "consumer": _path(type(consumer)),
        "penstock": sorted(name for name in sys.modules if name.split(".")[0] == "penstock"),
    }


@control_command(args=[("times", int)], signature="[N=1]")
def chirp(state: Any, times: int = 1) -> dict[str, str]:
    """A control command of the application's own."""
    return {"ok": "chirp " * times}


def _note(key: str, signal: str, fields: dict[str, Any]) -> None:
    notes.write(f"signals:{key}", [signal, fields])


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
