"""Revoking"""

import os
import signal

import pytest
from celery.exceptions import TaskRevokedError

from tests.celery_promises import jobs
from tests.celery_promises.differences import differs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


def test_waiting(system: System, key: str) -> None:
    """`result.revoke()` makes a waiting task REVOKED, and a worker that takes it does not run it."""
    jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    result = jobs.note.apply_async((f"{key}-never",), queue="lane")
    result.revoke()
    wait_for(lambda: result.id in system.inspect("revoked", worker=system.lane), "revoked")
    system.release(key)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    sent = system.signal(result.id, "task_revoked")
    assert sent == {"sender": jobs.note.name, "terminated": False, "signum": None, "expired": False}
    assert system.notes_on(f"{key}-never") == []
    assert system.event("task-revoked", uuid=result.id)["terminated"] is False


def test_several(system: System, key: str) -> None:
    """`control.revoke([…])` takes a list of ids."""
    jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    results = [jobs.note.apply_async((f"{key}-never",), queue="lane") for _ in range(3)]
    ids = [result.id for result in results]
    system.app.control.revoke(ids, reply=True, timeout=2, limit=2)
    system.release(key)
    for result in results:
        system.signal(result.id, "task_revoked")
    assert [result.state for result in results] == ["REVOKED"] * 3
    assert system.notes_on(f"{key}-never") == []


def test_before_it_is_sent(system: System, key: str) -> None:
    """An id may be revoked before its task is sent."""
    system.control("revoke", task_id=[key])
    result = jobs.note.apply_async((key,), task_id=key)
    system.signal(key, "task_revoked")
    assert result.state == "REVOKED"
    assert system.notes_on(key) == []


def test_waiting_for_its_time(system: System, key: str) -> None:
    """A task that waits for its ETA can be revoked, and never runs."""
    result = jobs.note.apply_async((key,), countdown=1)
    result.revoke()
    system.signal(result.id, "task_revoked")
    assert result.state == "REVOKED"
    assert system.notes_on(key) == []


def test_running(system: System, key: str) -> None:
    """A running task goes on when it is revoked without `terminate`, and keeps its result if its start is tracked."""
    result = jobs.hold_tracked.delay(key, "ended")
    system.noted(key)
    result.revoke()
    wait_for(lambda: result.id in system.inspect("revoked"), "revoked")
    system.release(key)
    assert result.get(timeout=PATIENCE) == "ended"


def test_terminate(system: System, key: str) -> None:
    """`revoke(terminate=True)` ends the process of a running task with SIGTERM, and the task is REVOKED."""
    result = jobs.hold_tracked.delay(key)
    (note,) = system.noted(key)
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError, match="terminated"):
        result.get(timeout=PATIENCE)
    sent = system.signal(result.id, "task_revoked")
    assert sent == {"sender": jobs.hold_tracked.name, "terminated": True, "signum": signal.SIGTERM, "expired": False}
    event = system.event("task-revoked", uuid=result.id)
    assert (event["terminated"], event["signum"]) == (True, signal.SIGTERM)
    wait_for(lambda: not is_alive(note["pid"]), "the process is gone")
    assert len(system.notes_on(key)) == 1


def test_kill(system: System, key: str) -> None:
    """`signal` chooses another signal, and the task is REVOKED all the same and does not run again."""
    result = jobs.hold.delay(key)
    system.noted(key)
    result.revoke(terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert system.event("task-revoked", uuid=result.id)["signum"] == signal.SIGKILL
    assert jobs.add.delay(1, 1).get(timeout=PATIENCE) == 2
    assert len(system.notes_on(key)) == 1


def test_terminate_late_acknowledged(system: System, key: str) -> None:
    """A terminated task that is acknowledged late does not come back."""
    result = jobs.hold_late.apply_async((key,), queue="lane")
    system.noted(key)
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert jobs.add.apply_async((1, 1), queue="lane").get(timeout=PATIENCE) == 2
    assert len(system.notes_on(key)) == 1


def test_control_terminate(system: System, key: str) -> None:
    """`control.terminate(id)` is the same as revoking with `terminate`."""
    result = jobs.hold.delay(key)
    system.noted(key)
    system.app.control.terminate(result.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)


def test_terminate_waiting(system: System, key: str) -> None:
    """`terminate=True` on a waiting task just revokes it, and leaves the running one alone."""
    running = jobs.hold.apply_async((key, "ended"), queue="lane")
    system.noted(key)
    waiting = jobs.note.apply_async((f"{key}-never",), queue="lane")
    system.control("revoke", worker=system.lane, task_id=waiting.id, terminate=True)
    system.release(key)
    assert running.get(timeout=PATIENCE) == "ended"
    system.signal(waiting.id, "task_revoked")


def test_inspect(system: System, key: str) -> None:
    """`inspect revoked` lists the revoked ids."""
    system.control("revoke", task_id=[key])
    assert key in system.inspect("revoked")


def test_state_database(system: System, key: str) -> None:
    """`worker --statedb` remembers revoked ids over a restart."""
    database = str(system.folder / f"state-{key}")
    with system.worker_beside("--statedb", database) as first:
        system.control("revoke", worker=first.name, task_id=[key])
    with system.worker_beside("-Q", first.queue, "--statedb", database):
        jobs.note.apply_async((key,), task_id=key, queue=first.queue)
        system.signal(key, "task_revoked")
    assert system.notes_on(key) == []


@differs(penstock="keeps revokes in Redis, so that workers which were down, or start later, honour them too")
def test_worker_that_was_down(system: System, key: str) -> None:
    """A revoke is known to the workers that run when it is sent, and to no other: such a one runs the task."""
    queue = f"down_{key}"
    result = jobs.note.apply_async((key,), queue=queue)
    result.revoke()
    wait_for(lambda: result.id in system.inspect("revoked"), "revoked")
    with system.worker_beside("-Q", queue):
        if system.engine.uses_penstock:
            system.signal(result.id, "task_revoked")
            assert system.notes_on(key) == []
        else:
            system.noted(key)


def test_mingle(system: System, key: str) -> None:
    """A worker that starts asks the others what is revoked."""
    queue = f"mingle_{key}"
    result = jobs.note.apply_async((key,), queue=queue)
    result.revoke()
    wait_for(lambda: result.id in system.inspect("revoked"), "revoked")
    with system.worker_beside("-Q", queue, mingle=True):
        system.signal(result.id, "task_revoked")
    assert system.notes_on(key) == []


def is_alive(pid: int) -> bool:
    """True while a process of this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
