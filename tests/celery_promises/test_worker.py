"""Running a worker"""

import os
import signal
import uuid
from contextlib import suppress
from dataclasses import dataclass

import psutil
import redis

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


@dataclass(frozen=True)
class Shutdown:
    """A worker that was asked to end while it ran a task, held others, and one waited for its time."""

    how: str
    running: str
    exit_code: int
    started_meanwhile: int
    left: int
    ran_later: list[int]
    eta_ran_later: int


def warm_shutdown(system: System) -> Shutdown:
    """SIGTERM for a worker at work, and another one on the same queue afterwards."""
    key = uuid.uuid4().hex
    with system.worker_beside("--prefetch-multiplier", "4") as first:
        running = jobs.hold.apply_async((key, "finished"), queue=first.queue)
        system.noted(key)
        due = jobs.note.apply_async((f"{key}-eta",), countdown=5, queue=first.queue)
        waiting = [jobs.note.apply_async((f"{key}-waiting", i), queue=first.queue) for i in range(6)]
        wait_for(lambda: len(system.inspect("reserved", worker=first.name)) >= 3, "some are reserved")
        first.send(signal.SIGTERM)
        how = system.signal(first.name, "worker_shutting_down")["how"]
        system.release(key)
        code = first.worker.stop(patience=PATIENCE)
    started, left = len(system.notes_on(f"{key}-waiting")), system.depth(first.queue)
    with system.worker_beside("-Q", first.queue):
        for result in (*waiting, due):
            result.get(timeout=PATIENCE)
    later = [note["text"] for note in system.notes_on(f"{key}-waiting")]
    finished = running.get(timeout=PATIENCE)
    return Shutdown(how, finished, code, started, left, later, len(system.notes_on(f"{key}-eta")))


def test_warm_shutdown(system: System) -> None:
    """On SIGTERM a worker sends worker_shutting_down, finishes what runs and ends with exit code 0."""
    end = system.once(warm_shutdown)
    assert (end.how, end.running, end.exit_code) == ("Warm", "finished", 0)


def test_nothing_new_while_shutting_down(system: System) -> None:
    """It starts nothing more: what it had taken goes back to its queue beside what waits there."""
    end = system.once(warm_shutdown)
    assert end.started_meanwhile == 0
    assert end.left >= 6


def test_after_shutdown(system: System) -> None:
    """The next worker runs what the last one gave back, each once."""
    assert sorted(system.once(warm_shutdown).ran_later) == list(range(6))


def test_eta_after_shutdown(system: System) -> None:
    """A task that waited for its time in a worker that ended runs in the next one, once."""
    assert system.once(warm_shutdown).eta_ran_later == 1


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


def test_solo(system: System) -> None:
    """`-P solo` runs tasks in the worker's own process."""
    with system.worker_beside("-P", "solo") as extra:
        assert jobs.process_id.apply_async(queue=extra.queue).get(timeout=PATIENCE) == extra.worker.pid


def test_threads(system: System, key: str) -> None:
    """`-P threads` runs tasks in threads of the worker's process."""
    with system.worker_beside("-P", "threads", children=3) as extra:
        results = [jobs.hold.apply_async((key,), queue=extra.queue) for _ in range(3)]
        assert {note["pid"] for note in system.noted(key, 3)} == {extra.worker.pid}
        system.release(key, 3)
        for result in results:
            result.get(timeout=PATIENCE)


def test_reconnect(system: System) -> None:
    """A worker whose connections are cut connects again and goes on."""
    with system.worker_beside() as extra:
        jobs.add.apply_async((1, 1), queue=extra.queue).get(timeout=PATIENCE)
        for connection in psutil.Process(extra.worker.pid).net_connections():
            with suppress(redis.ResponseError):
                system.broker.client_kill(f"{connection.laddr.ip}:{connection.laddr.port}")
        assert jobs.add.apply_async((2, 2), queue=extra.queue).get(timeout=2 * PATIENCE) == 4
        assert system.inspect("ping", worker=extra.name) == {"ok": "pong"}
