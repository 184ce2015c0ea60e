"""What taking a message and settling it costs Redis and the network, without Celery around it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import redis
from celery import current_app

from benchmarks.applications.tasks import send_welcome
from benchmarks.conditions import BenchmarkError
from benchmarks.figures.throughput import is_settled
from benchmarks.harness import OURS, STOCK, Bench, turns
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server, Usage

TITLE = "Taking and settling messages, without Celery around it"
HOW = (
    "Stock: the commands of kombu's channel for each message (BRPOP; ZADD and HSET in a transaction; ZREM and HDEL in "
    "another), on a redis-py client; it knows no batches, so its values are the same in both halves. Ours: the scripts "
    "`claim`, `unindex` and `settle`. Each side's own messages. CPU is that of the whole server, its file included."
)
ONE_BY_ONE, BATCHED, BATCH, ROUNDS = 2000, 20_000, 100, 3


class Cost(NamedTuple):
    """Of one way, per job but for the rate."""

    rate: float
    commands: float
    cpu_us: float
    bytes: float


def measure(bench: Bench) -> Figure:
    """One by one, and in batches."""
    ways = {STOCK: {"one": kombus}, OURS: {"one": ours_one_by_one, "many": ours_in_batches}}
    costs: dict[tuple[str, str], list[Cost]] = {(side, way): [] for side in ways for way in ways[side]}
    for side in turns(ROUNDS):
        for name, way in ways[side].items():
            jobs = bench.amount(BATCHED if name == "many" else ONE_BY_ONE)
            costs[side, name].append(cost(bench, side, way, jobs))
    stock = costs[STOCK, "one"]
    return Figure(
        "redis-work",
        TITLE,
        HOW,
        [
            *rows("one by one", costs[OURS, "one"], stock),
            *rows(f"in batches of {BATCH}", costs[OURS, "many"], stock, cpu=Target("ours", at_most=5)),
        ],
    )


def rows(how: str, ours: list[Cost], stock: list[Cost], cpu: Target | None = None) -> list[Row]:
    """The four quantities of one way."""

    def row(what: str, unit: str, place: int, target: Target | None = None) -> Row:
        mine, theirs = ([cost[place] for cost in side] for side in (ours, stock))
        return Row(f"{how}: {what}", unit, mine, theirs, less_is_better=place > 0, target=target)

    return [
        row("rate of one client", "jobs/s", 0),
        row("commands per job, those inside scripts too", "", 1),
        row("CPU of Redis per job", "µs", 2, cpu),
        row("network per job", "bytes", 3),
    ]


def cost(bench: Bench, side: str, way: Callable[..., float], jobs: int) -> Cost:
    """Fills a queue and empties it."""
    server = bench.server(side)
    with bench.caller(side, server) as caller:
        caller.call(fill, jobs=jobs)
        before: Usage = server.usage()
        seconds = caller.call(way, jobs=jobs)
        used = server.usage() - before
    check_empty(server)
    return Cost(jobs / seconds, used.commands / jobs, used.cpu_us / jobs, used.bytes / jobs)


def check_empty(server: Server) -> None:
    """Nothing waits and nothing is held."""
    if not is_settled(server):
        raise BenchmarkError("not every message was settled")


def fill(jobs: int) -> None:
    """Puts copies of one real message on the queue, each with an id of its own, as its side would have."""
    client: Any = redis.Redis.from_url(current_app.conf.broker_url)
    id = send_welcome.delay(7, template="short").id
    raw = client.rpop("celery")
    copies = [(new, raw.replace(id.encode(), new.encode())) for new in (str(uuid.uuid4()) for _ in range(jobs))]
    for first in range(0, jobs, 500):
        if current_app.main == OURS:
            _scripts().publish("filler", first, "celery", 0, copies[first : first + 500])
        else:
            client.lpush("celery", *(raw for _, raw in copies[first : first + 500]))


def kombus(jobs: int) -> float:
    """Seconds for what kombu's channel does with each message (``kombu/transport/redis.py``)."""
    client: Any = redis.Redis.from_url(current_app.conf.broker_url)
    keys = [f"celery{suffix}" for suffix in ("", "\x06\x163", "\x06\x166", "\x06\x169")]
    started = time.perf_counter()
    for _ in range(jobs):
        _, raw = client.brpop(keys, 1)
        tag = str(uuid.uuid4())
        recorded = json.dumps([json.loads(raw), "celery", "celery"])
        client.pipeline().zadd("unacked_index", {tag: time.time()}).hset("unacked", tag, recorded).execute()
        client.pipeline().zrem("unacked_index", tag).hdel("unacked", tag).execute()
    return time.perf_counter() - started


def ours_one_by_one(jobs: int) -> float:
    """Seconds for our scripts with one message per call."""
    return _claim_and_settle(jobs, 1)


def ours_in_batches(jobs: int) -> float:
    """Seconds for our scripts with many messages per call."""
    return _claim_and_settle(jobs, BATCH)


def _claim_and_settle(jobs: int, size: int) -> float:
    from penstock.broker.envelope import job_id, read
    from penstock.broker.keys import PRIORITY_STEPS
    from penstock.broker.scripts import Settlement, Source

    scripts = _scripts()
    scripts.join("bench/1")
    sources = [Source("celery", step) for step in PRIORITY_STEPS]
    claimed = 0
    started = time.perf_counter()
    while claimed < jobs:
        messages = scripts.claim("bench/1", "bench/1", claimed, sources, count=size).messages
        scripts.unindex([("celery", job_id(read(message.raw))) for message in messages])
        scripts.settle([Settlement("bench/1", message.queue, message.token, "ack") for message in messages])
        claimed += len(messages)
    return time.perf_counter() - started


def _scripts() -> Any:
    from penstock.broker.keys import Keys
    from penstock.broker.scripts import Scripts

    return Scripts(redis.Redis.from_url(current_app.conf.broker_url), Keys())
