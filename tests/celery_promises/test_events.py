"""Events"""

import pytest
from celery.events.state import State

from tests.celery_promises import jobs
from tests.celery_promises.scenarios import life
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 10


def test_success(system: System) -> None:
    """A task is told as task-sent, task-received, task-started and task-succeeded, with times, worker and result."""
    result = jobs.add.delay(20, 22)
    result.get(timeout=PATIENCE)
    succeeded = system.event("task-succeeded", uuid=result.id)
    assert (succeeded["result"], succeeded["hostname"]) == ("42", system.main)
    assert succeeded["runtime"] >= 0
    assert system.event("task-started", uuid=result.id)["pid"] == system.worker.pid
    wait_for(lambda: len(system.events(result.id)) == 4, "four events")
    assert {event["type"] for event in system.events(result.id)} == {
        "task-sent",
        "task-received",
        "task-started",
        "task-succeeded",
    }


@pytest.mark.parametrize("name", ["hold", "hold_early", "hold_tracked"])
def test_long(system: System, key: str, name: str) -> None:
    """A task that runs for long is told as received and started when it is, and once; the log has it once as well."""
    result = system.call(name, key)
    started = system.event("task-started", uuid=result.id)
    assert started["timestamp"] >= system.event("task-received", uuid=result.id)["timestamp"]

    def heartbeats() -> int:
        return sum((event["type"], event["hostname"]) == ("worker-heartbeat", system.main) for event in system.events())

    before = heartbeats()
    wait_for(lambda: heartbeats() >= before + 2, "two heartbeats of its worker")
    system.release(key)
    system.event("task-succeeded", uuid=result.id)
    kinds = [event["type"] for event in system.events(result.id)]
    assert (kinds.count("task-received"), kinds.count("task-started"), kinds.count("task-succeeded")) == (1, 1, 1)
    assert system.worker.log.count(f"[{result.id}] received") == 1


def test_sent(system: System) -> None:
    """task-sent names queue, routing key and arguments."""
    result = jobs.add.apply_async((1, 2), queue="side")
    sent = system.event("task-sent", uuid=result.id)
    assert (sent["queue"], sent["routing_key"], sent["name"]) == ("side", "side", jobs.add.name)
    assert (sent["args"], sent["kwargs"], sent["retries"]) == ("(1, 2)", "{}", 0)


def test_received(system: System) -> None:
    """task-received names task, arguments, root, parent, retries, ETA and expiry."""
    result = jobs.add.apply_async((1, 2), expires=60)
    received = system.event("task-received", uuid=result.id)
    assert (received["name"], received["args"], received["root_id"]) == (jobs.add.name, "(1, 2)", result.id)
    assert (received["retries"], received["eta"], received["parent_id"]) == (0, None, None)
    assert received["expires"]


def test_failed(system: System) -> None:
    """A failure is told as task-failed with exception and traceback."""
    result = jobs.fail.delay("told")
    failed = system.event("task-failed", uuid=result.id)
    assert "Unlucky('told')" in failed["exception"]
    assert "raise Unlucky(text)" in failed["traceback"]


def test_retried(system: System, key: str) -> None:
    """Each further try is told as task-retried, and the last one as task-failed."""
    result = jobs.retries.delay(key)

    def kinds() -> list[str]:
        return [event["type"] for event in system.events(result.id)]

    system.event("task-failed", uuid=result.id)
    # The next try may run before the last one has been told.
    wait_for(lambda: kinds().count("task-retried") == 2, "two task-retried")
    assert (kinds().count("task-started"), kinds().count("task-failed")) == (3, 1)


def test_rejected(system: System, key: str) -> None:
    """A task that rejects its message is told as task-rejected, with whether it comes again."""
    result = jobs.rejects_itself.delay(key)
    assert system.event("task-rejected", uuid=result.id)["requeue"] is False


def test_custom_event(system: System) -> None:
    """A task may send events of its own."""
    result = jobs.tells.delay("half way")
    assert system.event("task-progress", uuid=result.id)["text"] == "half way"


def test_worker_events(system: System) -> None:
    """A worker tells when it comes online, that it lives, and when it goes offline."""
    worker = system.once(life)
    online = system.event("worker-online", hostname=worker.name)
    assert (online["sw_ident"], online["pid"]) == ("py-celery", worker.pid)
    system.event("worker-heartbeat", hostname=worker.name)
    system.event("worker-offline", hostname=worker.name)


def test_state(system: System) -> None:
    """Celery's own event state, which Flower shows, rebuilds tasks and workers from the events."""
    result = jobs.add.delay(1, 1)
    system.event("task-succeeded", uuid=result.id)
    system.event("worker-heartbeat", hostname=system.main)
    state = State()
    for event in system.events():
        state.event(dict(event))
    task = state.tasks[result.id]
    assert (task.state, task.name, task.result, task.worker.hostname) == ("SUCCESS", jobs.add.name, "2", system.main)
    assert task.received <= task.started <= task.succeeded
