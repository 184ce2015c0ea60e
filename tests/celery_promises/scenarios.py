"""What takes a worker of its own, played once per engine and looked at by several promises."""

from dataclasses import dataclass

from tests.celery_promises.system import System
from tests.live import wait_for


@dataclass(frozen=True)
class Life:
    """A worker that was started and then shut down by remote control."""

    name: str
    pid: int
    queue: str
    queues: list[str]
    pool: list[int]
    signals_at_start: list[str]
    exit_code: int


def life(system: System) -> Life:
    """Starts a worker with two children and ends it by remote control."""
    with system.worker_beside(children=2) as one:
        pid = one.worker.pid
        system.signal(one.name, "worker_ready")
        queues = [queue["name"] for queue in system.inspect("active_queues", worker=one.name)]
        pool = system.inspect("stats", worker=one.name)["pool"]["processes"]
        signals = system.signals(one.name)
        system.noted(f"signals:processes:{one.name}", 2)
        system.event("worker-heartbeat", hostname=one.name)
        system.app.control.shutdown(destination=[one.name])
        wait_for(lambda: one.ended, "the worker has ended")
        code = one.worker.stop()
    return Life(one.name, pid, one.queue, queues, pool, signals, code)
