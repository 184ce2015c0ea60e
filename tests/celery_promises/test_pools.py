"""Pools"""

from tests.celery_promises import jobs
from tests.celery_promises.system import System

PATIENCE = 15


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


def test_gevent(system: System, key: str) -> None:
    """`-P gevent` runs tasks in greenlets of the worker's process."""
    # What gevent patches makes Celery look for settings before it knows the application: not those of this folder.
    nothing = {"CELERY_CONFIG_MODULE": "tests.celery_promises.no_settings"}
    with system.worker_beside("-P", "gevent", children=3, environment=nothing) as extra:
        assert "gevent" in system.inspect("stats", worker=extra.name)["pool"]["implementation"]
        results = [jobs.hold.apply_async((key,), queue=extra.queue) for _ in range(3)]
        assert {note["pid"] for note in system.noted(key, 3)} == {extra.worker.pid}
        system.release(key, 3)
        for result in results:
            result.get(timeout=PATIENCE)


def test_processes(system: System, key: str) -> None:
    """`-P processes` runs tasks in processes, which are Celery's own."""
    with system.worker_beside("-P", "processes", children=2) as extra:
        pool = system.inspect("stats", worker=extra.name)["pool"]
        assert pool["implementation"] == "celery.concurrency.prefork:TaskPool"
        results = [jobs.hold.apply_async((key,), queue=extra.queue) for _ in range(2)]
        assert {note["pid"] for note in system.noted(key, 2)} == set(pool["processes"])
        assert extra.worker.pid not in pool["processes"]
        system.release(key, 2)
        for result in results:
            result.get(timeout=PATIENCE)


def test_default(system: System) -> None:
    """Without `-P` tasks run in processes of their own, beside the worker's."""
    assert jobs.process_id.delay().get(timeout=PATIENCE) != system.worker.pid
