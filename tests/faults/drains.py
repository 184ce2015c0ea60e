"""W24: a worker that is told to end, and those who do not wait for it."""

from __future__ import annotations

from tests.faults.ground import Ground
from tests.faults.scenario import fault

DRAINS = "Warm shutdown"
"""What Celery logs of it."""


@fault("W24", "SIGTERM of a worker, and kill -9 half a second later: jobs run and wait")
def killed_while_it_drains(ground: Ground) -> None:
    worker, other, gate = ground.worker(), ground.worker("-Q", "another"), ground.gate()
    _, waiting = ground.hoard(worker, gate, "work", count=8)
    worker.stop()
    ground.wait(lambda: DRAINS in worker.log.read_text(), "the worker is about to end")
    ground.sleep(0.5)
    worker.kill()
    ground.strike(*waiting)
    ground.open(gate)
    ground.let_serve(other)
    ground.settle()


@fault("W24", "SIGTERM of a worker's whole process group while a job runs and others wait")
def group_told_to_end(ground: Ground) -> None:
    worker, other, gate = ground.worker(), ground.worker("-Q", "another"), ground.gate()
    running, waiting = ground.hoard(worker, gate, "work", count=8)
    worker.stop_group()
    ground.wait(lambda: worker.has_ended or DRAINS in worker.log.read_text(), "the worker is about to end")
    ground.sleep(0.5)
    if ground.side.is_ours:
        ground.expect_no_other_start(running)
    ground.let_serve(other)
    ground.open(gate)
    ground.wait(lambda: worker.has_ended, "the worker ends")
    ground.strike(*waiting)
    ground.settle()
