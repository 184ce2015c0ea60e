"""W19 and W20: what happens to Redis itself."""

from __future__ import annotations

import time

from tests.faults.ground import QUEUE, Ground
from tests.faults.proxy import Proxy
from tests.faults.scenario import fault
from tests.faults.servers import Server
from tests.faults.sides import LATE, OURS, STOCK, Worker


@fault(
    "W19",
    "kill -9 of a Redis with AOF, which starts again; jobs run and wait",
    sides=(LATE, OURS),
    redis={"appendonly": "yes", "appendfsync": "everysec"},
)
def restart_with_aof(ground: Ground) -> None:
    gate = ground.gate()
    ground.worker(children=2)
    (running,) = ground.enqueue("until", gate)
    ground.started(running)
    waiting = ground.enqueue("until", gate, count=20)
    ground.redis.kill()
    ground.redis.start()
    ground.watch(running, seconds=6)
    ground.open(gate)
    ground.strike(*waiting[-1:])
    ground.settle()


@fault(
    "W19",
    "failover to a replica that lags: ten jobs done and five accepted meanwhile",
    sides=(LATE, OURS),
    limit="what the replica never received is gone, unless it came through the outbox; the guarantees say so",
    covered=("lost",),
)
def failover_to_a_lagging_replica(ground: Ground) -> None:
    replica, link = ground.server("replica"), ground.proxy()
    replica.client().execute_command("REPLICAOF", "127.0.0.1", link.port)
    ground.wait(lambda: _is_in_step(replica), "the replica follows")
    front = ground.proxy()
    _work_for_a_while(ground, front)
    done = ground.enqueue("work", count=10)
    _wait_for_copy(ground, replica)
    link.freeze()
    worker = ground.worker(through=front.url)
    ground.settled(*done)
    _stop(ground, worker)
    ground.enqueue("work", count=5)
    _fail_over(ground, front, replica)
    ground.worker(through=front.url)
    ground.watch(*done, seconds=12)
    ground.settle()


def _work_for_a_while(ground: Ground, front: Proxy) -> None:
    """No system fails over in its first second: what workers write down of their server is on the replica by then."""
    worker = ground.tried_worker(through=front.url)
    ground.sleep(3)
    _stop(ground, worker)


def _stop(ground: Ground, worker: Worker) -> None:
    worker.stop()
    ground.wait(lambda: worker.has_ended, "the worker ends")


def _is_in_step(replica: Server) -> bool:
    with replica.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def _wait_for_copy(ground: Ground, replica: Server) -> None:
    with replica.client() as client:
        ground.wait(lambda: client.llen(QUEUE) == ground.client.llen(QUEUE), "the replica has the jobs")


def _fail_over(ground: Ground, front: Proxy, replica: Server) -> None:
    with replica.client() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
    ground.redis.kill()
    front.retarget(replica.port)
    ground.lead_to(replica)


@fault(
    "W20",
    "a Redis with maxmemory and allkeys-lru fills up with other keys while jobs wait",
    sides=(STOCK, OURS),
    redis={"maxmemory": "6mb", "maxmemory-policy": "allkeys-lru"},
)
def eviction(ground: Ground) -> None:
    worker = ground.begin_worker()
    ground.wait(lambda: worker.has_ended or ground.is_ready(worker), "the worker starts or refuses", 40)
    if worker.has_ended:
        assert "noeviction" in worker.log.read_text(), "the worker ended without naming the remedy"
        ground.remark("our worker refuses to start and names the remedy")
        return
    worker.kill()
    ground.enqueue("work", count=20)
    time.sleep(1)
    ground.wait(lambda: _fill(ground), "the queue is evicted")
    ground.worker()
    ground.settle()


def _fill(ground: Ground) -> bool:
    for _ in range(200):
        number = ground.client.incr("cache:counter")
        ground.client.set(f"cache:{number}", b"x" * 10_000)
    return not ground.client.exists(QUEUE)
