"""W7, W15 and W21: what networks do."""

from __future__ import annotations

from tests.faults.ground import QUEUE, Ground, Unplayed, new_ids
from tests.faults.scenario import fault
from tests.faults.sides import LATE, OURS, STOCK


@fault("W7", "every connection of a worker is cut while a job runs", sides=(LATE, OURS))
def cut_in_mid_body(ground: Ground) -> None:
    proxy, gate = ground.proxy(), ground.gate()
    ground.worker(children=2, through=proxy.url)
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    if not proxy.cut():
        raise Unplayed("there was no connection to cut")
    ground.watch(job, seconds=8)
    ground.open(gate)
    ground.settle()
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()


@fault("W7", "the same, jobs claimed and not started", sides=(LATE, OURS))
def cut_with_claimed_jobs(ground: Ground) -> None:
    proxy, gate = ground.proxy(), ground.gate()
    worker = ground.worker(through=proxy.url)
    running, _ = ground.hoard(worker, gate, "until", gate, count=2)
    proxy.cut()
    ground.worker()
    ground.watch(running, seconds=4)
    ground.open(gate)
    ground.settle()


@fault("W15", "the reply to a publish is lost with its connection", sides=(STOCK, OURS))
def reply_to_a_publish_lost(ground: Ground) -> None:
    proxy = ground.proxy()
    ground.enqueue("work", through=proxy.url)
    (job,) = new_ids(1)
    proxy.drop_reply_to(job, "faults.work")
    accepted = ground.try_to_enqueue("work", ids=[job], through=proxy.url)
    ground.wait(proxy.dropped.is_set, "the reply is lost")
    if not accepted and ground.client.llen(QUEUE) > 1:
        ground.count_as_accepted(job)
    ground.worker()
    ground.settle()


@fault("W21", "half-open connections: no packet passes, none is refused; then three jobs", sides=(STOCK, OURS))
def half_open(ground: Ground) -> None:
    proxy = ground.proxy()
    ground.tried_worker(through=proxy.url)
    if not proxy.freeze():
        raise Unplayed("there was no connection to freeze")
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()


@fault(
    "W21",
    "Redis is killed and started again five times under an idle worker; then three jobs",
    sides=(LATE, OURS),
    redis={"appendonly": "yes"},
    not_reproducible="Celery 5.7 consumes again here; what users still report depends on timing",
)
def idle_through_restarts(ground: Ground) -> None:
    ground.tried_worker()
    for _ in range(5):
        ground.redis.kill()
        ground.redis.start()
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()
