"""How many idle claimers one job wakes, and what they ask for while nothing happens."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import redis
from celery import current_app
from kombu import Consumer, Queue

from benchmarks.applications.tasks import send_welcome
from benchmarks.conditions import wait_for
from benchmarks.harness import OURS, STOCK, Bench, Caller
from benchmarks.report import Figure, Row, Target
from benchmarks.servers import Server

CLAIMERS, PUSHES, IDLE_SECONDS = 100, 5, 4.0
TITLE = f"One job for {CLAIMERS} idle claimers"
HOW = (
    f"{CLAIMERS} connections that consume from one queue, each with the transport that a worker has. Claim calls: how "
    "often a push makes anybody run the script `claim` within half a second. Stock has no such call: Redis hands the "
    "message to whoever has waited longest, and a worker that dies then has lost it."
)


def measure(bench: Bench) -> Figure:
    """Claim calls per push, and commands per second of claimers that are idle."""
    calls, ours = observe(bench, OURS)
    _, stock = observe(bench, STOCK)
    return Figure(
        "wake",
        TITLE,
        HOW,
        [
            Row("claim calls per job", "", calls, less_is_better=True, target=Target("ours", at_most=2)),
            Row("commands per second while idle", "1/s", [ours], [stock], less_is_better=True),
        ],
    )


def observe(bench: Bench, side: str) -> tuple[list[float], float]:
    """Claim calls of each push, and commands per second without any."""
    server = bench.server(side)
    with bench.caller(side, server) as idle, bench.caller(side, server) as producer:
        producer.call(push)
        idle.call(start, claimers=CLAIMERS)
        wait_for(lambda: idle.call(received) == 1, "the first job arrives", 20)
        wait_for(lambda: blocked(server) >= CLAIMERS, "all claimers are idle", 20)
        before = server.usage()
        time.sleep(IDLE_SECONDS)
        rate = (server.usage() - before).commands / IDLE_SECONDS
        calls = [claim_calls(server, producer, idle, number) for number in range(2, PUSHES + 2)]
    return calls, rate


def claim_calls(server: Server, producer: Caller, idle: Caller, number: int) -> float:
    """How many scripts one push makes the claimers run; publishing is one as well, and nobody settles here."""
    before = scripts_run(server)
    producer.call(push)
    wait_for(lambda: idle.call(received) == number, f"job {number} arrives", 20)
    time.sleep(0.5)
    return scripts_run(server) - before - 1


def blocked(server: Server) -> int:
    """Clients that wait in a blocking command."""
    return int(server.client.info("clients")["blocked_clients"])


def scripts_run(server: Server) -> int:
    """How many calls of scripts the server has had."""
    return int(server.client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def push() -> None:
    """One job."""
    send_welcome.delay(7)


_received: list[Any] = []


def received() -> int:
    """How many messages the claimers of this process have been handed."""
    return len(_received)


def start(claimers: int) -> None:
    """Starts that many claimers in threads; they end with the process."""
    for number in range(claimers):
        threading.Thread(target=consume, args=(number,), daemon=True).start()


def consume(number: int) -> None:
    """Consumes as a worker's connection does, without a worker around it."""
    connection = current_app.connection_for_read()
    if current_app.main == OURS:
        hold_claims(connection, number)
    with Consumer(connection, [Queue("celery")], on_message=_received.append, prefetch_count=10):
        while True:
            with suppress(TimeoutError):
                connection.drain_events(timeout=60)


def hold_claims(connection: Any, number: int) -> None:
    """Makes the connection that of a worker with a lease; whoever consumes through it never settles."""
    from penstock.broker.claims import Claims
    from penstock.broker.keys import Keys
    from penstock.broker.scripts import Scripts
    from penstock.broker.transport import CLAIMS

    class Nobody:
        def settle(self, settlement: Any) -> None: ...

        def settle_lost(self, settlement: Any, delivery: Any, how: Any) -> None: ...

        def unindex(self, jobs: Any) -> None: ...

    worker = f"idle-{number}/00000000"
    Scripts(redis.Redis.from_url(current_app.conf.broker_url), Keys()).join(worker)
    claims = Claims(worker.partition("/")[0], Keys(), Nobody())
    claims.begin(worker)
    setattr(connection, CLAIMS, claims)
