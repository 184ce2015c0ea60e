"""Children that claim for themselves: who takes over from whom, and what nobody does twice."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select

from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.session import reading
from penstock.ledger.tables import attempts, jobs
from tests.engine.station import LEASE_SECONDS, Station
from tests.engine.test_lost_workers import killed_at_the_end, runs
from tests.live import Worker, wait_for

PATIENT = {"lease_seconds": 60.0}
"""So long a lease that nobody ends a keeper which stands still for a moment."""
BUSY_SECONDS = 1.0
"""What a machine with other work adds to a bound."""
OLD_SECONDS = 6.0
"""A worker whose zygote dies earlier ends: it would start anew for ever."""


@pytest.fixture(autouse=True)
def _empty(booked: Station) -> None:
    booked.redis.flushdb()


def row_of(station: Station, id: str) -> Any:
    """The job's row, once it has one."""

    def found() -> Any:
        with reading(station.ledger) as connection:
            return queries.find_job(connection, id)

    return wait_for(found, f"job {id} is on the books")


def ended(station: Station, id: str) -> Any:
    """The job's row, once it is final."""
    return wait_for(lambda: row if (row := row_of(station, id)).state.is_final else None, f"job {id} is final")


def all_ran_once(station: Station, *ids: str) -> None:
    for id in ids:
        row = ended(station, id)
        assert (row.state, row.attempts, row.deliveries) == (State.SUCCEEDED, 1, 0)
        assert len(station.starts(id)) == 1
    wait_for(station.quiet, "everything is settled")


def with_keeper_stopped(station: Station, worker: Worker, count: int) -> tuple[int, list[str]]:
    """A keeper that stands still, and the jobs whose outcomes were handed over to it."""
    station.ended(station.send("touch"))
    wait_for(station.quiet, "the first one is settled")
    keeper = worker.keeper
    os.kill(keeper, signal.SIGSTOP)
    ids = [station.send("touch") for _ in range(count)]
    for id in ids:
        station.ended(id)
    assert station.held() > 0
    return keeper, ids


# -- whoever dies ----------------------------------------------------------------------------------------------------


def test_a_worker_whose_zygote_is_killed_starts_anew_in_place(booked: Station) -> None:
    end = booked.gate("end")
    with killed_at_the_end(booked.worker(children=2)) as worker:
        begun = time.monotonic()
        wait_for(lambda: time.monotonic() - begun > OLD_SECONDS, "it is not young any more")
        running = booked.send("hold", str(end))
        booked.started(running)
        zygote, children = worker.zygote, worker.children
        struck = time.monotonic()
        os.kill(zygote, signal.SIGKILL)
        wait_for(lambda: booked.ready() == [running] or len(booked.starts(running)) > 1, "the job has gone back")
        assert time.monotonic() - struck < 1.0 + BUSY_SECONDS
        assert not any(map(runs, children))
        end.touch()
        booked.ended(running)
        booked.ended(booked.send("touch"))
        wait_for(booked.quiet, "everything is settled")
        assert worker.zygote not in (0, zygote)
        assert worker.process is not None
        assert worker.process.poll() is None
    assert [start["deliveries"] for start in booked.starts(running)][-1] == len(booked.starts(running)) - 1


def test_a_worker_whose_zygote_dies_right_after_its_start_ends_and_says_so(booked: Station) -> None:
    with killed_at_the_end(booked.worker()) as worker:
        os.kill(worker.zygote, signal.SIGKILL)
        assert worker.process is not None
        assert worker.process.wait(20) != 0
        assert "the zygote ended right after its start" in worker.log
    with booked.worker():
        booked.ended(booked.send("touch"))


def test_outcomes_that_a_child_handed_over_before_its_kill_are_kept(booked: Station) -> None:
    with booked.worker(options=PATIENT) as worker:
        keeper, ids = with_keeper_stopped(booked, worker, 5)
        (child,) = booked.children(worker)
        os.kill(child, signal.SIGKILL)
        os.kill(keeper, signal.SIGCONT)
        all_ran_once(booked, *ids)
        assert worker.keeper == keeper


def test_a_keeper_that_is_killed_with_outcomes_in_its_rings_loses_none_and_writes_none_twice(booked: Station) -> None:
    with booked.worker(children=2, options=PATIENT) as worker:
        keeper, ids = with_keeper_stopped(booked, worker, 20)
        os.kill(keeper, signal.SIGKILL)
        all_ran_once(booked, *ids)
        assert worker.keeper != keeper


def test_child_and_keeper_killed_at_once_lose_no_outcome(booked: Station) -> None:
    with booked.worker(options=PATIENT) as worker:
        keeper, ids = with_keeper_stopped(booked, worker, 5)
        for pid in (*worker.children, keeper):
            os.kill(pid, signal.SIGKILL)
        all_ran_once(booked, *ids)


