"""Signals"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.signals import after_task_publish, before_task_publish

from tests.celery_promises import jobs
from tests.celery_promises.differences import differs
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
    result = jobs.add.apply_async((1, 2), queue="lane")
    system.signal(result.id, "task_postrun")
    wait_for(lambda: len(system.signals(result.id)) == 4, "four signals")
    in_child = [name for name in system.signals(result.id) if name != "task_received"]
    assert in_child == ["task_prerun", "task_success", "task_postrun"]


def test_received(system: System) -> None:
    """`task_received` has the worker's consumer as its sender, and the request."""
    result = jobs.add.apply_async((1, 2), queue="lane")
    assert system.signal(result.id, "task_received") == {"from_consumer": True, "name": jobs.add.name}


def test_prerun(system: System) -> None:
    """`task_prerun` has the task as its sender, with its id and arguments."""
    result = jobs.add.delay(1, y=2)
    about = {"sender": jobs.add.name, "task": jobs.add.name, "args": [1], "kwargs": {"y": 2}}
    assert system.signal(result.id, "task_prerun") == about


def test_postrun(system: System) -> None:
    """`task_postrun` adds what it returned, and the state it is in."""
    result = jobs.add.delay(1, y=2)
    about = {"sender": jobs.add.name, "task": jobs.add.name, "args": [1], "kwargs": {"y": 2}}
    assert system.signal(result.id, "task_postrun") == about | {"retval": 3, "state": "SUCCESS"}


def test_result(system: System) -> None:
    """`task_success` has the result."""
    result = jobs.add.delay(1, 2)
    assert system.signal(result.id, "task_success") == {"sender": jobs.add.name, "result": 3}


def test_failure(system: System) -> None:
    """A task that raises sends task_failure instead, with exception, arguments, traceback and `einfo`."""
    result = jobs.fail.delay("a reason")
    sent = system.signal(result.id, "task_failure")
    about = {"sender": jobs.fail.name, "exception": "Unlucky", "args": ["a reason"], "kwargs": {}}
    assert sent == about | {"traceback": True, "einfo": True}
    ended = system.signal(result.id, "task_postrun")
    assert (ended["state"], ended["retval"]) == ("FAILURE", "Unlucky('a reason')")
    assert "task_success" not in system.signals(result.id)


def test_retry(system: System, key: str) -> None:
    """Each further try sends task_retry with its reason and `einfo`."""
    result = jobs.retries.delay(key)
    sent = system.signal(result.id, "task_retry")
    assert (sent["sender"], sent["when"], sent["einfo"]) == (jobs.retries.name, 0, True)
    assert "every time" in sent["reason"]
    system.signal(result.id, "task_failure")
    # The next try may run before the process that asked for it sends its signal.
    wait_for(lambda: system.signals(result.id).count("task_retry") == 2, "two task_retry")
    assert system.signals(result.id).count("task_prerun") == 3


def test_time_limit(system: System, key: str) -> None:
    """A task that meets its hard limit sends task_failure as well, from another process than its own."""
    result = jobs.hits_its_hard_limit.delay(key)
    sent = system.signal(result.id, "task_failure")
    assert (sent["sender"], sent["exception"]) == (jobs.hits_its_hard_limit.name, "TimeLimitExceeded")
    assert (sent["args"], sent["kwargs"]) == ([key], {})


def test_lost_process(system: System, key: str) -> None:
    """A task whose process is killed sends task_success for the try that ended, and task_prerun for both."""
    result = jobs.dies_and_asks_for_another_try.delay(key)
    assert result.get(timeout=PATIENCE) == "alive"
    system.signal(result.id, "task_postrun")
    assert system.signals(result.id).count("task_success") == 1
    assert system.signals(result.id).count("task_prerun") == 2


def test_unknown(system: System, key: str) -> None:
    """A task that the worker does not know sends task_unknown with name, id, message and error."""
    system.app.send_task("unheard.of", task_id=key, queue="side")
    sent = system.signal(key, "task_unknown")
    assert sent == {"from_consumer": True, "name": "unheard.of", "message": key, "exc": True}


def test_rejected(system: System, key: str) -> None:
    """A message that is not a task sends task_rejected, with the message."""
    with system.app.connection_for_write() as connection:
        connection.Producer().publish({"this is": key}, exchange="", routing_key="side", serializer="json")

    def mine() -> list[dict[str, Any]]:
        return [fields for _, fields in system.noted("signals:rejected") if key in fields["body"]]

    assert wait_for(mine, "task_rejected")[0]["from_consumer"] is True


