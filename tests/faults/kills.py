"""W3, W5 and W6: kill -9 of a worker, of its parent, child or keeper, at each step of a job's life."""

from __future__ import annotations

from tests.faults.ground import Ground, new_ids
from tests.faults.judge import Fate
from tests.faults.scenario import CHILD_BOUND, POSTGRESQL, fault
from tests.faults.sides import LATE, OURS, STOCK
from tests.faults.tasks import BEFORE_COMMIT


@fault("W3", "kill -9 of a whole worker in mid body", sides=(LATE, OURS))
def worker_killed_in_mid_body(ground: Ground) -> None:
    worker, gate = ground.worker(), ground.gate()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    ground.worker()
    worker.kill()
    ground.open(gate)
    ground.settle()


@fault("W3", "kill -9 of a whole worker that holds claimed jobs, none started")
def worker_killed_before_the_start(ground: Ground) -> None:
    worker, other, gate = ground.worker(), ground.worker("-Q", "another"), ground.gate()
    _, claimed = ground.hoard(worker, gate, "work", count=2)
    worker.kill()
    ground.strike(*claimed)
    ground.let_serve(other)
    ground.open(gate)
    ground.settle()


@fault(
    "W3",
    "the same, and what stock takes to recover",
    sides=(LATE, OURS),
    stock={"broker_transport_options": {"visibility_timeout": 10}},
    remark="visibility_timeout 10 s on the stock side; its default is an hour",
    patience=125.0,
    runs=1,
)
def recovery_by_visibility_timeout(ground: Ground) -> None:
    worker, gate = ground.worker(), ground.gate()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    ground.worker()
    worker.kill()
    ground.open(gate)
    ground.settle()


@fault("W3", "kill -9 of a worker's parent alone in mid body", sides=(LATE, OURS))
def parent_killed_in_mid_body(ground: Ground) -> None:
    worker, gate = ground.worker(), ground.gate()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    ground.worker()
    worker.kill_parent()
    ground.watch(job, seconds=12)
    ground.open(gate)
    ground.settle()


@fault(
    "W3",
    "kill -9 of the keeper alone in mid body",
    sides=(OURS,),
    not_reproducible="stock Celery has no such process",
)
def keeper_killed_in_mid_body(ground: Ground) -> None:
    worker, gate = ground.tried_worker(), ground.gate()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    ground.worker()
    worker.kill_keeper()
    ground.watch(job, seconds=13)
    ground.open(gate)
    ground.settle()
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()


@fault("W5", "kill -9 of a worker in mid body, acks as by default", sides=(STOCK, OURS))
def early_ack(ground: Ground) -> None:
    worker_killed_in_mid_body(ground)


@fault("W5", "kill -9 of a worker after the body, before the outcome is stored")
def worker_killed_before_commit(ground: Ground) -> None:
    worker = ground.worker()
    ground.hold(BEFORE_COMMIT)
    (job,) = ground.enqueue("work")
    ground.held(job)
    ground.worker()
    worker.kill()
    ground.strike(job)
    ground.release(BEFORE_COMMIT)
    ground.settle()


@fault("W6", "kill -9 of a pool child in mid body", bound=CHILD_BOUND)
def child_killed_in_mid_body(ground: Ground) -> None:
    worker, gate = ground.tried_worker(children=2), ground.gate()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    worker.kill_children()
    ground.open(gate)
    ground.settle()


@fault("W6", "kill -9 of a pool child after the body, before the outcome is stored", bound=CHILD_BOUND)
def child_killed_before_commit(ground: Ground) -> None:
    worker = ground.tried_worker(children=2)
    ground.hold(BEFORE_COMMIT)
    (job,) = ground.enqueue("work")
    ground.held(job)
    worker.kill_children()
    ground.strike(job)
    ground.release(BEFORE_COMMIT)
    ground.settle()


@fault(
    "W6",
    "kill -9 of a pool child after the outcome is stored, before the message is settled",
    bound=CHILD_BOUND,
    store=POSTGRESQL,
    not_reproducible="stock's result backends keep a success that they have",
)
def child_killed_before_settle(ground: Ground) -> None:
    sql = ground.sql_proxy()
    worker = ground.tried_worker(children=2)
    (job,) = new_ids(1)
    sql.hold_commit_of(job)
    ground.try_to_enqueue("work", ids=[job])
    ground.wait(sql.holding.is_set, "the answer to the COMMIT is kept")
    ground.stored(job)
    worker.kill_children()
    sql.cut()
    ground.watch(job, seconds=3)
    ground.settle()


@fault(
    "W6",
    "a job that kills its child each time",
    sides=(LATE, OURS),
    stock={"task_reject_on_worker_lost": True},
    remark="task_reject_on_worker_lost on the stock side",
)
def crash_loop(ground: Ground) -> None:
    ground.worker(children=2)
    (job,) = ground.enqueue("crash")
    ground.expect(Fate.BURIED, job)
    ground.settle()
    others = ground.enqueue("work", count=3)
    ground.strike(*others)
    ground.settle()
    ground.remark(f"{ground.starts(job)} starts")