def test_a_child_that_stands_still_for_longer_than_a_lease_keeps_its_job(booked: Station) -> None:
    end = booked.gate("end")
    with booked.worker(children=2):
        id = booked.send("hold", str(end))
        child = booked.started(id)["pid"]
        os.kill(child, signal.SIGSTOP)
        try:
            over = time.monotonic() + LEASE_SECONDS + 2
            others = [booked.send("touch") for _ in range(3)]
            wait_for(lambda: time.monotonic() > over, "a lease is over")
        finally:
            os.kill(child, signal.SIGCONT)
        end.touch()
        all_ran_once(booked, id, *others)


def test_a_keeper_that_stands_still_is_replaced_before_its_lease_ends(booked: Station) -> None:
    end = booked.gate("end")
    with booked.worker() as worker, booked.worker():
        id = booked.send("hold", str(end))
        holder = worker if booked.started(id)["worker"] in worker.log else None
        first = worker.keeper
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: not runs(first), "it is ended")
        wait_for(lambda: worker.has_keeper, "there is another")
        over = time.monotonic() + LEASE_SECONDS + 2
        wait_for(lambda: time.monotonic() > over, "a lease is over")
        end.touch()
        all_ran_once(booked, id)
        assert holder is None or "taken away" not in worker.log


def test_a_delivery_of_a_job_that_has_ended_does_not_keep_its_child_from_others(booked: Station) -> None:
    """It asks the ledger, which says that it has ended; the child goes on."""
    id = booked.send("touch")
    (message,) = booked.redis.lrange("celery", 0, -1)
    with booked.worker():
        ended(booked, id)
        booked.redis.hset(booked.keys.server, mapping={"run_id": "another", "changed": 0})
    with booked.worker():
        for _ in range(3):
            booked.push(message)
            booked.ended(booked.send("touch"))
        wait_for(booked.quiet, "everything is settled")
    assert len(booked.starts(id)) == 1


def test_jobs_of_children_that_died_together_stand_as_they_were_claimed(booked: Station) -> None:
    """And not as their children have heard of them: who claimed first hears last here."""
    end = booked.gate("end")
    with killed_at_the_end(booked.worker(children=2, options=PATIENT)) as worker:
        booked.ended(booked.send("touch"))
        wait_for(booked.quiet, "the first one is settled")
        pids = sorted(booked.children(worker, 2))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        ids = []
        for count in (1, 2):
            ids.append(booked.send("hold", str(end)))
            wait_for(lambda count=count: booked.held() == count, "it is claimed")
        holders = {key: b"".join(booked.redis.hvals(key)) for key in booked.redis.keys("penstock:inflight:*")}
        in_order = sorted(holders, key=lambda key: int(key.decode().split(".")[-1].split(":")[0]))
        first = next(place for place, key in enumerate(in_order) if ids[0].encode() in holders[key])
        os.kill(pids[1 - first], signal.SIGCONT)
        booked.started(ids[1])
        os.kill(pids[first], signal.SIGCONT)
        booked.started(ids[0])
        worker.stop(signal.SIGKILL)
        wait_for(lambda: not booked.held(), "the claims are back")
        assert booked.ready() == ids
    end.touch()


# -- what waits behind a long job ------------------------------------------------------------------------------------


def test_no_child_is_idle_while_a_job_waits_behind_a_long_one_for_more_than_a_second(booked: Station) -> None:
    end = booked.gate("end")
    with booked.worker(children=2) as worker:
        running, waiting = booked.hoard(worker, end, waiting=3, children=2)
        began = booked.starts(running)[0]
        os.kill(worker.children[1], signal.SIGCONT)
        for id in waiting:
            booked.ended(id)
            (start,) = booked.starts(id)
            assert start["at"] - began["at"] < 1.0 + BUSY_SECONDS
            assert (start["pid"] != began["pid"], start["deliveries"]) == (True, 0)
        end.touch()
        all_ran_once(booked, running, *waiting)


def test_what_is_given_back_stands_in_its_place_again(booked: Station) -> None:
    end = booked.gate("end")
    with booked.worker(children=2) as worker:
        running, waiting = booked.hoard(worker, end, waiting=6, children=2)
        last = booked.send("touch")
        wait_for(lambda: booked.ready() == [*waiting, last], "all that waits is in the queue")
        assert booked.held() == 1
        os.kill(worker.children[1], signal.SIGCONT)
        for id in (*waiting, last):
            booked.ended(id)
        in_order = sorted((*waiting, last), key=lambda id: booked.starts(id)[0]["at"])
        assert in_order == [*waiting, last]
        end.touch()
        all_ran_once(booked, running, *waiting, last)


