"""Acknowledgement, Reject and Ignore"""

import signal
import uuid
from dataclasses import dataclass

import psutil
import pytest
from billiard.exceptions import WorkerLostError
from celery.exceptions import Reject

from tests.celery_promises import jobs
from tests.celery_promises.differences import differs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


def test_ignore(system: System, key: str) -> None:
    """`Ignore` ends the task and leaves its state as the task has set it."""
    result = jobs.ignores_itself.delay(key)
    system.signal(result.id, "task_postrun")
    assert (result.state, result.info) == ("CUSTOM", {"left": "as it is"})
    assert len(system.notes_on(key)) == 1


def test_reject(system: System, key: str) -> None:
    """`Reject(requeue=False)` ends the task for good, as FAILURE, and it is not delivered again."""
    result = jobs.rejects_itself.delay(key)
    with pytest.raises(Reject):
        result.get(timeout=PATIENCE)
    assert system.notes_on(key) == [result.id]
    assert system.depth("celery") == 0


def test_reject_and_requeue(system: System, key: str) -> None:
    """`Reject(requeue=True)` has the same message delivered again, marked as redelivered."""
    result = jobs.rejects_itself_once.delay(key)
    assert result.get(timeout=PATIENCE) == "the second time"
    first, second = system.notes_on(key)
    assert first["id"] == second["id"] == result.id
    assert (bool(first["redelivered"]), bool(second["redelivered"])) == (False, True)


def test_failure_without_ack(system: System, key: str) -> None:
    """`acks_on_failure_or_timeout=False` rejects the message of a task that fails; it is stored as FAILURE, once."""
    result = jobs.fails_without_ack.delay(key)
    with pytest.raises(jobs.Unlucky):
        result.get(timeout=PATIENCE)
    assert system.notes_on(key) == ["ran"]


def test_limit_without_ack(system: System, key: str) -> None:
    """`acks_on_timeout=False` has a late-acknowledged task that met its hard limit delivered again."""
    result = jobs.comes_back_after_its_limit.delay(key)
    wait_for(lambda: system.app.AsyncResult(result.id).result == "the second time", "the second time")
    first, second = system.notes_on(key)
    assert first["id"] == second["id"] == result.id
    assert (bool(first["redelivered"]), bool(second["redelivered"])) == (False, True)


def test_lost_process_with_reject(system: System, key: str) -> None:
    """With `acks_late` and `reject_on_worker_lost` a task whose process is killed runs again."""
    assert jobs.dies_and_asks_for_another_try.delay(key).get(timeout=PATIENCE) == "alive"
    assert len(set(system.notes_on(key))) == 2


@differs(
    penstock="runs the task again at once, because its claim is settled only when it has ended; "
    "after three deaths it is put aside with its payload"
)
def test_lost_process(system: System, key: str) -> None:
    """A task whose process is killed is FAILURE with WorkerLostError, and does not run again."""
    result = jobs.dies.delay(key)
    if system.engine.uses_penstock:
        assert result.get(timeout=PATIENCE) == "alive"
        return
    with pytest.raises(WorkerLostError):
        result.get(timeout=PATIENCE)
    assert len(system.notes_on(key)) == 1


@dataclass(frozen=True)
class Killed:
    """How often tasks had started, of which one says nothing and the other `acks_late=False`, some time after their
    worker was killed and another came.
    """

    default: int
    early: int


def killed_worker(system: System) -> Killed:
    """Kills a worker that runs two tasks, and starts another one on its queue."""
    default, early = (uuid.uuid4().hex for _ in range(2))
    with system.worker_beside(children=2) as first:
        jobs.hold.apply_async((default,), queue=first.queue)
        jobs.hold_early.apply_async((early,), queue=first.queue)
        system.noted(default)
        system.noted(early)
        wait_for(lambda: not system.keeps(early), "its message is acknowledged")
        kill_tree(first.worker.pid)
        wait_for(lambda: first.ended, "the worker is gone")
    with system.worker_beside("-Q", first.queue, children=2):
        if system.engine.uses_penstock:
            system.noted(default, 2, timeout=25)
            system.release(default)
        # Whatever had come back lay in front of this one.
        assert jobs.add.apply_async((1, 1), queue=first.queue).get(timeout=PATIENCE) == 2
    return Killed(len(system.notes_on(default)), len(system.notes_on(early)))


@differs(
    penstock="acknowledges every task when it ends unless the task says `acks_late=False`, so the next worker has it"
)
def test_killed_worker(system: System) -> None:
    """A task is acknowledged before it starts, so it is gone when its worker is killed."""
    assert system.once(killed_worker).default == (2 if system.engine.uses_penstock else 1)


def test_early_acks(system: System) -> None:
    """A task with `acks_late=False` is acknowledged before it starts: killed with its worker it never runs again."""
    assert system.once(killed_worker).early == 1


def test_early_acks_shown(system: System, key: str) -> None:
    """A task with `acks_late=False` is acknowledged when it starts, and `inspect active` says so."""
    result = jobs.hold_early.delay(key)
    system.noted(key)

    def mine() -> list[dict[str, object]]:
        return [found for found in system.inspect("active") if found["id"] == result.id]

    assert wait_for(mine, "active")[0]["acknowledged"] is True
    system.release(key)
    result.get(timeout=PATIENCE)


def test_late_acks_and_cold_shutdown(system: System, key: str) -> None:
    """A late-acknowledged task that a cold shutdown interrupts goes back to its queue for the next worker."""
    with system.worker_beside() as first:
        result = jobs.hold_late.apply_async((key, "done"), queue=first.queue)
        system.noted(key)
        first.send(signal.SIGQUIT)
        wait_for(lambda: first.ended, "the worker is gone")
    with system.worker_beside("-Q", first.queue):
        system.noted(key, 2)
        system.release(key)
        assert result.get(timeout=PATIENCE) == "done"


def kill_tree(parent: int) -> None:
    """Ends a worker and all its processes, as the loss of its host would."""
    process = psutil.Process(parent)
    for one in (process, *process.children(recursive=True)):
        one.kill()
