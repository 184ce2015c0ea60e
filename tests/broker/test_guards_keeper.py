"""The keeper and its worker's link: what is settled is settled whoever dies, and a lease ends with its worker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.breaker import Breaker
from penstock.broker.keys import Keys
from penstock.broker.scripts import ADMITTED, Claimed, Scripts, Settlement, Source
from penstock.engine.attempts import Attempt
from penstock.engine.link import KeeperLink
from penstock.ledger import letters, schema
from penstock.ledger.session import reading
from tests.live import ROOT, wait_for
from tests.servers import Server, running

WORKER, QUEUE = "ant@host/00000001", "mail"
LEASE_SECONDS = 1.0
Linked = Callable[..., KeeperLink]
Started = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with running("valkey") as server:
        yield server


@pytest.fixture
def server(started: Server) -> Iterator[redis.Redis]:
    """A connection to an empty server."""
    with redis.Redis(unix_socket_path=str(started.path)) as client:
        client.flushall()
        yield client


@pytest.fixture
def scripts(server: redis.Redis) -> Scripts:
    return Scripts(server, Keys())


@pytest.fixture
def news() -> dict[str, Any]:
    """What the keeper has told last, by its name."""
    return {}


@pytest.fixture
def linked(started: Server, news: dict[str, Any]) -> Iterator[Linked]:
    """Starts a keeper; it keeps the worker from the beginning."""
    links: list[KeeperLink] = []

    def link(**changes: Any) -> KeeperLink:
        made = KeeperLink(config(started, **changes), news.update)
        links.append(made)
        made.start()
        made.tell(workers=[WORKER], queues=[QUEUE])
        return made

    yield link
    for made in links:
        if made.pid is not None:
            os.kill(made.pid, signal.SIGCONT)
        made.stop()


def config(started: Server, **changes: Any) -> dict[str, Any]:
    return {
        "broker_url": started.url,
        "transport_options": {},
        "prefix": "",
        "database_url": None,
        "lease_seconds": 10.0,
        "crash_limit": 3,
        "retention": "",
        "breakers": {},
        "workers": [],
        "queues": [],
        **changes,
    }


def hold(scripts: Scripts, *raws: bytes) -> list[Claimed]:
    """The worker begins a lease and claims just these."""
    scripts.join(WORKER)
    scripts.client.lpush(scripts.keys.ready(QUEUE, 0), *raws)
    return scripts.claim(WORKER, WORKER, 0, [Source(QUEUE, 0)]).messages


def held(scripts: Scripts) -> list[bytes]:
    return sorted(scripts.client.hvals(scripts.keys.inflight(WORKER, QUEUE)))


def ready(scripts: Scripts) -> list[bytes]:
    """The queue, first in line first."""
    return list(scripts.client.lrange(scripts.keys.ready(QUEUE, 0), 0, -1))[::-1]


def settled_in_time(link: KeeperLink, scripts: Scripts, what: str) -> None:
    def settled() -> bool:
        link.watch()
        return held(scripts) == []

    wait_for(settled, what)


def ack(claim: str = "1:0") -> Settlement:
    return Settlement(WORKER, QUEUE, claim, "ack")


def test_a_settlement_that_its_keeper_took_to_its_grave_goes_to_the_next_one(linked: Linked, scripts: Scripts) -> None:
    hold(scripts, b"a")
    link = linked()
    assert link.pid is not None
    os.kill(link.pid, signal.SIGSTOP)
    link.settle(ack())
    os.kill(link.pid, signal.SIGKILL)
    settled_in_time(link, scripts, "another keeper settles")


def test_a_keeper_that_died_is_replaced(linked: Linked, scripts: Scripts) -> None:
    hold(scripts, b"a")
    link = linked()
    first = link.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: link.watch() or link.pid != first, "another keeper is started")  # type: ignore[func-returns-value]
    link.settle(ack())
    settled_in_time(link, scripts, "the other keeper settles")


def test_a_later_keeper_renews_the_same_lease(linked: Linked, scripts: Scripts) -> None:
    hold(scripts, b"a")
    link = linked(lease_seconds=LEASE_SECONDS)
    first = link.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: link.watch() or link.pid != first, "another keeper is started")  # type: ignore[func-returns-value]
    before = scripts.client.zscore(scripts.keys.leases, WORKER)
    assert before is not None
    wait_for(lambda: (scripts.client.zscore(scripts.keys.leases, WORKER) or 0) > before, "the lease is renewed")


def test_signals_to_the_whole_group_do_not_end_the_keeper(linked: Linked, scripts: Scripts) -> None:
    hold(scripts, b"a")
    link = linked()
    link.settle(ack())
    settled_in_time(link, scripts, "the keeper is up")
    first = link.pid
    assert first is not None
    for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(first, kind)
    scripts.client.lpush(scripts.keys.ready(QUEUE, 0), b"b")
    (message,) = scripts.claim(WORKER, WORKER, 1, [Source(QUEUE, 0)]).messages
    link.settle(ack(message.token))
    settled_in_time(link, scripts, "the keeper settles")
    assert link.pid == first


def test_a_worker_that_says_goodbye_gives_back_without_counting(linked: Linked, scripts: Scripts) -> None:
    hold(scripts, b"a", b"b")
    link = linked()
    link.stop()
    assert ready(scripts) == [b"a", b"b"]
    assert not scripts.client.exists(scripts.keys.deliveries, scripts.keys.leases)


def test_a_keeper_that_ends_leaves_the_breakers_to_the_next_one_at_once(linked: Linked, scripts: Scripts) -> None:
    scripts.join(WORKER)
    scripts.switch("t", "open", "ann", "")
    link = linked()
    wait_for(lambda: scripts.client.exists(scripts.keys.breaker_keeper), "it looks after the breakers")
    link.stop()
    assert not scripts.client.exists(scripts.keys.breaker_keeper)


def test_a_probe_that_is_given_back_as_its_worker_ends_leaves_its_turn_to_another(
    linked: Linked, scripts: Scripts, news: dict[str, Any]
) -> None:
    rule = Breaker(failures=1, pause=3600).rule
    scripts.trip("t", rule, (1, 0), "down", ())
    scripts.client.hset(scripts.keys.breaker("t"), "next", 1)
    scripts.probe("t")
    (message,) = hold(scripts, b"a")
    assert scripts.settle([Settlement(WORKER, QUEUE, message.token, "admit", "t", "j")]) == [ADMITTED]
    link = linked(breakers={"t": rule})
    wait_for(lambda: link.watch() or news.get("broken") == ["t"], "it knows of the breaker")  # type: ignore[func-returns-value]
    link.tell_attempt(Attempt("t", f"00000001:{message.token}", None, ""))
    link.stop()
    assert scripts.client.hget(scripts.keys.breaker("t"), "left") == b"1"
    assert ready(scripts) == [b"a"]


def test_a_lease_that_was_taken_away_is_told(linked: Linked, scripts: Scripts, news: dict[str, Any]) -> None:
    hold(scripts, b"a")
    link = linked(lease_seconds=LEASE_SECONDS)
    scripts.client.zrem(scripts.keys.leases, WORKER)
    wait_for(lambda: link.watch() or news.get("lost"), "the worker hears of it")  # type: ignore[func-returns-value]
    assert news["lost"] == [WORKER]


def test_a_job_that_was_revoked_is_told(linked: Linked, scripts: Scripts, news: dict[str, Any]) -> None:
    scripts.join(WORKER)
    link = linked()
    scripts.revoke(["j1"])
    wait_for(lambda: link.watch() or news.get("revoked"), "the worker hears of it")  # type: ignore[func-returns-value]
    assert news["revoked"] == ["j1"]


def test_what_is_due_is_promoted(linked: Linked, scripts: Scripts) -> None:
    scripts.join(WORKER)
    scripts.publish("p", 1, QUEUE, 0, [("j1", b"a")], due_ms=(int(scripts.client.time()[0]) + 1) * 1000)
    assert ready(scripts) == []
    linked()
    wait_for(lambda: ready(scripts) == [b"a"], "the message is on its queue")


def test_a_silent_worker_is_reaped_by_anothers_keeper(linked: Linked, scripts: Scripts) -> None:
    hold(scripts, b"a")
    link = linked(lease_seconds=LEASE_SECONDS)
    scripts.join("bee@host/00000002")
    link.tell(workers=["bee@host/00000002"])
    wait_for(lambda: ready(scripts) == [b"a"], "the message is on its queue")


# A worker with a keeper in a process of its own, which can be killed. Its child holds the socket as a pool's would.
WORKER_PROGRAM = """
import json, os, sys, time
import redis
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.engine.link import KeeperLink
link = KeeperLink(json.loads(sys.argv[1]), print)
link.open()
child = os.fork() if sys.argv[3] == "fork" else 0
if child or sys.argv[3] != "fork":
    link.start()
    link.tell(workers=[sys.argv[2]])
    print(child, flush=True)
