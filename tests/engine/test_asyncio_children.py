"""Children of kind asyncio: many jobs at once in one loop, each with its own context, limits and end."""

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.engine.kinds import kind_of
from penstock.errors import DeclarationError
from penstock.job import Reason, State
from tests.conftest import NewLedger
from tests.engine.contexts import play
from tests.engine.station import Station
from tests.engine.test_children import ended
from tests.engine.test_lost_workers import killed_at_the_end, runs
from tests.live import Worker, wait_for

ASYNCIO: dict[str, Any] = {"penstock_kind": "asyncio", "penstock_size": 100}
LARGE = {**ASYNCIO, "penstock_size": 1000}


@pytest.fixture(autouse=True)
def _empty(booked: Station) -> None:
    booked.redis.flushdb()


@pytest.fixture
def worker(booked: Station) -> Iterator[Worker]:
    with killed_at_the_end(booked.worker("-E", **ASYNCIO)) as worker:
        yield worker


def results_of(station: Station, task: str, *calls: tuple[Any, ...]) -> list[Any]:
    sent = [station.app.tasks[f"engine.{task}"].apply_async(call) for call in calls]
    return [result.get(timeout=30) for result in sent]


def running(station: Station, ids: list[str]) -> None:
    for id in ids:
        station.started(id)


def active(station: Station) -> set[str]:
    answer = station.app.control.inspect(timeout=2).active() or {}
    return {job["id"] for jobs in answer.values() for job in jobs}


# -- many at once ----------------------------------------------------------------------------------------------------


