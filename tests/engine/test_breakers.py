"""Breakers: a task that keeps failing is not started, on no worker, and goes on by itself when it works again."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.broker import breakers
from penstock.broker.waiting import find_notes
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.session import reading
from tests.engine.station import QUEUE, Station, entered
from tests.engine.test_children import ended, row_of
from tests.live import Worker, wait_for

KINDS: dict[str, dict[str, Any]] = {
    "threads": {"penstock_kind": "threads", "penstock_size": 4},
    "asyncio": {"penstock_kind": "asyncio", "penstock_size": 4},
}


@pytest.fixture(autouse=True)
def _empty(booked: Station) -> None:
    booked.redis.flushdb()


@pytest.fixture
def down(booked: Station) -> Iterator[Path]:
    """The service is down as long as there is this file."""
    path = booked.gate("down")
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def pair(booked: Station) -> Iterator[tuple[Worker, Worker]]:
    """Two workers of ours."""
    workers = booked.worker(children=2), booked.worker(children=2)
    with entered(*workers):
        yield workers


def standing(station: Station, task: str) -> str:
    found = breakers.standing(station.scripts, f"engine.{task}")
    return found.state if found else breakers.CLOSED


def aside(station: Station, task: str) -> int:
    return breakers.jobs_by_task(station.scripts)[f"engine.{task}"]


def open_breaker(station: Station, down: Path, task: str = "depend") -> None:
    """Five jobs fail. Workers hear of it one after the other, and start jobs meanwhile."""
    for _ in range(5):
        station.send(task, str(down))
    wait_for(lambda: standing(station, task) != breakers.CLOSED, "the breaker opens")
    wait_for(station.quiet, "all that failed is settled")


def put_aside(station: Station, task: str, argument: Path, count: int) -> list[str]:
    """Sends jobs until so many are aside at once, which is when the workers have heard of the breaker; all of them."""
    ids: list[str] = []

    def more() -> bool:
        ids.append(station.send(task, str(argument)))
        return aside(station, task) >= count

    wait_for(more, f"{count} are aside")
    return ids


def each_has_ended_once(station: Station, ids: Sequence[str]) -> None:
    """Every job has one final row, and its body has begun as often as that says."""
    with reading(station.ledger) as connection:
        wait_for(lambda: all(row.state.is_final for row in rows_of(connection, ids)), "all have ended", 60)
        rows = {row.id: row for row in rows_of(connection, ids)}
    assert sorted(rows) == sorted(ids)
    starts: dict[str, int] = {}
    for effect in station.effects(event="start"):
        starts[effect["id"]] = starts.get(effect["id"], 0) + 1
    odd = [id for id in ids if starts.get(id, 0) != rows[id].attempts]
    assert odd == [], [(rows[id], station.effects(id)) for id in odd]
    wait_for(station.quiet, "everything is settled")


def rows_of(connection: Any, ids: Sequence[str]) -> list[Any]:
    connection.rollback()
    return [row for at in range(0, len(ids), 200) for row in queries.find_jobs(connection, ids[at : at + 200])]


def goes_its_round(station: Station, down: Path, task: str) -> None:
    """It opens, jobs are put aside while others of the queue run, and all of them run when the service is up."""
    open_breaker(station, down, task)
    ids = put_aside(station, task, down, 20)
    station.ended(station.send("touch"))
    down.unlink()
    each_has_ended_once(station, ids)
    assert standing(station, task) == breakers.CLOSED
    assert not station.redis.exists(station.keys.blocked)


# Before the pair begins, which would take a part of their jobs.


@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_in_children_that_run_many_at_once(booked: Station, down: Path, kind: str) -> None:
    with booked.worker(**KINDS[kind]):
        goes_its_round(booked, down, "depend")


def test_so_it_is_in_celerys_own_pool(booked: Station, down: Path) -> None:
    with booked.worker("--pool", "processes", children=2):
        goes_its_round(booked, down, "depend")


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("task", ["depend", "fragile"])
def test_a_task_that_keeps_failing_is_put_aside_and_goes_on_by_itself(booked: Station, down: Path, task: str) -> None:
    """Also a plain task of Celery's."""
    goes_its_round(booked, down, task)


