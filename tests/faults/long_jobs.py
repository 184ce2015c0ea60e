"""W4: a job that is alive, however long it runs and however silent Redis is."""

from __future__ import annotations

from tests.faults.ground import Ground
from tests.faults.scenario import fault
from tests.faults.sides import LATE, OURS


@fault(
    "W4",
    "a job runs longer than the visibility timeout; a second worker joins",
    sides=(LATE, OURS),
    stock={"broker_transport_options": {"visibility_timeout": 3}},
    remark="visibility_timeout 3 s on the stock side",
)
def longer_than_the_visibility_timeout(ground: Ground) -> None:
    gate = ground.gate()
    ground.worker()
    (job,) = ground.enqueue("until", gate)
    ground.started(job)
    ground.sleep(3.5)
    ground.worker()
    ground.watch(job, seconds=12)
    ground.open(gate)
    ground.settle()


@fault(
    "W4",
    "SIGSTOP of Redis for 60 s while jobs run",
    sides=(LATE, OURS),
    remark="quick run: 20 s",
    not_reproducible="stock's main process waits in one call until Redis answers, and so loses no connection",
    runs=1,
)
def silent_redis(ground: Ground) -> None:
    gate = ground.gate()
    ground.worker(children=3)
    jobs = ground.enqueue("until", gate, count=2)
    ground.started(*jobs)
    ground.redis.pause()
    ground.sleep(20 if ground.quick else 60)
    ground.redis.resume()
    ground.watch(*jobs, seconds=15)
    ground.open(gate)
    ground.settle()
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()
