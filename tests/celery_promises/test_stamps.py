"""Stamping"""

from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import StampingVisitor
from celery.exceptions import TaskRevokedError

from tests.celery_promises import jobs
from tests.celery_promises.system import System

PATIENCE = 10


class Tenant(StampingVisitor):
    """Stamps every task of a workflow."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"tenant": "north", "stamped_headers": ["tenant"]}


def test_stamp(system: System) -> None:
    """`signature.stamp(name=value)` puts a stamp on a task, which can read it."""
    work = jobs.context.s()
    work.stamp(tenant="north")
    found = work.delay().get(timeout=PATIENCE)
    assert found["stamps"] == {"tenant": "north"}
    assert found["stamped_headers"] == ["tenant"]


def test_visitor(system: System) -> None:
    """A visitor stamps every task of a chain."""
    work = chain(jobs.context.si(), jobs.context.si())
    work.stamp(visitor=Tenant())
    result = work()
    last, first = result.get(timeout=PATIENCE), result.parent.get(timeout=PATIENCE)
    assert [found["stamps"]["tenant"] for found in (first, last)] == ["north", "north"]


def test_group(system: System) -> None:
    """Stamps of a group reach each of its tasks."""
    work = group(jobs.context.si(), jobs.context.si())
    work.stamp(tenant="north")
    assert [found["stamps"] for found in work.delay().get(timeout=PATIENCE)] == [{"tenant": "north"}] * 2


def test_chord(system: System) -> None:
    """Stamps of a chord reach the tasks of its header."""
    work = chord(group(jobs.context.si(), jobs.context.si()), jobs.add.si(1, 1))
    work.stamp(tenant="north")
    result = work.delay()
    assert result.get(timeout=PATIENCE) == 2
    assert [found["stamps"] for found in result.parent.get(timeout=PATIENCE)] == [{"tenant": "north"}] * 2


def test_callback(system: System, key: str) -> None:
    """Stamps of a task reach its callbacks."""
    work = jobs.add.s(1, 1)
    work.link(jobs.context.si())
    work.stamp(tenant="north")
    result = work.delay()
    result.get(timeout=PATIENCE)
    assert result.children[0].get(timeout=PATIENCE)["stamps"] == {"tenant": "north"}


def test_revoke_by_stamp(system: System, key: str) -> None:
    """`control.revoke_by_stamped_headers()` revokes waiting tasks that carry the stamp, and no others."""
    jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    stamped, other = jobs.note.s(f"{key}-stamped"), jobs.note.s(f"{key}-other")
    stamped.stamp(tenant=key)
    other.stamp(tenant=f"not {key}")
    revoked, ran = stamped.set(queue="lane").delay(), other.set(queue="lane").delay()
    system.app.control.revoke_by_stamped_headers({"tenant": [key]}, reply=True, timeout=1, limit=2)
    system.release(key)
    system.signal(revoked.id, "task_revoked")
    ran.get(timeout=PATIENCE)
    assert system.notes_on(f"{key}-stamped") == []


def test_terminate_by_stamp(system: System, key: str) -> None:
    """With `terminate=True` it ends running tasks that carry the stamp."""
    work = jobs.hold.s(key)
    work.stamp(tenant=key)
    result = work.delay()
    system.noted(key)
    system.app.control.revoke_by_stamped_headers({"tenant": key}, terminate=True)
    assert system.signal(result.id, "task_revoked")["terminated"] is True
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
