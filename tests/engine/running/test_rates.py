"""Rate limits that children share."""

import os

import pytest

from penstock.engine.running import rates
from penstock.engine.running.rates import Rates

TASK = "tasks.limited"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that it is; a list, to be changed."""
    now = [1000.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def test_the_first_job_starts_at_once_and_the_second_waits_for_its_turn(clock: list[float]) -> None:
    limits = Rates([TASK])
    assert limits.take(TASK, 2.0) == 0.0
    assert limits.take(TASK, 2.0) == pytest.approx(0.5)


def test_those_who_wait_are_told_one_turn_after_the_other(clock: list[float]) -> None:
    limits = Rates([TASK])
    limits.take(TASK, 1.0)
    assert [limits.take(TASK, 1.0) for _ in range(3)] == [pytest.approx(wait) for wait in (1.0, 2.0, 3.0)]


def test_who_comes_again_when_told_to_may_start(clock: list[float]) -> None:
    limits = Rates([TASK])
    limits.take(TASK, 1.0)
    clock[0] += limits.take(TASK, 1.0)
    assert limits.take(TASK, 1.0) == 0.0


def test_a_task_without_a_place_is_not_held_up() -> None:
    assert Rates([TASK]).take("tasks.registered_later", 0.001) == 0.0


def test_another_process_has_used_up_the_turn(clock: list[float]) -> None:
    limits = Rates([TASK])
    if not (child := os.fork()):
        limits.take(TASK, 1.0)
        os._exit(0)
    os.waitpid(child, 0)
    assert limits.take(TASK, 1.0) == pytest.approx(1.0)