def test_internal_error(system: System) -> None:
    """An error of Celery's around a task, such as a result that its backend cannot keep, sends task_internal_error."""
    result = jobs.meets_an_internal_error.delay(1, more="x")
    sent = system.signal(result.id, "task_internal_error")
    about = {"sender": jobs.meets_an_internal_error.name, "args": [1], "kwargs": {"more": "x"}, "request": result.id}
    assert {name: sent[name] for name in about} == about
    assert sent["exception"] == "RuntimeError('the result cannot be kept')"
    assert (sent["traceback"], sent["einfo"]) == (True, True)


def test_no_internal_error(system: System) -> None:
    """A task that merely fails sends no task_internal_error."""
    result = jobs.fail.delay()
    system.signal(result.id, "task_postrun")
    assert "task_internal_error" not in system.signals(result.id)


def test_worker(system: System) -> None:
    """A worker sends celeryd_init, worker_init, celeryd_after_setup and worker_ready, at last worker_shutdown."""
    worker = system.once(life)
    assert worker.signals_at_start[0] == "celeryd_init"
    assert set(worker.signals_at_start[1:-1]) == {"worker_init", "celeryd_after_setup"}
    assert worker.signals_at_start[-1] == "worker_ready"
    assert system.signal(worker.name, "worker_ready") == {"pid": worker.pid}
    assert system.signals(worker.name)[4:] == ["worker_shutdown"]


def test_setup(system: System) -> None:
    """`celeryd_init` and `celeryd_after_setup` have the worker, its name and settings, and the first its options."""
    worker = system.once(life)
    sent = system.signal(worker.name, "celeryd_init")
    assert (sent["instance"], sent["conf"]) == (worker.name, "America/New_York")
    assert {"concurrency", "queues", "task_events"} <= set(sent["options"])
    sent = system.signal(worker.name, "celeryd_after_setup")
    assert sent == {"instance": worker.name, "conf": "America/New_York"}


@pytest.mark.parametrize("name", ["after_setup_logger", "after_setup_task_logger"])
def test_loggers(system: System, name: str) -> None:
    """`after_setup_logger` and `after_setup_task_logger` have logger, level, file, format and colours or not."""
    sent = system.signal(f"loggers:{system.worker.pid}", name)
    assert sent["logger"] == {"after_setup_logger": "root", "after_setup_task_logger": "celery.task"}[name]
    assert (sent["loglevel"], sent["logfile"], sent["colorize"]) == (logging.INFO, None, False)
    assert ("%(task_id)s" in sent["format"]) is (name == "after_setup_task_logger")


def test_heartbeat(system: System) -> None:
    """A worker sends heartbeat_sent, from its Heart, with each heartbeat."""
    assert system.signal(f"heart:{system.main}", "heartbeat_sent") == {"sender": "Heart"}


def test_processes(system: System) -> None:
    """Each process of the pool sends worker_process_init when it starts and worker_process_shutdown when it ends."""
    worker = system.once(life)
    sent = system.noted(f"signals:processes:{worker.name}", 4)
    for name in ("worker_process_init", "worker_process_shutdown"):
        assert sorted(fields["pid"] for kind, fields in sent if kind == name) == sorted(worker.pool)


def test_exit_code_of_a_process(system: System) -> None:
    """`worker_process_shutdown` has the exit code of the process, 0 for one that was asked to end."""
    worker = system.once(life)
    sent = system.noted(f"signals:processes:{worker.name}", 4)
    assert [fields["exitcode"] for kind, fields in sent if kind == "worker_process_shutdown"] == [0, 0]


@differs(engine="sends it in the process that makes the others, which is a child of the worker's and does nothing else")
def test_before_create_process(system: System) -> None:
    """The prefork pool sends worker_before_create_process in the parent process, before it makes each of the others."""
    worker = system.once(life)
    sent = system.noted(f"signals:processes:{worker.name}:before", 2)
    assert [name for name, _ in sent] == ["worker_before_create_process"] * 2
    senders = {fields["pid"] for _, fields in sent}
    assert len(senders) == 1
    assert (senders == {worker.pid}) is system.engine.takes_ahead