def test_what_had_asked_the_ledger_and_is_given_back_has_not_begun(booked: Station) -> None:
    """A retry, say: its start is written before its body, and it waits behind a long job."""
    end = booked.gate("end")
    with booked.worker() as worker:
        _, (asked,) = booked.hoard(worker, end, waiting=1, retries=1)
        wait_for(lambda: booked.ready() == [asked], "it is given back")
        row = row_of(booked, asked)
        assert (row.state, row.attempts, row.started_at, row.worker) == (State.QUEUED, 0, None, None)
        end.touch()
        row = ended(booked, asked)
        assert (row.state, row.attempts) == (State.SUCCEEDED, 1)
        assert len(booked.starts(asked)) == 1


def test_a_start_that_was_asked_for_by_a_child_that_died_meanwhile_is_taken_back(booked: Station) -> None:
    """A child asks for all that it has claimed before it runs anything of it."""
    end = booked.gate("end")
    with booked.worker(options=PATIENT) as worker:
        keeper, (child,) = worker.keeper, booked.children(worker)
        running, (asked,) = booked.hoard(
            worker, end, waiting=1, meanwhile=lambda: os.kill(keeper, signal.SIGSTOP), retries=1
        )
        assert booked.held() == 2
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: not runs(child), "the child is dead")
        end.touch()
        os.kill(keeper, signal.SIGCONT)
        row = ended(booked, asked)
        assert (row.state, row.attempts, row.deliveries) == (State.SUCCEEDED, 1, 0)
        assert ended(booked, running).attempts == 2


def test_a_delivery_that_a_rate_limit_puts_off_has_not_begun(booked: Station) -> None:
    with booked.worker(task_default_rate_limit="4/s"):
        ids = [booked.send("touch", retries=1) for _ in range(6)]
        rows = [ended(booked, id) for id in ids]
    assert {(row.state, row.attempts) for row in rows} == {(State.SUCCEEDED, 1)}


# -- how it ends -----------------------------------------------------------------------------------------------------


def test_a_worker_that_ends_waits_for_running_jobs_no_longer_than_it_may(booked: Station) -> None:
    end = booked.gate("never")
    with killed_at_the_end(booked.worker(worker_soft_shutdown_timeout=2.0)) as worker:
        id = booked.send("hold", str(end))
        child = booked.started(id)["pid"]
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.process is not None
        worker.process.wait(2.0 + 10)
        assert worker.process.returncode == 0
        assert not runs(child)
        assert booked.ready() == [id]
        assert not booked.leases()
    end.touch()
    with booked.worker():
        booked.ended(id)
    assert [start["deliveries"] for start in booked.starts(id)] == [0, 1]


def test_what_an_idle_child_claims_when_its_worker_is_about_to_end_goes_back(booked: Station) -> None:
    """Its claim waits with Redis and may come true at any moment."""
    with killed_at_the_end(booked.worker()) as worker:
        booked.ended(booked.send("touch"))
        wait_for(booked.quiet, "the first one is settled")
        (child,) = booked.children(worker)
        os.kill(child, signal.SIGSTOP)
        late = booked.send("touch")
        wait_for(lambda: booked.held() == 1, "it is claimed, and its child has not heard of it")
        os.kill(worker.pid, signal.SIGTERM)
        wait_for(lambda: not booked.app.control.ping(timeout=0.3), "the worker is about to end")
        os.kill(child, signal.SIGCONT)
        assert worker.process is not None
        assert worker.process.wait(20) == 0
    assert (booked.ready(), booked.starts(late)) == ([late], [])


def test_a_whole_group_that_is_told_to_end_finishes_what_runs(booked: Station) -> None:
    """As service managers and terminals do it: each process hears of it."""
    end = booked.gate("end")
    with killed_at_the_end(booked.worker(children=2)) as worker:
        id = booked.send("hold", str(end))
        booked.started(id)
        for pid in (*worker.children, worker.keeper, worker.zygote, worker.pid):
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: "Warm shutdown" in worker.log, "it is about to end")
        end.touch()
        assert worker.process is not None
        assert worker.process.wait(20) == 0
    all_ran_once(booked, id)


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_child_ends_after_as_many_jobs_as_it_may_run(booked: Station) -> None:
    with booked.worker("--max-tasks-per-child", "2"):
        ids = [booked.send("touch") for _ in range(6)]
        all_ran_once(booked, *ids)
    pids = [booked.starts(id)[0]["pid"] for id in ids]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]


