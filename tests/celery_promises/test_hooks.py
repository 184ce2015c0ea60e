"""Classes of tasks and their hooks"""

from typing import Any

import pytest
from billiard.exceptions import TimeLimitExceeded

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 10


def hooks(system: System, key: str, count: int) -> list[tuple[int, str]]:
    """Which hooks were called in which try, once there are as many."""
    notes = system.noted(key, count)
    # The next try may begin before the last one has been dealt with.
    return [(note["try"], note["hook"]) for note in sorted(notes, key=lambda note: note["try"])]


def hook(system: System, key: str, name: str) -> dict[str, Any]:
    """What a hook was called with."""
    return wait_for(lambda: [note for note in system.notes_on(key) if note["hook"] == name], f"{name} is called")[0]


def test_hooks_of_success(system: System, key: str) -> None:
    """A task's class is told by `before_start` and, when it has returned, by `on_success` and `after_return`."""
    assert jobs.hooked.delay(key).get(timeout=PATIENCE) == "returned"
    assert hooks(system, key, 4) == [(0, "before_start"), (0, "body"), (0, "on_success"), (0, "after_return")]


def test_hooks_of_failure(system: System, key: str) -> None:
    """One that has raised is told by `on_failure` and `after_return`."""
    with pytest.raises(jobs.Unlucky):
        jobs.hooked.delay(key, "fail").get(timeout=PATIENCE)
    assert hooks(system, key, 4) == [(0, "before_start"), (0, "body"), (0, "on_failure"), (0, "after_return")]


def test_hooks_of_a_retry(system: System, key: str) -> None:
    """One that is to be tried again is told by `on_retry`, and not by `after_return` before its last try."""
    assert jobs.hooked.delay(key, "retry").get(timeout=PATIENCE) == "returned"
    assert hooks(system, key, 7) == [
        (0, "before_start"),
        (0, "body"),
        (0, "on_retry"),
        (1, "before_start"),
        (1, "body"),
        (1, "on_success"),
        (1, "after_return"),
    ]


def test_before_start(system: System, key: str) -> None:
    """`before_start(task_id, args, kwargs)` has id and arguments."""
    result = jobs.hooked.delay(key, seconds=0)
    told = hook(system, key, "before_start")
    assert (told["id"], told["args"], told["kwargs"]) == (result.id, [key], {"seconds": 0})


def test_on_success(system: System, key: str) -> None:
    """`on_success(retval, task_id, args, kwargs)` has the result as well."""
    result = jobs.hooked.delay(key)
    told = hook(system, key, "on_success")
    assert (told["id"], told["args"], told["kwargs"], told["retval"]) == (result.id, [key], {}, "returned")


def test_on_failure(system: System, key: str) -> None:
    """`on_failure(exc, task_id, args, kwargs, einfo)` has the exception, and `einfo` its traceback."""
    result = jobs.hooked.delay(key, "fail")
    told = hook(system, key, "on_failure")
    assert (told["id"], told["args"], told["exc"]) == (result.id, [key, "fail"], "Unlucky('hooked')")
    assert 'raise Unlucky("hooked")' in told["einfo"]


def test_on_retry(system: System, key: str) -> None:
    """`on_retry(exc, task_id, args, kwargs, einfo)` has the exception that caused it, and `einfo` its traceback."""
    result = jobs.hooked.delay(key, "retry")
    told = hook(system, key, "on_retry")
    assert (told["id"], told["args"], told["exc"]) == (result.id, [key, "retry"], "Unlucky('once more')")
    assert "Unlucky" in told["einfo"]


@pytest.mark.parametrize(
    ("how", "status", "retval"), [("", "SUCCESS", "'returned'"), ("fail", "FAILURE", "Unlucky('hooked')")]
)
def test_after_return(system: System, key: str, how: str, status: str, retval: str) -> None:
    """`after_return(status, retval, task_id, args, kwargs, einfo)` has the state and the result or the exception."""
    result = jobs.hooked.delay(key, how)
    told = hook(system, key, "after_return")
    assert (told["id"], told["args"], told["status"], told["retval"]) == (result.id, [key, how], status, retval)


def test_on_failure_after_the_hard_limit(system: System, key: str) -> None:
    """`on_failure` and `after_return` are called for a task that met its hard limit, too."""
    result = jobs.hooked.apply_async((key,), {"seconds": 20}, time_limit=0.4)
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=PATIENCE)
    told = hook(system, key, "on_failure")
    assert told["id"] == result.id
    assert told["exc"].startswith("TimeLimitExceeded")
    assert hook(system, key, "after_return")["status"] == "FAILURE"


def test_instance(system: System) -> None:
    """A task is instantiated once in each process, and keeps its attributes from one call to the next."""
    first, second = (jobs.counts.apply_async(queue="lane").get(timeout=PATIENCE) for _ in range(2))
    assert first["pid"] == second["pid"]
    assert second["ran"] == first["ran"] + 1


def test_request_class(system: System) -> None:
    """A task's own `Request` class is told of failures by `on_failure`, in the worker's parent process."""
    result = jobs.watched.delay(text="bad")
    assert system.noted(f"watched:{result.id}") == [["on_failure", "Unlucky"]]


@pytest.mark.parametrize(("soft", "limits"), [(True, {"soft_time_limit": 0.3}), (False, {"time_limit": 0.4})])
def test_request_class_and_limits(system: System, soft: bool, limits: dict[str, float]) -> None:
    """It is told of a soft and of a hard time limit by `on_timeout(soft, timeout)`."""
    result = jobs.watched.apply_async((20,), **limits)
    told = ["on_timeout", soft, *limits.values()]
    wait_for(lambda: told in system.notes_on(f"watched:{result.id}"), "it is told")


def test_expected_exceptions(system: System) -> None:
    """An exception that the task declares in `throws` fails it like any other, but is logged as no error."""
    result = jobs.throws.delay("wanted")
    with pytest.raises(KeyError):
        result.get(timeout=PATIENCE)
    line = wait_for(
        lambda: [line for line in system.worker.log.splitlines() if f"[{result.id}] raised expected" in line], "a line"
    )[0]
    assert ": INFO/" in line


def test_current_task(system: System) -> None:
    """`celery.current_task` is the task that runs, with its request."""
    result = jobs.reads_current_task.delay()
    assert result.get(timeout=PATIENCE) == {"id": result.id, "name": jobs.reads_current_task.name}
