"""Time limits"""

import pytest
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from tests.celery_promises import jobs
from tests.celery_promises.system import System

PATIENCE = 15


def test_caught_soft_limit(system: System) -> None:
    """`soft_time_limit` raises SoftTimeLimitExceeded in the task, which may clean up and return."""
    assert jobs.catches_its_soft_limit.delay().get(timeout=PATIENCE) == "cleaned up"


def test_soft_limit(system: System) -> None:
    """A task that does not catch it is FAILURE with SoftTimeLimitExceeded."""
    with pytest.raises(SoftTimeLimitExceeded):
        jobs.hits_its_soft_limit.delay().get(timeout=PATIENCE)


def test_hard_limit(system: System, key: str) -> None:
    """`time_limit` kills the task's process and makes it FAILURE with TimeLimitExceeded, once."""
    with pytest.raises(TimeLimitExceeded):
        jobs.hits_its_hard_limit.delay(key).get(timeout=PATIENCE)
    assert len(system.notes_on(key)) == 1


def test_replacement(system: System, key: str) -> None:
    """A process killed so is replaced, and the worker goes on."""
    jobs.hits_its_hard_limit.apply_async((key,), queue="lane").get(timeout=PATIENCE, propagate=False)
    (killed,) = system.notes_on(key)
    assert jobs.process_id.apply_async(queue="lane").get(timeout=PATIENCE) != killed


def test_soft_limit_of_a_call(system: System) -> None:
    """`apply_async(soft_time_limit=…)` limits one call."""
    with pytest.raises(SoftTimeLimitExceeded):
        jobs.sleeps.apply_async((20,), soft_time_limit=0.3).get(timeout=PATIENCE)


def test_hard_limit_of_a_call(system: System) -> None:
    """`apply_async(time_limit=…)` limits one call."""
    with pytest.raises(TimeLimitExceeded):
        jobs.sleeps.apply_async((20,), time_limit=0.3).get(timeout=PATIENCE)


def test_limits_in_the_request(system: System) -> None:
    """A task can read its limits: hard, soft."""
    assert jobs.context.apply_async(time_limit=50, soft_time_limit=40).get(timeout=PATIENCE)["timelimit"] == [50, 40]


def test_limits_of_a_worker(system: System) -> None:
    """`worker --time-limit --soft-time-limit` limits all tasks of a worker."""
    with (
        system.worker_beside("--soft-time-limit", "0.3", "--time-limit", "10") as extra,
        pytest.raises(SoftTimeLimitExceeded),
    ):
        jobs.sleeps.apply_async((20,), queue=extra.queue).get(timeout=PATIENCE)


def test_limits_by_remote_control(system: System) -> None:
    """Remote control `time_limit` sets the limits of a task, from the pool's next restart on (in Celery 5.7.0)."""

    def set_limits(soft: float | None, hard: float | None) -> None:
        system.control("time_limit", worker=system.lane, task_name=jobs.sleeps.name, soft=soft, hard=hard)
        system.control("pool_restart", worker=system.lane)

    set_limits(0.3, 10)
    with pytest.raises(SoftTimeLimitExceeded):
        jobs.sleeps.apply_async((20,), queue="lane").get(timeout=PATIENCE)
    set_limits(None, None)
    assert jobs.sleeps.apply_async((0.4,), queue="lane").get(timeout=PATIENCE) == 0.4
