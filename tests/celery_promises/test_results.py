"""Results and states"""

import uuid
from typing import Any

import pytest
from celery import group
from celery.exceptions import TaskRevokedError, TimeoutError
from celery.result import AsyncResult, GroupResult, ResultSet

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 10


def test_pending(system: System) -> None:
    """An id that nobody knows is PENDING."""
    assert system.app.AsyncResult(uuid.uuid4().hex).state == "PENDING"


def test_success(system: System) -> None:
    """A task that returns is SUCCESS, and `ready()` and `successful()` say so."""
    result = jobs.add.delay(1, 1)
    assert result.get(timeout=PATIENCE) == 2
    assert (result.state, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)


def test_failure(system: System) -> None:
    """A task that raises is FAILURE, and `get()` raises the same exception here, with the traceback of the worker."""
    result = jobs.fail.delay("really bad")
    with pytest.raises(jobs.Unlucky, match="really bad"):
        result.get(timeout=PATIENCE)
    assert result.state == "FAILURE"
    assert "raise Unlucky(text)" in result.traceback


def test_propagate(system: System) -> None:
    """`get(propagate=False)` returns the exception instead of raising it."""
    found = jobs.fail_as_value_error.delay("returned").get(timeout=PATIENCE, propagate=False)
    assert isinstance(found, ValueError)
    assert found.args == ("returned",)


def test_started(system: System, key: str) -> None:
    """With `track_started` a running task is STARTED, with its worker and process."""
    result = jobs.hold_tracked.delay(key)
    (note,) = system.noted(key)
    assert (result.state, result.info) == ("STARTED", {"pid": note["pid"], "hostname": system.main})
    system.release(key)
    result.get(timeout=PATIENCE)


def test_started_is_not_told(system: System, key: str) -> None:
    """Without it a running task is PENDING."""
    result = jobs.hold.delay(key)
    system.noted(key)
    assert result.state == "PENDING"
    system.release(key)
    result.get(timeout=PATIENCE)


def test_update_state(system: System, key: str) -> None:
    """`update_state` sets a state of the task's own with data, until it ends."""
    result = jobs.report_progress.delay(key)
    wait_for(lambda: result.state == "PROGRESS", "PROGRESS")
    assert result.info == {"done": 50}
    system.release(key)
    assert result.get(timeout=PATIENCE) == "done"


def test_update_state_of_another(system: System, key: str) -> None:
    """`update_state(task_id=…)` sets the state of another task."""
    setter = jobs.sets_state_of.delay(key)
    setter.get(timeout=PATIENCE)
    found = system.app.AsyncResult(key)
    assert (found.state, found.info) == ("PROGRESS", {"by": setter.id})


def test_retry_state(system: System, key: str) -> None:
    """A task that waits for another try is RETRY, with the exception that caused it."""
    result = jobs.retries_with.delay(key, 1, {"countdown": 20})
    wait_for(lambda: result.state == "RETRY", "RETRY")
    assert isinstance(result.info, jobs.Unlucky)
    result.revoke()


def test_revoked_state(system: System) -> None:
    """A revoked task is REVOKED, and `get()` raises TaskRevokedError."""
    result = jobs.add.apply_async((1, 1), expires=-1)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert result.state == "REVOKED"


def test_timeout(system: System, key: str) -> None:
    """`get(timeout)` raises TimeoutError when there is no result in time."""
    result = jobs.hold.delay(key)
    with pytest.raises(TimeoutError):
        result.get(timeout=0.2)
    system.release(key)
    assert result.get(timeout=PATIENCE) is None


def test_unserialisable_result(system: System) -> None:
    """A result that JSON cannot hold fails the task."""
    result = jobs.unserialisable.delay()
    with pytest.raises(Exception, match="JSON serializable"):
        result.get(timeout=PATIENCE)
    assert result.state == "FAILURE"


def test_ignore_result(system: System, key: str) -> None:
    """`ignore_result` stores nothing: the task runs, and stays PENDING."""
    result = jobs.forgotten.delay(key)
    assert system.noted(key) == ["ran"]
    system.signal(result.id, "task_postrun")
    assert system.app.AsyncResult(result.id).state == "PENDING"
    assert result.get() is None