time.sleep(600)
"""


@pytest.fixture
def worker_process(started: Server) -> Iterator[Started]:
    """Starts such a worker; it and its child's process id, 0 if it has none."""
    processes: list[tuple[subprocess.Popen[str], int]] = []

    def start(fork: str, lease_seconds: float) -> tuple[subprocess.Popen[str], int]:
        words = [json.dumps(config(started, lease_seconds=lease_seconds)), WORKER, fork]
        command = [sys.executable, "-c", WORKER_PROGRAM, *words]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        processes.append((process, int(process.stdout.readline())))
        return processes[-1]

    yield start
    for process, child in processes:
        process.kill()
        process.wait()
        if child:
            os.kill(child, signal.SIGKILL)


def test_a_worker_that_is_killed_gives_back_at_once_and_counts_a_crash(
    worker_process: Started, scripts: Scripts
) -> None:
    hold(scripts, b"a", b"b")
    process, _ = worker_process("", lease_seconds=60)
    wait_for(lambda: len(scripts.client.client_list()) > 1, "the keeper is up")
    process.kill()
    wait_for(lambda: ready(scripts) == [b"a", b"b"], "its claims are on their queue")
    assert {bytes(count).split(b":")[1] for count in scripts.client.hvals(scripts.keys.deliveries)} == {b"1"}


