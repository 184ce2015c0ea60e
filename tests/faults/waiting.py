"""W13, W14, W16 and W18: jobs that wait."""

from __future__ import annotations

import signal
import time

from tests.faults.ground import Ground
from tests.faults.judge import Fate
from tests.faults.scenario import fault
from tests.faults.sides import LATE, OURS, STOCK

CHUNK = 500
TOPIC = {"reports": {"exchange": "reports", "exchange_type": "topic", "routing_key": "reports"}}


@fault(
    "W13", "20,000 jobs with an ETA; the worker that has seen them is killed", runs=1, remark="quick run: 1,000 jobs"
)
def eta_jobs_and_a_killed_worker(ground: Ground) -> None:
    count, due = (1_000, time.monotonic() + 15) if ground.quick else (20_000, time.monotonic() + 90)
    worker = ground.worker()
    before = worker.memory
    for _ in range(count // CHUNK):
        ground.enqueue("work", count=CHUNK, countdown=max(1.0, due - time.monotonic()))
    ground.taken(timeout=60)
    ground.sleep(1)
    ground.remark(f"the worker grew by {(worker.memory - before) / 2**20:.0f} MB")
    ground.worker(children=2)
    worker.kill()
    ground.sleep(due - time.monotonic())
    ground.settle()


@fault("W14", "three jobs revoked while no worker runs", sides=(STOCK, OURS))
def revoked_while_nobody_listens(ground: Ground) -> None:
    ground.worker().kill()
    jobs = ground.enqueue("work", count=3)
    ground.producer().ask(do="revoke", ids=jobs)
    ground.expect(Fate.REVOKED, *jobs)
    ground.worker()
    ground.settle()


@fault(
    "W16",
    "the binding set is gone when a stopping worker hands its claims back",
    sides=(LATE, OURS),
    config={"task_queues": TOPIC, "task_default_queue": "reports"},
    remark="a queue on a topic exchange",
)
def binding_set_deleted(ground: Ground) -> None:
    worker, gate = ground.worker(), ground.gate()
    jobs = ground.enqueue("until", gate, count=3)
    ground.started(jobs[0])
    if not ground.side.is_ours:  # Ours leaves in the queue what it cannot start.
        ground.taken("reports")
    ground.client.delete("_kombu.binding.reports")
    worker.process.send_signal(signal.SIGQUIT)
    ground.wait(lambda: worker.has_ended, "the worker ends")
    ground.open(gate)
    ground.worker()
    ground.settle()


@fault("W18", "a stopping worker hands back what it had claimed", sides=(LATE, OURS))
def order_after_a_restore(ground: Ground) -> None:
    worker, gate = ground.worker(), ground.gate()
    _, jobs = ground.hoard(worker, gate, "work", count=8)
    time.sleep(0.3)
    worker.process.send_signal(signal.SIGQUIT)
    ground.wait(lambda: worker.has_ended, "the worker ends")
    ground.open(gate)
    ground.expect_in_line(jobs)
    ground.worker()
    ground.settle()
