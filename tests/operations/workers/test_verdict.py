"""Which worker is stuck, from what it says, its lease and what waits: pure, without any worker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.broker.leases import Lease
from penstock.broker.queues import Pause, QueueStatus
from penstock.operations.workers.verdict import Surroundings, judge
from penstock.operations.workers.view import Child, Process, Told, Verdict

FRESH = Lease("cpu@host/00000001", 1.0, None)
CLOSED = Pause("ada", datetime(2026, 11, 28, tzinfo=UTC), "")


def told(**values: Any) -> Told:
    """An idle worker that has just claimed."""
    known: dict[str, Any] = {
        "worker": "cpu@host/00000001",
        "is_ours": True,
        "queues": ("default",),
        "has_room": True,
        "claimed_seconds_ago": 1.0,
        "target": 1,
        "keeper": 3,
        "processes": tuple(process(role, pid) for pid, role in enumerate(("parent", "zygote", "keeper", "child"), 1)),
        "children": (Child(4, "idle", done=0, held=0),),
    }
    return Told(**{**known, **values})


def process(role: str, pid: int, state: str = "S") -> Process:
    return Process(role, pid, state, 1000, 500, 0.5)


def queue(ready: int, oldest: float | None, pause: Pause | None = None) -> Surroundings:
    return Surroundings({"default": QueueStatus("default", ready, oldest, 0, 0, 0, pause)})


def running(seconds: float) -> tuple[Child, ...]:
    return (Child(4, "running", job="a-job", task="tasks.report", queue="default", seconds=seconds),)


QUIET = queue(0, None)


def test_a_worker_that_claims_is_well() -> None:
    assert judge(FRESH, told(), QUIET) == (Verdict.WELL, ("idle, last claimed 1s ago",))


def test_jobs_of_children_that_run_many_are_counted_beside_their_places() -> None:
    children = tuple(Child(pid, "running", running=jobs, places=200, seconds=1.0) for pid, jobs in ((4, 41), (5, 1)))
    assert judge(FRESH, told(children=children), QUIET) == (
        Verdict.WELL,
        ("runs 42 jobs of 400 at once, last claimed 1s ago",),
    )
    assert [child.busy for child in children] == ["41 of 200", "1 of 200"]


def test_a_worker_that_claims_nothing_while_jobs_wait_is_stuck_and_says_how_many() -> None:
    verdict, (why,) = judge(FRESH, told(claimed_seconds_ago=240.0), queue(37, 200.0))
    assert verdict is Verdict.STUCK
    assert "claims nothing for 4m and has room, while 37 jobs wait on its queues (37 on default)" in why


@pytest.mark.parametrize(
    ("answer", "around"),
    [
        ({"claimed_seconds_ago": 240.0}, queue(37, 0.5)),
        ({"claimed_seconds_ago": 1.0}, queue(37, 200.0)),
        ({"claimed_seconds_ago": 240.0, "has_room": False, "children": running(9.0)}, queue(37, 200.0)),
        ({"claimed_seconds_ago": 240.0}, queue(0, None)),
    ],
    ids=["they have just come", "it has just claimed", "it has no room", "nothing waits"],
)
def test_a_worker_that_has_no_reason_to_claim_is_well(answer: dict[str, Any], around: Surroundings) -> None:
    assert judge(FRESH, told(**answer), around)[0] is Verdict.WELL


def test_a_worker_that_has_never_claimed_is_stuck_as_well() -> None:
    assert judge(FRESH, told(claimed_seconds_ago=None), queue(1, None))[0] is Verdict.STUCK


def test_a_worker_whose_queues_are_all_paused_is_paused_and_not_stuck() -> None:
    verdict, why = judge(FRESH, told(claimed_seconds_ago=240.0), queue(37, 200.0, CLOSED))
    assert (verdict, why) == (Verdict.PAUSED, ("claims nothing: default is paused",))


def test_a_worker_that_was_told_to_stop_claiming_is_paused() -> None:
    verdict, (why,) = judge(FRESH, told(queues=(), stopped=("default",)), QUIET)
    assert verdict is Verdict.PAUSED
    assert "told to stop claiming from default" in why


def test_a_silent_worker_whose_keeper_lives_is_told_from_one_that_is_gone() -> None:
    alive, (why_alive,) = judge(FRESH, None, QUIET)
    gone, (why_gone,) = judge(Lease("cpu@host/00000001", 22.0, None), None, QUIET)
    assert (alive, gone) == (Verdict.STUCK, Verdict.STUCK)
    assert "its parent is stopped" in why_alive
    assert "its lease ran out 12s ago" in why_gone


def test_a_silent_worker_that_ends_is_draining_and_not_stuck() -> None:
    verdict, (why,) = judge(Lease("cpu@host/00000001", 1.0, 65.0), None, QUIET)
    assert verdict is Verdict.DRAINING
    assert "for 1m 5s" in why


@pytest.mark.parametrize(("role", "pid"), [("keeper", 3), ("zygote", 2), ("child", 4)])
def test_a_process_that_stands_still_makes_its_worker_stuck(role: str, pid: int) -> None:
    found = tuple(process(each.role, each.pid, "T" if each.pid == pid else "S") for each in told().processes)
    verdict, (why,) = judge(FRESH, told(processes=found), QUIET)
    assert verdict is Verdict.STUCK
    assert f"its {role} {pid} is stopped" in why


@pytest.mark.parametrize(
    ("lease", "answer", "why"),
    [
        (Lease("cpu@host/00000001", 6.5, None), {}, "has not renewed the lease for 6.5s"),
        (FRESH, {"keeper": None}, "has no keeper"),
        (FRESH, {"worker": ""}, "has no lease"),
        (FRESH, {"children": ()}, "has no child, and is to have 1"),
    ],
)
def test_what_a_worker_lacks_is_named(lease: Lease, answer: dict[str, Any], why: str) -> None:
    verdict, reasons = judge(lease, told(**answer), QUIET)
    assert verdict is Verdict.STUCK
    assert any(why in reason for reason in reasons)


@pytest.mark.parametrize(
    ("seconds", "usual", "verdict"),
    [
        (3600.0, {"tasks.report": 180.0}, Verdict.STUCK),
        (3600.0, {"tasks.report": 1000.0}, Verdict.WELL),
        (30.0, {"tasks.report": 0.01}, Verdict.WELL),
        (3600.0, {}, Verdict.WELL),
    ],
    ids=["20 times", "4 times", "not for long", "nobody knows"],
)
def test_a_job_is_stuck_that_runs_for_far_longer_than_its_task_takes(
    seconds: float, usual: dict[str, float], verdict: Verdict
) -> None:
    found, (why, *_) = judge(FRESH, told(children=running(seconds)), Surroundings(QUIET.queues, usual))
    assert found is verdict
    assert ("20 times" in why) is (verdict is Verdict.STUCK)


def test_a_stock_worker_answers_and_no_more_is_known() -> None:
    assert judge(None, Told("", False, ()), QUIET)[0] is Verdict.ANSWERS


def test_names_from_elsewhere_cannot_operate_a_terminal() -> None:
    strange = Child(4, "running", job="\x1b[2J", task="\x1b]0;x\x07", seconds=3600.0)
    _, (why,) = judge(FRESH, told(children=(strange,)), Surroundings(QUIET.queues, {strange.task or "": 1.0}))
    assert why.isprintable()
