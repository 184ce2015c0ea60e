"""Signals"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.signals import after_task_publish, before_task_publish

from tests.celery_promises import jobs
from tests.celery_promises.scenarios import life
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 10


@contextmanager
def caught(signal: Any) -> Iterator[list[dict[str, Any]]]:
    """What a signal sends in this process."""
    seen: list[dict[str, Any]] = []

    def receive(**fields: Any) -> None:
        seen.append(fields)

    signal.connect(receive, weak=False)
    yield seen
    signal.disconnect(receive)


def test_before_publish(system: System) -> None:
    """`before_task_publish` is sent in the producer with the message, and may change its headers."""

    def change(headers: dict[str, Any], **_: Any) -> None:
        headers["tenant"] = "south"

    with caught(before_task_publish) as seen:
        before_task_publish.connect(change, weak=False)
        result = jobs.context.apply_async(queue="side", headers={"other": 1})
        before_task_publish.disconnect(change)
    (fields,) = seen
    assert (fields["sender"], fields["routing_key"]) == (jobs.context.name, "side")
    assert fields["headers"]["id"] == result.id
    assert fields["body"][0] == ()
    assert result.get(timeout=PATIENCE)["headers"]["tenant"] == "south"


def test_after_publish(system: System) -> None:
    """`after_task_publish` is sent in the producer once the message is out."""
    with caught(after_task_publish) as seen:
        result = jobs.add.delay(1, 1)
    (fields,) = seen
    assert (fields["sender"], fields["headers"]["id"], fields["routing_key"]) == (jobs.add.name, result.id, "celery")


def test_success(system: System) -> None:
    """A task that returns sends task_received, task_prerun, task_success and task_postrun, in this order."""
    result = jobs.add.delay(1, 2)
    assert system.signal(result.id, "task_postrun") == {"retval": 3, "state": "SUCCESS"}
    assert system.signal(result.id, "task_prerun") == {"task": jobs.add.name, "args": [1, 2], "kwargs": {}}
    assert system.signal(result.id, "task_success") == {"result": 3}
    wait_for(lambda: len(system.signals(result.id)) == 4, "four signals")
    in_child = [name for name in system.signals(result.id) if name != "task_received"]
    assert in_child == ["task_prerun", "task_success", "task_postrun"]


def test_failure(system: System) -> None:
    """A task that raises sends task_failure instead."""
    result = jobs.fail.delay()
    assert system.signal(result.id, "task_postrun")["state"] == "FAILURE"
    assert system.signal(result.id, "task_failure") == {"exception": "Unlucky"}
    assert "task_success" not in system.signals(result.id)


def test_retry(system: System, key: str) -> None:
    """Each further try sends task_retry with its reason."""
    result = jobs.retries.delay(key)
    assert "every time" in system.signal(result.id, "task_retry")["reason"]
    system.signal(result.id, "task_failure")
    # The next try may run before the process that asked for it sends its signal.
    wait_for(lambda: system.signals(result.id).count("task_retry") == 2, "two task_retry")
    assert system.signals(result.id).count("task_prerun") == 3


def test_time_limit(system: System, key: str) -> None:
    """A task that meets its hard limit sends task_failure from the parent process."""
    result = jobs.hits_its_hard_limit.delay(key)
    assert system.signal(result.id, "task_failure") == {"exception": "TimeLimitExceeded"}


def test_unknown(system: System, key: str) -> None:
    """A task that the worker does not know sends task_unknown."""
    system.app.send_task("unheard.of", task_id=key, queue="side")
    assert system.signal(key, "task_unknown") == {"name": "unheard.of"}


def test_rejected(system: System, key: str) -> None:
    """A message that is not a task sends task_rejected."""
    with system.app.connection_for_write() as connection:
        connection.Producer().publish({"this is": key}, exchange="", routing_key="side", serializer="json")
    wait_for(
        lambda: [fields for _, fields in system.noted("signals:rejected") if key in fields["body"]], "task_rejected"
    )


def test_worker(system: System) -> None:
    """A worker sends worker_init and worker_ready when it starts, and worker_shutdown when it ends."""
    worker = system.once(life)
    assert system.signal(worker.name, "worker_ready") == {"pid": worker.pid}
    assert worker.signals_at_start == ["worker_init", "worker_ready"]
    assert system.signals(worker.name)[2:] == ["worker_shutdown"]


def test_processes(system: System) -> None:
    """Each process of the pool sends worker_process_init when it starts and worker_process_shutdown when it ends."""
    worker = system.once(life)
    sent = system.noted(f"signals:processes:{worker.pid}", 4)
    for name in ("worker_process_init", "worker_process_shutdown"):
        assert sorted(fields["pid"] for kind, fields in sent if kind == name) == sorted(worker.pool)


def test_no_internal_error(system: System) -> None:
    """A task that merely fails sends no task_internal_error."""
    result = jobs.fail.delay()
    system.signal(result.id, "task_postrun")
    assert "task_internal_error" not in system.signals(result.id)