def test_what_is_aside_goes_on_though_every_keeper_is_killed(
    booked: Station, down: Path, pair: tuple[Worker, Worker]
) -> None:
    open_breaker(booked, down)
    ids = put_aside(booked, "depend", down, 10)
    for worker in pair:
        os.kill(worker.keeper, signal.SIGKILL)
    down.unlink()
    each_has_ended_once(booked, ids)


def test_a_thousand_jobs_end_once_each_over_cycles_and_deaths(
    booked: Station, down: Path, pair: tuple[Worker, Worker]
) -> None:
    """Half of the time the service is down, and each half second a keeper or a child is killed."""
    ids: list[str] = []
    for number in range(10):
        down.unlink() if number % 3 == 2 else down.touch()
        ids += [booked.send("depend", str(down)) for _ in range(100)]
        victim = pair[number % 2]
        os.kill(victim.keeper if number % 4 < 2 else booked.children(victim, 2)[0], signal.SIGKILL)
        time.sleep(0.5)
    down.unlink(missing_ok=True)
    each_has_ended_once(booked, ids)
    assert not booked.redis.exists(booked.keys.broken)
    opened = sum(worker.log.count("the breaker of engine.depend has opened") for worker in pair)
    assert opened >= 3, opened


@pytest.mark.usefixtures("pair")
def test_retries_of_a_service_that_is_down_are_put_aside_as_well(booked: Station, down: Path) -> None:
    ids = [booked.send("insist", str(down)) for _ in range(10)]
    wait_for(lambda: aside(booked, "insist") >= 9, "they are aside")
    counted = len([effect for effect in booked.effects(event="start") if effect["id"] in ids])
    down.unlink()
    for id in ids:
        assert ended(booked, id).state is State.SUCCEEDED
    assert counted < 200


@pytest.mark.usefixtures("pair")
def test_an_error_that_says_nothing_of_the_service_does_not_count(booked: Station) -> None:
    for id in [booked.send("err", "") for _ in range(12)]:
        assert ended(booked, id).state is State.FAILED
    assert standing(booked, "err") == breakers.CLOSED


@pytest.mark.usefixtures("pair")
def test_the_death_of_a_process_counts_as_a_failure(booked: Station) -> None:
    booked.send("perish")
    wait_for(lambda: standing(booked, "perish") == breakers.OPEN, "three deaths open it")


@pytest.mark.usefixtures("pair")
def test_a_share_of_failures_opens_it(booked: Station, down: Path) -> None:
    up = booked.gate("up")
    for id in [booked.send("share", str(path)) for _ in range(6) for path in (up, down)]:
        ended(booked, id)
    wait_for(lambda: standing(booked, "share") == breakers.OPEN, "half of them opens it")


@pytest.mark.usefixtures("pair")
def test_a_job_that_is_aside_is_blocked_and_says_by_what(booked: Station) -> None:
    booked.scripts.switch("engine.kept", "open", "ann", "")
    ids = put_aside(booked, "kept", booked.folder, 1)
    id = next(id for id in ids if booked.redis.hexists(booked.keys.blocked, id))
    (note,) = find_notes(booked.redis, booked.keys, [(id, [QUEUE])])
    assert note is not None
    assert note.state is State.BLOCKED
    assert booked.redis.hget(booked.keys.blocked, id) == b"breaker of engine.kept"
    row = row_of(booked, id)
    assert (row.state, row.reason) == (State.BLOCKED, Reason.BREAKER)
    booked.scripts.switch("engine.kept", "closed", "ann", "")
    assert ended(booked, id).state is State.SUCCEEDED
    assert row_of(booked, id).attempts == 1
