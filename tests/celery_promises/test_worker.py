"""Running a worker"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass

import psutil
import redis

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


@dataclass(frozen=True)
class Replaced:
    """The processes that ran one task after the other."""

    by_tasks: list[int]
    by_memory: list[int]


def replaced_children(system: System) -> Replaced:
    """Two workers side by side, because stock Celery takes five seconds to replace a process."""
    with (
        system.worker_beside("--max-tasks-per-child", "2") as tasks,
        system.worker_beside("--max-memory-per-child", "1000") as memory,
    ):
        queues = [tasks.queue, memory.queue, tasks.queue, memory.queue, tasks.queue]
        results = [(queue, jobs.process_id.apply_async(queue=queue)) for queue in queues]
        ran = [(queue, result.get(timeout=2 * PATIENCE)) for queue, result in results]
    return Replaced(
        [pid for queue, pid in ran if queue == tasks.queue], [pid for queue, pid in ran if queue == memory.queue]
    )


def test_tasks_per_child(system: System) -> None:
    """`--max-tasks-per-child` replaces each process after so many tasks."""
    first, second, third = system.once(replaced_children).by_tasks
    assert first == second != third


def test_memory_per_child(system: System) -> None:
    """`--max-memory-per-child` replaces a process that has become too big."""
    assert len(set(system.once(replaced_children).by_memory)) == 2


def test_concurrency(system: System, key: str) -> None:
    """A worker with `-c N` runs N tasks at a time, and no more."""
    results = [jobs.hold.delay(key) for _ in range(4)]
    system.noted(key, 3)
    assert len(system.inspect("active")) == 3
    assert len(system.notes_on(key)) == 3
    system.release(key, 4)
    for result in results:
        result.get(timeout=PATIENCE)
    assert len({note["pid"] for note in system.notes_on(key)}) == 3


def test_lost_child(system: System) -> None:
    """A process that is killed while idle is replaced."""
    before = jobs.process_id.apply_async(queue="lane").get(timeout=PATIENCE)
    os.kill(before, signal.SIGKILL)

    def processes() -> list[int]:
        found: list[int] = system.inspect("stats", worker=system.lane)["pool"]["processes"]
        return found

    wait_for(lambda: len(processes()) == 1 and before not in processes(), "it is replaced")
    assert jobs.process_id.apply_async(queue="lane").get(timeout=PATIENCE) != before


def test_reconnect(system: System) -> None:
    """A worker whose connections are cut, all of them, connects again and goes on."""
    with system.worker_beside() as extra:
        jobs.add.apply_async((1, 1), queue=extra.queue).get(timeout=PATIENCE)
        worker = psutil.Process(extra.worker.pid)
        for process in (worker, *worker.children(recursive=True)):
            for connection in process.net_connections():
                with suppress(redis.ResponseError):
                    system.broker.client_kill(f"{connection.laddr.ip}:{connection.laddr.port}")
        assert jobs.add.apply_async((2, 2), queue=extra.queue).get(timeout=2 * PATIENCE) == 4
        # What was asked while it had no connection is not kept for it.
        wait_for(system.app.control.inspect([extra.name], timeout=1, limit=1).ping, "it answers")