def test_many_jobs_wait_at_once_in_one_process(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    ids = [booked.send("await", str(end)) for _ in range(100)]
    running(booked, ids)
    assert {start["pid"] for id in ids for start in booked.starts(id)} == set(booked.children(worker))
    last = booked.send("await", str(end))
    assert wait_for(lambda: booked.ready() == [last], "there is no room for one more, and it is nobody's")
    end.touch()
    for id in (*ids, last):
        row = ended(booked, id)
        assert (row.state, row.attempts, len(booked.starts(id))) == (State.SUCCEEDED, 1, 1)
    wait_for(booked.quiet, "everything is settled")


def test_contexts_are_never_mixed_up(booked: Station, worker: Worker) -> None:
    results = [booked.app.tasks["engine.mixed"].apply_async((number, number % 7 / 1000)) for number in range(500)]
    for number, result in enumerate(results):
        assert result.get(timeout=60) == [[result.id, result.id, str(number)]] * 2


def test_nothing_of_another_job_is_found_by_thousands_at_once(new_ledger: NewLedger, tmp_path: Path) -> None:
    """Job, request, arguments, logging and context variables; `make contexts` has a hundred thousand."""
    with new_ledger("sqlite") as ledger, Station(tmp_path / "station", ledger=ledger) as station:
        ended, switched = play(station, "asyncio", 5000)
    assert ended == {"succeeded, attempt 1": 5000}
    assert switched > 2500, "others have run in between"


def test_retries_and_failures_are_those_of_any_task(booked: Station, worker: Worker) -> None:
    retried, failed, cancelled = booked.send("retried"), booked.send("fall"), booked.send("cancel_itself")
    row = ended(booked, retried)
    assert (row.state, row.attempts, len(booked.starts(retried))) == (State.SUCCEEDED, 3, 3)
    row = ended(booked, failed)
    assert (row.state, row.error_type, row.attempts) == (State.FAILED, "ValueError", 1)
    assert ended(booked, cancelled).error_type == "penstock.errors.BodyCancelled"


def test_a_body_that_exits_fails_alone(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    (child,) = booked.children(worker)
    beside = booked.send("await", str(end))
    booked.started(beside)
    row = ended(booked, booked.send("exit"))
    assert (row.state, row.error_type) == (State.FAILED, "penstock.errors.BodyLeft")
    end.touch()
    assert ended(booked, beside).attempts == 1
    assert booked.children(worker) == [child]


def test_events_of_jobs_that_run_at_once_are_their_own(booked: Station, worker: Worker) -> None:
    seen: dict[str, list[str]] = {}

    def note(event: dict[str, Any]) -> None:
        if "uuid" in event:
            seen.setdefault(event["uuid"], []).append(event["type"])

    with booked.app.connection_for_read() as connection:
        receiver = booked.app.events.Receiver(connection, handlers={"*": note})
        with receiver.consumer_context(wakeup=False) as (listening, _, _):

            def listen() -> None:
                with contextlib.suppress(TimeoutError):
                    while True:
                        listening.drain_events(timeout=0.2)

            listen()  # Redis knows of the listener before there is anything to tell.
            ids = [booked.send("pause", 0.01) for _ in range(50)]

            def all_told() -> bool:
                listen()
                return all("task-succeeded" in seen.get(id, ()) for id in ids)

            wait_for(all_told, "all have told")
    for id in ids:
        assert seen[id] == ["task-received", "task-started", "task-succeeded"]


# -- one among many --------------------------------------------------------------------------------------------------


def test_every_running_job_is_shown(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    ids = [booked.send("await", str(end)) for _ in range(30)]
    running(booked, ids)
    wait_for(lambda: active(booked) == set(ids), "all are active")
    end.touch()
    wait_for(lambda: active(booked) == set(), "none is")


def test_a_job_that_is_revoked_is_cancelled_and_its_neighbours_go_on(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    ids = [booked.send("await", str(end)) for _ in range(5)]
    running(booked, ids)
    wait_for(lambda: active(booked) == set(ids), "all are active")
    booked.app.control.revoke(ids[2], terminate=True)
    row = ended(booked, ids[2])
    assert (row.state, row.attempts) == (State.CANCELLED, 1)
    wait_for(lambda: booked.effects(ids[2], "cancelled"), "its body was cancelled")
    end.touch()
    for id in (*ids[:2], *ids[3:]):
        assert (ended(booked, id).state, len(booked.starts(id))) == (State.SUCCEEDED, 1)
    wait_for(booked.quiet, "everything is settled")


def test_a_soft_limit_meets_its_job_alone(booked: Station, worker: Worker) -> None:
    (child,) = booked.children(worker)
    end, told = booked.gate("end"), booked.gate("told")
    beside = booked.send("await", str(end))
    result = booked.app.tasks["engine.stubborn"].apply_async((str(told),), soft_time_limit=0.3)
    assert result.get(timeout=20) == "told to stop"
    row = ended(booked, booked.send("cleanly", 0.05, soft_time_limit=0.3))
    assert (row.state, row.reason, row.attempts) == (State.FAILED, Reason.TIMEOUT, 1)
    assert row.error_type == "billiard.exceptions.SoftTimeLimitExceeded"
    assert len(booked.effects(row.id, "last")) == 1
    end.touch()
    assert ended(booked, beside).attempts == 1
    assert booked.children(worker) == [child]


def test_a_hard_limit_ends_its_job_and_not_its_child(booked: Station, worker: Worker) -> None:
    (child,) = booked.children(worker)
    end = booked.gate("end")
    beside = booked.send("await", str(end))
    row = ended(booked, booked.send("await", str(booked.gate("never")), time_limit=0.5))
    assert (row.state, row.reason, row.attempts) == (State.FAILED, Reason.TIMEOUT, 1)
    assert row.error_type == "billiard.exceptions.TimeLimitExceeded"
    end.touch()
    assert ended(booked, beside).attempts == 1
    assert booked.children(worker) == [child]
    wait_for(booked.quiet, "everything is settled")


def test_a_job_is_tried_again_after_a_soft_limit_and_not_after_a_hard_one(booked: Station, worker: Worker) -> None:
    soft, hard = booked.send("eager", soft_time_limit=0.3), booked.send("eager", time_limit=0.3)
    assert (ended(booked, soft).attempts, len(booked.starts(soft))) == (3, 3)
    row = ended(booked, hard)
    assert (row.attempts, row.error_type, len(booked.starts(hard))) == (1, "billiard.exceptions.TimeLimitExceeded", 1)


def test_whoever_holds_up_the_loop_is_named(booked: Station, worker: Worker) -> None:
    id = booked.send("block", 2.5)
    ended(booked, id)
    wait_for(lambda: "turns again" in worker.log, "it is told")
    assert f"engine.block[{id}] has held up all jobs of this child" in worker.log
    assert "time.sleep(seconds)" in worker.log


def test_a_task_that_is_no_coroutine_runs_as_well(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    end.touch()
    assert ended(booked, booked.send("plain", str(end))).state is State.SUCCEEDED
    assert ended(booked, booked.send("again")).attempts == 2


# -- ends ------------------------------------------------------------------------------------------------------------


def test_a_child_that_is_killed_loses_none_of_its_jobs(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    ids = [booked.send("await", str(end)) for _ in range(40)]
    running(booked, ids)
    done = [booked.send("idle") for _ in range(40)]
    for id in done:
        assert ended(booked, id).attempts == 1
    (child,) = booked.children(worker)
    struck = time.time()
    os.kill(child, signal.SIGKILL)
    for id in ids:
        again = booked.started(id, 2)
        assert again["at"] - struck < 3
        assert again["deliveries"] == 1
    end.touch()
    for id in ids:
        row = ended(booked, id)
        assert (row.state, row.attempts, row.deliveries) == (State.SUCCEEDED, 2, 1)
    wait_for(booked.quiet, "everything is settled")


def test_a_worker_that_ends_finishes_what_runs_and_claims_no_more(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    ids = [booked.send("await", str(end)) for _ in range(10)]
    running(booked, ids)
    os.kill(worker.pid, signal.SIGTERM)
    wait_for(lambda: "Warm shutdown" in worker.log, "it is about to end")
    late = booked.send("await", str(end))
    end.touch()
    assert worker.process is not None
    assert worker.process.wait(20) == 0
    for id in ids:
        row = ended(booked, id)
        assert (row.state, row.attempts) == (State.SUCCEEDED, 1)
    assert (booked.ready(), booked.starts(late)) == ([late], [])


def test_what_runs_for_too_long_at_the_end_goes_back(booked: Station) -> None:
    end = booked.gate("end")
    with killed_at_the_end(booked.worker(worker_soft_shutdown_timeout=1.0, **ASYNCIO)) as worker:
        ids = [booked.send("await", str(end)) for _ in range(5)]
        running(booked, ids)
        (child,) = booked.children(worker)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.process is not None
        assert worker.process.wait(20) == 0
        assert not runs(child)
    assert booked.ready() == ids


def test_a_child_ends_after_as_many_jobs_as_it_may_run(booked: Station) -> None:
    with booked.worker("--max-tasks-per-child", "3", **ASYNCIO):
        ids = [booked.send("come_back", 0) for _ in range(9)]
        for id in ids:
            assert ended(booked, id).attempts == 1
    pids = [booked.starts(id)[0]["pid"] for id in ids]
    assert sorted(pids.count(pid) for pid in set(pids)) == [3, 3, 3]


def test_jobs_go_on_while_redis_is_away(booked: Station) -> None:
    with booked.proxy() as proxy, killed_at_the_end(booked.worker(broker_url=proxy.url, **LARGE)):
        end = booked.gate("end")
        ids = [booked.send("await", str(end), 0.5) for _ in range(1000)]
        wait_for(lambda: {*ids} <= {effect["id"] for effect in booked.effects(event="start")}, "all run", 60)
        assert proxy.cut()
        end.touch()
        for id in ids:
            row = ended(booked, id)
            assert (row.state, row.attempts, row.deliveries) == (State.SUCCEEDED, 1, 0)
        wait_for(booked.quiet, "everything is settled")
    for event in ("start", "end"):
        times = Counter(effect["id"] for effect in booked.effects(event=event))
        assert {times[id] for id in ids} == {1}


def test_a_kind_that_does_not_exist_is_refused(booked: Station) -> None:
    with pytest.raises(AssertionError, match=r"kind must be 'single', 'threads', 'asyncio', not 'fibers'"):
        booked.worker(penstock_kind="fibers").__enter__()


def test_without_greenlet_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "greenlet", None)
    with pytest.raises(DeclarationError, match=r"install penstock\[asyncio\]"):
        kind_of({"penstock_kind": "asyncio"})


def test_what_makes_celery_forget_whose_request_is_whose_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_FAST_LOCALS", "1")
    with pytest.raises(DeclarationError, match="USE_FAST_LOCALS is for processes that run one job"):
        kind_of({"penstock_kind": "asyncio"})


def test_the_answer_of_a_child_says_how_many_it_runs(booked: Station, worker: Worker) -> None:
    end = booked.gate("end")
    ids = [booked.send("await", str(end)) for _ in range(3)]
    running(booked, ids)
    ((answer,),) = (told.values() for told in booked.app.control.broadcast("processes", reply=True, timeout=3))
    (child,) = answer["children"]
    assert (child["state"], child["running"], child["places"]) == ("running", 3, 100)
    assert (child["job"], child["task"]) == (ids[0], "engine.await"), "the one that has run for longest is named"
    end.touch()