def test_a_worker_whose_child_lives_on_gives_back_when_its_lease_ends(
    worker_process: Started, scripts: Scripts
) -> None:
    hold(scripts, b"a")
    process, _ = worker_process("fork", lease_seconds=LEASE_SECONDS)
    wait_for(lambda: len(scripts.client.client_list()) > 1, "the keeper is up")
    process.kill()
    wait_for(lambda: ready(scripts) == [b"a"], "its claims are on their queue")


def test_a_dead_letter_stays_in_redis_until_the_ledger_has_it(linked: Linked, scripts: Scripts, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    hold(scripts, b"not json")
    scripts.settle([Settlement(WORKER, QUEUE, "1:0", "quarantine", "not JSON")])
    link = linked(database_url=url)
    wait_for(lambda: (tmp_path / "ledger.db").exists(), "the keeper has tried")
    assert scripts.client.llen(scripts.keys.dead) == 1
    schema.upgrade(url)
    wait_for(lambda: link.watch() or scripts.client.llen(scripts.keys.dead) == 0, "the ledger has it")  # type: ignore[func-returns-value]
    with reading(url) as connection:
        (letter,) = letters.list_letters(connection, letters.LetterFilter(), 10)
        assert letters.payload_of(connection, letter.id) == b"not json"
    assert not scripts.client.keys("*dead:*")