def test_ignore_result_of_a_call(system: System, key: str) -> None:
    """`ignore_result=True` may be said for one call."""
    result = jobs.note.apply_async((key,), ignore_result=True)
    system.signal(result.id, "task_postrun")
    assert system.app.AsyncResult(result.id).state == "PENDING"


def test_store_errors(system: System) -> None:
    """`store_errors_even_if_ignored` keeps failures all the same."""
    result = jobs.forgotten_unless_it_fails.delay()
    kept = system.app.AsyncResult(result.id)
    wait_for(lambda: kept.state == "FAILURE", "FAILURE")
    assert isinstance(kept.result, jobs.Unlucky)


def test_extended(system: System) -> None:
    """`result_extended` keeps name, arguments, worker, queue and number of retries beside the result."""
    result = jobs.add.delay(4, y=5)
    result.get(timeout=PATIENCE)
    assert (result.name, result.args, result.kwargs) == ("tests.celery_promises.jobs.add", [4], {"y": 5})
    assert (result.worker, result.queue, result.retries) == (system.main, "celery", 0)


def test_date_done(system: System) -> None:
    """A result says when the task ended."""
    result = jobs.add.delay(1, 1)
    result.get(timeout=PATIENCE)
    assert result.date_done is not None


def test_forget(system: System) -> None:
    """`forget()` deletes the result."""
    result = jobs.add.delay(1, 1)
    result.get(timeout=PATIENCE)
    result.forget()
    assert system.app.AsyncResult(result.id).state == "PENDING"


def test_expiry(system: System) -> None:
    """Results expire after `result_expires`, a day by default."""
    result = jobs.add.delay(1, 1)
    result.get(timeout=PATIENCE)
    assert 86_000 < int(system.results.ttl(f"celery-task-meta-{result.id}")) <= 86_400


def test_children(system: System) -> None:
    """A result knows the tasks that its task started, and `collect()` gives their results too."""
    result = jobs.expands.delay([1, 2])
    result.get(timeout=PATIENCE)
    assert [child.get(timeout=PATIENCE) for child in result.children] == [2, 4]
    assert [value for _, value in result.collect(timeout=PATIENCE)] == [2, 2, 4]


def test_result_as_tuple(system: System) -> None:
    """A result can be taken apart with `as_tuple()` and made again from its id."""
    result = jobs.add.delay(3, 3)
    again: Any = AsyncResult(result.as_tuple()[0][0], app=system.app)
    assert again.get(timeout=PATIENCE) == 6


def test_callback_of_get(system: System) -> None:
    """`get(callback=…)` of a set of results is called with each id and value."""
    seen: dict[str, int] = {}
    results = ResultSet([jobs.add.delay(i, 0) for i in range(3)], app=system.app)
    results.join_native(callback=seen.__setitem__, timeout=PATIENCE)
    assert sorted(seen.values()) == [0, 1, 2]


def test_then(system: System) -> None:
    """`then(callback)` is called when the result has come."""
    seen: list[Any] = []
    result = jobs.add.delay(5, 5)
    result.then(lambda done: seen.append(done.result))
    result.get(timeout=PATIENCE)
    assert seen == [10]


def test_result_set(system: System) -> None:
    """A ResultSet counts what is done and joins its results in order."""
    results = ResultSet([jobs.add.delay(i, i) for i in range(4)], app=system.app)
    assert results.join(timeout=PATIENCE) == [0, 2, 4, 6]
    assert (results.completed_count(), results.successful(), results.waiting()) == (4, True, False)


def test_saved_group(system: System) -> None:
    """A group's result can be saved, restored by its id, and deleted."""
    result = group(jobs.add.s(i, 1) for i in range(3)).apply_async()
    result.save()
    restored = GroupResult.restore(result.id, app=system.app)
    assert restored.get(timeout=PATIENCE) == [1, 2, 3]
    restored.delete()
    assert GroupResult.restore(result.id, app=system.app) is None


def test_get_in_a_task(system: System) -> None:
    """Waiting for a result inside a task raises RuntimeError."""
    with pytest.raises(RuntimeError, match="Never call"):
        jobs.waits_for_child.delay().get(timeout=PATIENCE)


def test_get_in_a_task_knowingly(system: System) -> None:
    """`allow_join_result()` lets a task wait all the same."""
    assert jobs.waits_for_child_knowingly.delay().get(timeout=PATIENCE) == 2