def test_a_child_that_has_grown_too_large_ends_after_its_job(booked: Station) -> None:
    end = booked.gate("end")
    end.touch()
    with booked.worker() as worker:
        (child,) = booked.children(worker)
        most = psutil.Process(child).memory_info().rss // 1024 + 60_000
    with booked.worker("--max-memory-per-child", str(most)):
        first, large, after = booked.send("touch"), booked.send("grow", 70, str(end)), booked.send("touch")
        all_ran_once(booked, first, large, after)
    pids = [booked.starts(id)[0]["pid"] for id in (first, large, after)]
    assert pids[0] == pids[1] != pids[2]


def test_a_child_that_grows_far_too_large_is_ended_in_its_job(booked: Station) -> None:
    end = booked.gate("never")
    with booked.worker("--max-memory-per-child", "250000") as worker:
        id = booked.send("grow", 400, str(end))
        row = ended(booked, id)
        assert "more than" in worker.log
    assert (row.state, row.deliveries) == (State.SUCCEEDED, 1)
    assert [start["deliveries"] for start in booked.starts(id)] == [0, 1]


def test_a_job_beyond_its_hard_limit_fails_once_and_its_child_is_replaced(booked: Station) -> None:
    with booked.worker() as worker:
        (child,) = booked.children(worker)
        id = booked.send("hold", str(booked.gate("never")), time_limit=1.0)
        row = ended(booked, id)
        assert (row.state, row.error_type, row.attempts) == (State.FAILED, "billiard.exceptions.TimeLimitExceeded", 1)
        assert not runs(child)
        after = booked.send("touch")
        booked.ended(after)
        assert booked.starts(after)[0]["pid"] != child
        wait_for(booked.quiet, "everything is settled")
    assert len(booked.starts(id)) == 1


def test_a_soft_limit_is_an_exception_in_the_body_and_nowhere_else(booked: Station) -> None:
    """These bodies end when the limit is about to strike; an exception a moment later would end the child."""
    with booked.worker() as worker:
        (child,) = booked.children(worker)
        ids = [booked.send("nap", 0.09 + 0.002 * number, soft_time_limit=0.1) for number in range(40)]
        rows = [ended(booked, id) for id in ids]
        assert worker.children == [child]
    states = {(row.state, row.error_type, row.attempts) for row in rows}
    late = (State.FAILED, "billiard.exceptions.SoftTimeLimitExceeded", 1)
    assert states <= {(State.SUCCEEDED, None, 1), late}
    assert late in states


def test_a_job_that_kills_its_child_each_time_is_buried_and_its_neighbours_run_once(booked: Station) -> None:
    with booked.worker(children=2):
        id, others = booked.send("die", 9), [booked.send("touch") for _ in range(20)]
        row = ended(booked, id)
        assert (row.state, row.reason, len(booked.starts(id))) == (State.FAILED, Reason.CRASHED, 3)
        all_ran_once(booked, *others)


# -- much ------------------------------------------------------------------------------------------------------------


def test_a_result_of_ten_megabytes_goes_by_a_file_that_is_gone_afterwards(booked: Station, tmp_path: Path) -> None:
    text = "x" * 10_000_000
    with booked.worker(environment={"TMPDIR": str(tmp_path)}):
        result = booked.app.tasks["engine.touch"].apply_async((text,))
        assert result.get(timeout=20) == text
        wait_for(booked.quiet, "it is settled")
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list(tmp_path.iterdir())


def test_twenty_thousand_jobs_at_once_leave_a_row_each_and_nothing_in_redis(booked: Station) -> None:
    count = 20_000
    with booked.worker(children=2):
        for _ in range(count):
            booked.send("nothing")

        def written() -> int:
            with reading(booked.ledger) as connection:
                query = select(func.count()).where(jobs.c.task == "engine.nothing", jobs.c.state == State.SUCCEEDED)
                return int(connection.execute(query).scalar_one())

        wait_for(lambda: written() == count, "all are on the books", 90)
        wait_for(booked.quiet, "everything is settled")
        with reading(booked.ledger) as connection:
            first = select(func.count()).where(
                jobs.c.task == "engine.nothing", jobs.c.attempts == 1, jobs.c.deliveries == 0
            )
            assert connection.execute(first).scalar_one() == count
            history = select(func.count()).select_from(attempts.join(jobs, attempts.c.job_id == jobs.c.id))
            assert connection.execute(history.where(jobs.c.task == "engine.nothing")).scalar_one() == 0
        left = [key.decode() for key in booked.redis.keys("penstock:waiting:*") if booked.redis.zcard(key)]
        assert (left, booked.redis.hlen(booked.keys.deliveries), booked.redis.hlen(booked.keys.outbox)) == ([], 0, 0)
