"""Retries"""

from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import MaxRetriesExceededError

from tests.celery_promises import jobs
from tests.celery_promises.system import System

PATIENCE = 15


def test_max_retries(system: System, key: str) -> None:
    """`self.retry(exc=…)` runs the task again until `max_retries`, and then fails it with that exception."""
    result = jobs.retries.delay(key)
    with pytest.raises(jobs.Unlucky, match="every time"):
        result.get(timeout=PATIENCE)
    assert [note["retries"] for note in system.notes_on(key)] == [0, 1, 2]


def test_same_id(system: System, key: str) -> None:
    """Every try has the same id."""
    result = jobs.retries.delay(key)
    result.get(timeout=PATIENCE, propagate=False)
    assert {note["id"] for note in system.notes_on(key)} == {result.id}


def test_without_cause(system: System) -> None:
    """Without an exception it ends with MaxRetriesExceededError."""
    with pytest.raises(MaxRetriesExceededError):
        jobs.retries_without_cause.delay().get(timeout=PATIENCE)


def test_countdown(system: System, key: str) -> None:
    """`retry(countdown=…)` waits so many seconds before the next try."""
    jobs.retries_with.delay(key, 1, {"countdown": 0.7}).get(timeout=PATIENCE)
    first, second = system.notes_on(key)
    assert 0.7 <= second["at"] - first["at"] < 2.2


def test_eta(system: System, key: str) -> None:
    """`retry(eta=…)` waits until that time."""
    due = datetime.now(UTC) + timedelta(seconds=0.8)
    jobs.retries_with.delay(key, 1, {"eta": due}).get(timeout=PATIENCE)
    assert due.timestamp() - 0.01 <= system.notes_on(key)[1]["at"] < due.timestamp() + 1.5


def test_no_limit(system: System) -> None:
    """`max_retries=None` tries for ever."""
    assert jobs.retries_for_ever.delay().get(timeout=PATIENCE) == 5


def test_limit_of_a_retry(system: System, key: str) -> None:
    """`retry(max_retries=…)` is stronger than the task's own limit."""
    result = jobs.retries_with.delay(key, 9, {"countdown": 0, "max_retries": 1})
    with pytest.raises(jobs.Unlucky):
        result.get(timeout=PATIENCE)
    assert len(system.notes_on(key)) == 2


def test_other_arguments(system: System) -> None:
    """`retry(args=…)` tries with other arguments."""
    assert jobs.retries_with_other_arguments.delay(1).get(timeout=PATIENCE) == 2


def test_throw(system: System, key: str) -> None:
    """`retry(throw=False)` goes on after it has asked for another try."""
    result = jobs.goes_on_after_retry.delay(key)
    assert result.get(timeout=PATIENCE) == "ended"
    assert system.noted(key) == ["went on"]


def test_delivery(system: System, key: str) -> None:
    """A retry stays in its queue and keeps its priority and headers."""
    result = jobs.retries_with.apply_async(
        (key, 1, {"countdown": 0}), queue="side", priority=6, headers={"tenant": "north"}
    )
    last = result.get(timeout=PATIENCE)
    assert (last["delivery_info"]["routing_key"], last["delivery_info"]["priority"]) == ("side", 6)
    assert last["headers"]["tenant"] == "north"


def test_other_queue(system: System, key: str) -> None:
    """`retry(queue=…)` moves the task to another queue."""
    last = jobs.retries_with.delay(key, 1, {"countdown": 0, "queue": "side"}).get(timeout=PATIENCE)
    assert last["delivery_info"]["routing_key"] == "side"


def test_callbacks(system: System, key: str) -> None:
    """Callbacks of a task that was tried again are called once, with its result."""
    jobs.retries_with_other_arguments.apply_async((1,), link=jobs.on_result.s(key)).get(timeout=PATIENCE)
    assert system.noted(key) == [2]


def test_link_error(system: System, key: str) -> None:
    """Error callbacks are called once, after the last try."""
    result = jobs.retries.apply_async((f"{key}-runs",), link_error=jobs.on_error_by_id.s(key))
    result.get(timeout=PATIENCE, propagate=False)
    assert system.noted(key) == [result.id]
    assert len(system.notes_on(f"{key}-runs")) == 3


def test_autoretry(system: System, key: str) -> None:
    """`autoretry_for` retries on these exceptions by itself, with `retry_kwargs`."""
    with pytest.raises(jobs.Unlucky):
        jobs.retries_by_itself.delay(key).get(timeout=PATIENCE)
    assert system.notes_on(key) == [0, 1, 2]


def test_dont_autoretry(system: System, key: str) -> None:
    """`dont_autoretry_for` excludes exceptions from that."""
    with pytest.raises(jobs.Unlucky):
        jobs.does_not_retry_by_itself.delay(key).get(timeout=PATIENCE)
    assert system.notes_on(key) == [0]


def test_backoff(system: System, key: str) -> None:
    """`retry_backoff` waits longer before each try: here one second, then two."""
    result = jobs.backs_off.delay(key)
    first, second = system.noted(key, 2)
    assert 1 <= second - first < 2.5
    waits = [signal["when"] for signal in [system.signal(result.id, "task_retry")]]
    assert waits == [1]
    assert "Retry in 2s" in str(system.event("task-retried", uuid=result.id)) or system.noted(key, 3)[2] - second >= 2


def test_backoff_limit(system: System) -> None:
    """`retry_backoff_max` bounds that wait."""
    result = jobs.backs_off_to_a_limit.delay()
    assert system.signal(result.id, "task_retry")["when"] == 7
    result.revoke()


def test_jitter(system: System) -> None:
    """`retry_jitter` draws the wait between nothing and the backoff."""
    results = [jobs.backs_off_with_jitter.delay() for _ in range(4)]
    waits = [system.signal(result.id, "task_retry")["when"] for result in results]
    assert all(0 <= wait <= 1000 for wait in waits)
    assert len(set(waits)) > 1
    system.app.control.revoke([result.id for result in results])
