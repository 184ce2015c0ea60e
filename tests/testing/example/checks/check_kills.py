"""Workers die at each step of a job's life."""

import re
from collections.abc import Callable

import pytest
from celery import chain
from shop.tasks import Order, charge, charge_kindly, pay_carelessly, pay_once, thank, welcome

from penstock import State, task
from penstock.testing import KILL_POINTS, Crash, Jobs, KillPoint

Lines = Callable[[], list[str]]
NOT_COMMITTED = KILL_POINTS[1:4]


@task(queue="default")
def declared_by_a_test(number: int) -> int:
    return number


@pytest.mark.parametrize("step", KILL_POINTS)
def test_a_body_starts_again_only_if_its_end_was_not_committed(jobs: Jobs, lines: Lines, step: KillPoint) -> None:
    with jobs.kill(step) as crash:
        job = pay_carelessly.enqueue(7)
    assert crash.job.id == job.id
    assert crash.job.state is State.SUCCEEDED
    assert crash.starts == (2 if step in NOT_COMMITTED else 1)
    assert lines() == ["paid 7"] * (2 if step in ("after body", "before commit") else 1)


def test_an_idempotent_task_moves_the_money_once_whenever_its_worker_dies(jobs: Jobs, lines: Lines) -> None:
    numbers = iter(range(100))

    def check(crash: Crash) -> None:
        assert len(lines()) == len(set(lines()))

    crashes = jobs.crash_everywhere(
        lambda: pay_once.enqueue(next(numbers)), check, steps=("after body", "before settle")
    )
    assert [crash.starts for crash in crashes] == [2, 1]
    assert lines() == ["paid 0", "paid 1"]


def test_a_careless_task_is_shown_in_a_table(jobs: Jobs, lines: Lines) -> None:
    def check(crash: Crash) -> None:
        assert len(lines()) == len(set(lines())), "paid twice"

    numbers = iter(range(100))
    with pytest.raises(AssertionError) as raised:
        jobs.crash_everywhere(
            lambda: pay_carelessly.enqueue(next(numbers)), check, steps=("after claim", "before commit")
        )
    assert str(raised.value).splitlines() == [
        "not every crash left what it should:",
        "killed         starts  state      check",
        "after claim    1       succeeded  ok",
        "before commit  2       succeeded  paid twice",
    ]


def test_a_worker_dies_right_after_a_call_of_the_body(jobs: Jobs, lines: Lines) -> None:
    with jobs.kill("in body", after_call="shop.tasks:ask_bank") as crash:
        charge.enqueue(Order(7, 250))
    assert (crash.starts, lines()) == (2, ["paid 7", "paid 7"])
    jobs.assert_enqueued(thank, 7, count=1)


def test_a_call_that_is_awaited_has_ended_when_the_worker_dies(jobs: Jobs, lines: Lines) -> None:
    with jobs.kill("in body", after_call="shop.tasks:ask_bank_kindly") as crash:
        charge_kindly.enqueue(7)
    assert (crash.starts, lines()) == (2, ["paid 7", "paid 7", "noted 7"])


def test_what_follows_from_a_commit_is_not_lost(jobs: Jobs) -> None:
    with jobs.kill("after commit") as crash:
        chain(welcome.si(1), thank.si(2)).apply_async()
    assert crash.starts == 1
    assert [attempt.task for attempt in crash.drained.succeeded] == [thank.name]


def test_another_process_may_finish(jobs: Jobs, lines: Lines) -> None:
    with jobs.kill("before commit", by_process=True) as crash:
        charge.enqueue(Order(7, 250))
    assert (crash.starts, lines()) == (2, ["paid 7", "paid 7"])
    assert not crash.drained.attempts
    thanks = jobs.assert_enqueued(thank, 7, count=2)  # What a body sends by itself is not part of its end.
    assert [job.refresh().state for job in (crash.job, thanks.job)] == [State.SUCCEEDED] * 2


def test_a_task_of_a_test_module_is_known_to_the_worker(jobs: Jobs) -> None:
    with jobs.kill("after body") as crash:
        declared_by_a_test.enqueue(7)
    assert (crash.starts, crash.job.result(0)) == (2, 7)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("shop.tasks:ask_bnak", "shop.tasks has no ask_bnak; did you mean ask_bank?"),
        ("shop.task:ask_bank", "shop.task cannot be imported"),
        ("shop.tasks.ask_bank", "give module:function"),
        ("shop.tasks:", "give module:function"),
        ("shop.tasks:__doc__", "is not a function"),
    ],
)
def test_a_call_that_is_not_there_is_told_before_a_worker_starts(jobs: Jobs, call: str, problem: str) -> None:
    with (
        pytest.raises(ValueError, match=f"after_call='{re.escape(call)}': .*{re.escape(problem)}"),
        jobs.kill("in body", after_call=call),
    ):
        pytest.fail("the block has begun")


def test_a_step_that_is_never_reached_is_told(jobs: Jobs, books_path: object) -> None:
    pay_carelessly.enqueue(1)
    with (
        pytest.raises(AssertionError, match=r"ended without coming to 'in body'; the worker's log ends with"),
        jobs.kill("in body", after_call="shop.tasks:ask_bank"),
    ):
        welcome.enqueue(7)
    with pytest.raises(ValueError, match="'before lunch' is no kill point; there are after claim, in body"):
        jobs.kill("before lunch").__enter__()  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="no job was enqueued inside"), jobs.kill("in body"):
        pass
