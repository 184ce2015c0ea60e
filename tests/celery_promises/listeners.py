"""Loaded by every worker: notes each signal that it sends, and answers which parts it is made of."""

import os
import sys
from typing import Any

from celery import signals
from celery.worker.consumer import Consumer
from celery.worker.control import control_command, inspect_command

from tests.celery_promises import notes

# -- in the process that runs the task ------------------------------------------------------------------------------


@signals.task_prerun.connect
def on_prerun(sender: Any, task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
    fields = {"sender": sender.name, "task": task.name, "args": list(args), "kwargs": kwargs}
    _note(task_id, "task_prerun", fields)


@signals.task_postrun.connect
def on_postrun(sender: Any, task_id: str, task: Any, args: Any, kwargs: Any, retval: Any, state: str, **_: Any) -> None:
    fields = {"sender": sender.name, "task": task.name, "args": list(args), "kwargs": kwargs}
    _note(task_id, "task_postrun", fields | {"retval": retval, "state": state})


@signals.task_success.connect
def on_success(sender: Any, result: Any, **_: Any) -> None:
    _note(sender.request.id, "task_success", {"sender": sender.name, "result": result})


@signals.task_failure.connect
def on_failure(
    sender: Any, task_id: str, exception: BaseException, args: Any, kwargs: Any, traceback: Any, einfo: Any, **_: Any
) -> None:
    name = type(exception).__name__
    fields = {"sender": sender.name, "exception": name, "args": list(args), "kwargs": kwargs}
    told = {"traceback": traceback is not None, "einfo": name in str(einfo)}
    _note(task_id, "task_failure", fields | told)


@signals.task_internal_error.connect
def on_internal_error(
    sender: Any,
    task_id: str,
    args: Any,
    kwargs: Any,
    request: Any,
    exception: Any,
    traceback: Any,
    einfo: Any,
    **_: Any,
) -> None:
    fields = {"sender": sender.name, "args": list(args), "kwargs": kwargs, "request": request["id"]}
    told = {"exception": repr(exception), "traceback": traceback is not None, "einfo": str(exception) in str(einfo)}
    _note(task_id, "task_internal_error", fields | told)


@signals.task_retry.connect
def on_retry(sender: Any, request: Any, reason: Any = None, einfo: Any = None, **_: Any) -> None:
    fields = {"sender": sender.name, "reason": str(reason), "when": getattr(reason, "when", None)}
    _note(request.id, "task_retry", fields | {"einfo": "Unlucky" in str(einfo)})


# -- in the worker's parent process ---------------------------------------------------------------------------------


def on_received(sender: Any, request: Any, **_: Any) -> None:
    _note(request.id, "task_received", {"from_consumer": isinstance(sender, Consumer), "name": request.name})


# Only where it is asked for: our pool runs a job by a shorter way when nobody listens to this.
if "PROMISES_RECEIVED" in os.environ:
    signals.task_received.connect(on_received)


@signals.task_revoked.connect
def on_revoked(sender: Any, request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
    fields = {"sender": sender.name, "terminated": terminated, "signum": signum, "expired": expired}
    _note(request.id, "task_revoked", fields)


@signals.task_rejected.connect
def on_rejected(sender: Any, message: Any, exc: Any, **_: Any) -> None:
    fields = {"from_consumer": isinstance(sender, Consumer), "body": repr(message.body)[:200]}
    _note("rejected", "task_rejected", fields)


@signals.task_unknown.connect
def on_unknown(sender: Any, name: str, id: str, message: Any, exc: BaseException, **_: Any) -> None:
    fields = {"from_consumer": isinstance(sender, Consumer), "name": name, "message": message.headers["id"]}
    _note(id, "task_unknown", fields | {"exc": isinstance(exc, KeyError)})


# -- of the worker itself -------------------------------------------------------------------------------------------


@signals.worker_init.connect
def on_worker_init(sender: Any, **_: Any) -> None:
    _note(sender.hostname, "worker_init", {"pid": os.getpid()})


@signals.worker_ready.connect
def on_worker_ready(sender: Any, **_: Any) -> None:
    _note(sender.hostname, "worker_ready", {"pid": os.getpid()})


@signals.heartbeat_sent.connect
def on_heartbeat_sent(sender: Any, **_: Any) -> None:
    _note(f"heart:{sender.eventer.hostname}", "heartbeat_sent", {"sender": type(sender).__name__})


@signals.worker_shutting_down.connect
def on_worker_shutting_down(sender: str, sig: str, how: str, exitcode: int, **_: Any) -> None:
    _note(sender, "worker_shutting_down", {"sig": sig, "how": how, "exitcode": exitcode})


@signals.worker_shutdown.connect
def on_worker_shutdown(sender: Any, **_: Any) -> None:
    _note(sender.hostname, "worker_shutdown", {"pid": os.getpid()})


@signals.worker_before_create_process.connect
def on_before_create_process(**_: Any) -> None:
    _note(f"processes:{_worker()}:before", "worker_before_create_process", {"pid": os.getpid()})


@signals.worker_process_init.connect
def on_process_init(**_: Any) -> None:
    _note(f"processes:{_worker()}", "worker_process_init", {"pid": os.getpid()})


@signals.worker_process_shutdown.connect
def on_process_shutdown(pid: int, exitcode: Any, **_: Any) -> None:
    _note(f"processes:{_worker()}", "worker_process_shutdown", {"pid": pid, "exitcode": exitcode})


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


def _worker() -> str:
    """The worker's name as its command line has it: its processes need not be children of the one that it names."""
    return sys.argv[sys.argv.index("-n") + 1]


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
