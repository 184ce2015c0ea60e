"""W1: between the queue and the worker's memory."""

from __future__ import annotations

import random
import time

from tests.faults.ground import Ground, new_ids
from tests.faults.scenario import fault
from tests.faults.sides import Worker


@fault("W1", "SIGSTOP of a worker, one job, kill -9 of the worker")
def stopped_and_killed(ground: Ground) -> None:
    """The server answers the waiting worker's request while nobody reads the answer."""
    worker = ground.tried_worker()
    worker.freeze()
    (job,) = ground.enqueue("work")
    if not ground.side.is_ours:
        ground.taken()
    worker.kill()
    ground.strike(job)
    ground.worker()
    ground.settle()


@fault("W1", "kill -9 of a worker before its claim returns")
def killed_before_the_claim_returns(ground: Ground) -> None:
    proxy = ground.proxy()
    worker, other = ground.worker(through=proxy.url), ground.worker("-Q", "another")
    (job,) = new_ids(1)
    proxy.hold_reply_with(job)
    ground.try_to_enqueue("work", ids=[job])
    ground.wait(proxy.holding.is_set, "the message is on its way to the worker")
    worker.kill()
    ground.strike(job)
    ground.let_serve(other)
    ground.settle()


@fault("W1", "connection cut between a claim and its reply; the worker lives")
def cut_before_the_claim_returns(ground: Ground) -> None:
    proxy = ground.proxy()
    ground.worker(through=proxy.url)
    (job,) = new_ids(1)
    proxy.drop_reply_with(job)
    ground.try_to_enqueue("work", ids=[job])
    ground.wait(proxy.dropped.is_set, "the message was on its way to the worker")
    ground.strike(job)
    ground.settle()


@fault(
    "W1",
    "15 random kills -9 of workers under 20,000 jobs",
    runs=1,
    remark="quick run: 4 kills under 1,200 jobs",
)
def random_kills_under_load(ground: Ground) -> None:
    kills, jobs = (4, 1_200) if ground.quick else (15, 20_000)
    chance = random.Random(7)  # noqa: S311
    workers = [ground.begin_worker(children=2) for _ in range(2)]
    ground.ready(*workers)
    for _ in range(kills):
        ground.enqueue("work", 0.002, count=jobs // kills)
        time.sleep(chance.uniform(0, 0.5))
        _replace(ground, workers, chance.randrange(2))
    ground.settle()


def _replace(ground: Ground, workers: list[Worker], chosen: int) -> None:
    ground.ready(*workers)  # One always lives: the bound is that of a worker among others.
    workers[chosen].kill()
    workers[chosen] = ground.begin_worker(children=2)
