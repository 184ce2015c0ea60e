"""Countdown, ETA and expiry"""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 10
DELAY = 0.7
LATE = 1.5


def ran_after(system: System, key: str, sent: float) -> float:
    (note,) = system.noted(key)
    after: float = note["at"] - sent
    return after


def test_countdown(system: System, key: str) -> None:
    """`countdown` starts the task after so many seconds, not before and not much later."""
    sent = time.time()
    jobs.note.apply_async((key,), countdown=DELAY)
    assert DELAY <= ran_after(system, key, sent) < DELAY + LATE


@pytest.mark.parametrize("hours", [0, 5.5, -8])
def test_eta(system: System, key: str, hours: float) -> None:
    """`eta` starts the task at that time, whatever the time zone it is given in."""
    sent = time.time()
    due = datetime.fromtimestamp(sent + DELAY, timezone(timedelta(hours=hours)))
    jobs.note.apply_async((key,), eta=due)
    assert DELAY - 0.01 <= ran_after(system, key, sent) < DELAY + LATE


def test_naive_eta(system: System, key: str) -> None:
    """An `eta` without a time zone is taken as UTC by the worker."""
    sent = time.time()
    jobs.note.apply_async((key,), eta=datetime.fromtimestamp(sent + DELAY, UTC).replace(tzinfo=None))
    assert DELAY - 0.01 <= ran_after(system, key, sent) < DELAY + LATE


def test_past_eta(system: System, key: str) -> None:
    """An `eta` in the past starts the task at once."""
    sent = time.time()
    jobs.note.apply_async((key,), eta=datetime.now(UTC) - timedelta(hours=1))
    assert ran_after(system, key, sent) < LATE


def test_order_of_etas(system: System, key: str) -> None:
    """Tasks start in the order in which they are due, not in that in which they were sent."""
    now = datetime.now(UTC)
    for text in (3, 1, 2):
        jobs.note.apply_async((key, text), eta=now + timedelta(seconds=0.3 * text), queue="lane")
    assert [note["text"] for note in system.noted(key, 3)] == [1, 2, 3]


def test_waiting_for_eta_blocks_nobody(system: System, key: str) -> None:
    """Tasks that wait for their time do not keep others from running, however many they are."""
    waiting = [jobs.note.apply_async((key, "later"), countdown=60, queue="lane") for _ in range(20)]
    assert jobs.add.apply_async((1, 1), queue="lane").get(timeout=PATIENCE) == 2
    system.control("revoke", worker=system.lane, task_id=[result.id for result in waiting])
    assert system.notes_on(key) == []


def test_eta_in_the_request(system: System) -> None:
    """A task can read its `eta`."""
    due = datetime.now(UTC) - timedelta(seconds=1)
    assert jobs.context.apply_async(eta=due).get(timeout=PATIENCE)["eta"] == due.isoformat()


@pytest.mark.parametrize("expires", [0.2, timedelta(seconds=0.2)], ids=["seconds", "datetime"])
def test_expires(system: System, key: str, expires: float | timedelta) -> None:
    """A task that is not started before `expires`, in seconds or a datetime, is REVOKED and never runs."""
    jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    limit = datetime.now(UTC) + expires if isinstance(expires, timedelta) else expires
    result = jobs.note.apply_async((f"{key}-late",), expires=limit, queue="lane")
    time.sleep(0.3)
    system.release(key)
    wait_for(lambda: result.state == "REVOKED", "REVOKED")
    sent = system.signal(result.id, "task_revoked")
    assert (sent["terminated"], sent["expired"]) == (False, True)
    assert system.notes_on(f"{key}-late") == []


def test_not_expired(system: System) -> None:
    """A task that starts in time does not care for `expires` and can read it."""
    result = jobs.context.apply_async(expires=60)
    assert datetime.fromisoformat(result.get(timeout=PATIENCE)["expires"]) > datetime.now(UTC) + timedelta(seconds=30)


def test_naive_expires(system: System, key: str) -> None:
    """An `expires` without a time zone is taken as UTC by the worker."""
    now = datetime.now(UTC).replace(tzinfo=None)
    jobs.note.apply_async((key,), expires=now + timedelta(minutes=5))
    system.noted(key)
    late = jobs.note.apply_async((f"{key}-late",), expires=now - timedelta(minutes=5))
    wait_for(lambda: late.state == "REVOKED", "REVOKED")
    assert system.notes_on(f"{key}-late") == []


def test_expires_before_eta(system: System, key: str) -> None:
    """A task that expires before it is due is REVOKED."""
    result = jobs.note.apply_async((key,), countdown=0.6, expires=0.2)
    wait_for(lambda: result.state == "REVOKED", "REVOKED")
    assert system.notes_on(key) == []


def test_expired_event(system: System) -> None:
    """An expired task is told in an event."""
    result = jobs.add.apply_async((1, 1), expires=-1)
    assert system.event("task-revoked", uuid=result.id)["expired"] is True
