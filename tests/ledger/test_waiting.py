"""Waiting for results by Celery's API: woken by announcements, and by the ledger alone when none come."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery._state import _set_task_join_will_block
from celery.exceptions import TaskRevokedError, TimeoutError
from celery.result import AsyncResult, GroupResult, ResultSet, allow_join_result
from sqlalchemy import event

from penstock.app import PenstockApp
from penstock.broker.connection import connect
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.job import Reason, State
from penstock.ledger import waiting
from penstock.ledger.failure import describe
from penstock.ledger.rows import Outcome
from penstock.ledger.session import close_all, engine_for
from tests.ledger.making import delivery, end, write

PATIENCE = 10


class Jobs:
    """Jobs that end when a test says so, as a worker's keeper ends them: the row first, then the announcement."""

    def __init__(self, app: PenstockApp) -> None:
        self._app = app
        self._scripts = Scripts(connect(app.settings.redis_url), Keys())

    def new(self) -> AsyncResult:
        return AsyncResult(uuid.uuid4().hex, app=self._app)

    def end(self, job: AsyncResult, value: Any = None, *, announced: bool = True) -> None:
        self.end_as(job, Outcome(state=State.SUCCEEDED, result=value), announced=announced)

    def fail(self, job: AsyncResult, error: Exception) -> None:
        kind = type(error)
        form = {"exc_type": kind.__name__, "exc_module": kind.__module__, "exc_message": list(error.args)}
        failure = describe(error, form, "Traceback of the worker")
        self.end_as(job, Outcome(state=State.FAILED, reason=Reason.ERROR, failure=failure))

    def end_as(self, job: AsyncResult, outcome: Outcome, *, announced: bool = True) -> None:
        write(self._app.settings.database_url, end(delivery(job.id), outcome))
        if announced:
            self.announce(job)

    def announce(self, *jobs: AsyncResult) -> int:
        return self._scripts.announce([(job.id, "succeeded") for job in jobs])

    def is_listened_for(self, job: AsyncResult) -> bool:
        found: Any = self._scripts.client.pubsub_numsub(Keys().ended(job.id))
        return bool(found[0][1])


@pytest.fixture
def made(app: PenstockApp) -> Jobs:
    return Jobs(app)


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself: what wakes a waiter in time is an announcement."""
    monkeypatch.setattr(waiting, "CONFIRMATION", 60.0)
    monkeypatch.setattr(waiting, "LONGEST", 60.0)


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[None]:
    """Does the work in another thread."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(PATIENCE)


@contextmanager
def promptly() -> Iterator[None]:
    """What is inside must not take so long as to be ended by its own timeout, at which everybody looks once more."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < PATIENCE / 2


@contextmanager
def counted(app: PenstockApp) -> Iterator[list[str]]:
    """The statements on the ledger inside of the block."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = engine_for(app.settings.database_url)
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def when(condition: Callable[[], bool], work: Callable[[], Any]) -> Callable[[], None]:
    """Work that is done when the condition holds."""

    def wait_and_work() -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.005)
        work()

    return wait_and_work


@pytest.mark.usefixtures("rarely")
def test_get_is_woken_by_the_announcement(made: Jobs) -> None:
    job = made.new()
    with promptly(), meanwhile(when(lambda: made.is_listened_for(job), lambda: made.end(job, 7))):
        assert job.get(timeout=PATIENCE, interval=60) == 7


@pytest.mark.usefixtures("rarely")
def test_an_end_between_the_first_look_and_the_subscription_is_not_missed(
    made: Jobs, app: PenstockApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is announced to nobody; but each job is looked at once it is listened for."""
    job, ended = made.new(), made.new()
    made.end(ended, 6)
    looks: list[set[str]] = []
    read = app.backend._read_ended

    def read_and_end(ids: set[str]) -> Any:
        found = read(ids)
        if not looks:
            made.end(job, 7)
        looks.append(ids)
        return found

    monkeypatch.setattr(app.backend, "_read_ended", read_and_end)
    with promptly():
        assert ResultSet([ended, job], app=app).get(timeout=PATIENCE, interval=60) == [6, 7]
    assert len(looks) == 2


def test_an_end_that_nobody_announces_is_found_all_the_same(made: Jobs) -> None:
    job = made.new()
    end = when(lambda: made.is_listened_for(job), lambda: made.end(job, 7, announced=False))
    with promptly(), meanwhile(end):
        assert job.get(timeout=PATIENCE, interval=0.05) == 7


def test_without_a_broker_of_ours_the_ledger_is_asked_at_each_interval(
    made: Jobs, app: PenstockApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.amqp, "hearing", None)
    job = made.new()
    with promptly(), meanwhile(lambda: made.end(job, 7)):
        assert job.get(timeout=PATIENCE, interval=0.01) == 7


@pytest.mark.usefixtures("rarely")
def test_one_that_ends_after_it_is_asked_for_is_read_twice(
    made: Jobs, app: PenstockApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is listened for, and when it has ended; each look takes time from the job itself."""
    job = made.new()
    looks: list[set[str]] = []
    read = app.backend._read_ended

    def read_and_note(ids: set[str]) -> Any:
        found = read(ids)
        looks.append(ids)
        return found

    monkeypatch.setattr(app.backend, "_read_ended", read_and_note)
    with promptly(), meanwhile(when(lambda: bool(looks), lambda: made.end(job, 7))):
        assert job.get(timeout=PATIENCE, interval=60) == 7
    assert looks == [{job.id}] * 2


def test_one_that_has_ended_is_read_and_nothing_more(made: Jobs, app: PenstockApp) -> None:
    job = made.new()
    made.end(job, 7)
    with counted(app) as statements:
        assert job.get(timeout=PATIENCE) == 7
    assert len(statements) == 1


def test_a_failure_is_raised_as_the_exception_that_it_was(made: Jobs) -> None:
    job = made.new()
    made.fail(job, ValueError("as it was"))
    with pytest.raises(ValueError, match="as it was"):
        job.get(timeout=PATIENCE)
    assert isinstance(job.get(propagate=False), ValueError)
    assert job.traceback == "Traceback of the worker"


def test_a_cancelled_job_raises_what_celery_raises(made: Jobs) -> None:
    job = made.new()
    made.end_as(job, Outcome(state=State.CANCELLED, reason=Reason.REVOKED))
    with pytest.raises(TaskRevokedError):
        job.get(timeout=PATIENCE)


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_a_timeout_is_raised_in_time(made: Jobs, timeout: float) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        made.new().get(timeout=timeout, interval=60)
    assert timeout <= time.monotonic() - started < 5


def test_what_has_ended_is_returned_even_when_there_is_no_time_to_wait(made: Jobs) -> None:
    job = made.new()
    made.end(job, 7)
    assert job.get(timeout=0) == 7


def test_on_interval_is_called_while_nothing_happens(made: Jobs) -> None:
    job, calls = made.new(), []

    def note() -> None:
        calls.append(1)
        if len(calls) == 3:
            made.end(job, 7)

    assert job.backend.wait_for(job.id, PATIENCE, interval=0.01, on_interval=note)["result"] == 7
    assert len(calls) == 3


def test_on_message_is_called_with_what_has_come(made: Jobs) -> None:
    job = made.new()
    seen: list[dict[str, Any]] = []
    made.end(job, 7)
    job.get(timeout=PATIENCE, on_message=seen.append)
    assert [(meta["task_id"], meta["status"], meta["result"]) for meta in seen] == [(job.id, "SUCCESS", 7)]


def test_a_callback_is_called_and_then_is_fulfilled(made: Jobs) -> None:
    job = made.new()
    seen: list[Any] = []
    job.then(lambda done: seen.append(done.result))
    made.end(job, 7)
    job.get(timeout=PATIENCE, callback=lambda id, value: seen.append((id, value)))
    assert seen == [7, (job.id, 7)]


def test_inside_of_a_task_nobody_waits_unless_it_is_allowed(made: Jobs) -> None:
    job = made.new()
    made.end(job, 7)
    _set_task_join_will_block(True)
    try:
        with pytest.raises(RuntimeError, match="Never call"):
            job.get(timeout=PATIENCE)
        with pytest.raises(RuntimeError, match="Never call"):
            ResultSet([job]).get(timeout=PATIENCE)
        with allow_join_result():
            assert job.get(timeout=PATIENCE) == 7
    finally:
        _set_task_join_will_block(False)


# Sets of results.


@pytest.mark.usefixtures("rarely")
def test_a_set_gives_its_values_in_its_order_however_they_end(made: Jobs, app: PenstockApp) -> None:
    members = [made.new() for _ in range(5)]

    def end_backwards() -> None:
        for value, member in reversed(list(enumerate(members))):
            made.end(member, value)

    all_wait = when(lambda: all(made.is_listened_for(member) for member in members), end_backwards)
    with promptly(), meanwhile(all_wait):
        assert ResultSet(members, app=app).get(timeout=PATIENCE, interval=60) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("rarely")
def test_the_members_of_a_set_come_as_they_end(made: Jobs, app: PenstockApp) -> None:
    first, second, third = (made.new() for _ in range(3))
    came = []
    following = {second.id: first, first.id: third}
    with promptly(), meanwhile(when(lambda: made.is_listened_for(third), lambda: made.end(second, "2"))):
        for id, meta in ResultSet([first, second, third], app=app).iter_native(timeout=PATIENCE, interval=60):
            came.append((id, meta["status"]))
            if id in following:
                made.end(following[id])
    assert came == [(job.id, "SUCCESS") for job in (second, first, third)]


def test_a_set_that_has_ended_is_one_query(made: Jobs, app: PenstockApp) -> None:
    members = [made.new() for _ in range(100)]
    for value, member in enumerate(members):
        made.end(member, value, announced=False)
    with counted(app) as statements:
        assert ResultSet(members, app=app).get(timeout=PATIENCE) == list(range(100))
        assert members[3].result == 3
    assert len(statements) == 1


def test_the_failure_of_a_member_is_raised_or_returned(made: Jobs, app: PenstockApp) -> None:
    good, bad = made.new(), made.new()
    made.end(good, 1)
    made.fail(bad, KeyError("k"))
    with pytest.raises(KeyError):
        ResultSet([good, bad], app=app).get(timeout=PATIENCE)
    kept = ResultSet([good, bad], app=app).get(timeout=PATIENCE, propagate=False)
    assert kept[0] == 1
    assert isinstance(kept[1], KeyError)


def test_join_without_the_backends_help_gives_the_same(made: Jobs, app: PenstockApp) -> None:
    members = [made.new(), made.new()]
    for member in members:
        made.end(member, member.id)
    assert ResultSet(members, app=app).join(timeout=PATIENCE) == [member.id for member in members]


def test_a_set_that_does_not_end_in_time_says_so(made: Jobs, app: PenstockApp) -> None:
    ended, open_ = made.new(), made.new()
    made.end(ended)
    with pytest.raises(TimeoutError):
        ResultSet([ended, open_], app=app).get(timeout=0.1)


def test_groups_in_a_set_give_lists(made: Jobs, app: PenstockApp) -> None:
    single, *pair = (made.new() for _ in range(3))
    for value, member in enumerate([single, *pair]):
        made.end(member, value)
    nested = ResultSet([GroupResult("g", pair, app=app), single], app=app)
    assert nested.join_native(timeout=PATIENCE) == [[1, 2], 0]


def test_the_same_job_twice_in_a_set_is_no_trouble(made: Jobs, app: PenstockApp) -> None:
    job = made.new()
    made.end(job, 7)
    found = ResultSet([job, AsyncResult(job.id, app=app)], app=app).iter_native(timeout=PATIENCE)
    assert [meta["result"] for _, meta in found] == [7]


def test_a_look_at_what_is_there_waits_for_nobody(made: Jobs, app: PenstockApp) -> None:
    ended, open_ = made.new(), made.new()
    made.end(ended, 7)
    found = list(app.backend.get_many([ended.id, open_.id], max_iterations=1))
    assert [(id, meta["result"]) for id, meta in found] == [(ended.id, 7)]


# Saved groups.


def group_of(app: PenstockApp, *members: Any) -> GroupResult:
    return GroupResult(uuid.uuid4().hex, list(members), app=app)


def test_a_saved_group_is_restored_by_its_id(made: Jobs, app: PenstockApp) -> None:
    members = [made.new(), made.new()]
    saved = group_of(app, *members)
    saved.save()
    close_all()
    restored = GroupResult.restore(saved.id, app=app)
    assert restored == saved
    for member in members:
        made.end(member, member.id)
    assert restored.get(timeout=PATIENCE) == [member.id for member in members]


def test_nested_groups_and_parents_are_restored_as_they_were(made: Jobs, app: PenstockApp) -> None:
    parent, inner = made.new(), group_of(app, made.new(), made.new())
    saved = GroupResult(uuid.uuid4().hex, [inner, made.new()], parent=parent, app=app)
    saved.save()
    restored = GroupResult.restore(saved.id, app=app)
    assert restored.as_tuple() == saved.as_tuple()
    assert restored.parent == parent
    assert isinstance(restored.results[0], GroupResult)


def test_a_group_that_is_saved_again_is_kept_as_it_is_now(made: Jobs, app: PenstockApp) -> None:
    saved = group_of(app, made.new())
    saved.save()
    saved.add(made.new())
    saved.save()
    assert len(GroupResult.restore(saved.id, app=app)) == 2


def test_a_deleted_group_and_one_that_was_never_saved_are_none(made: Jobs, app: PenstockApp) -> None:
    saved = group_of(app, made.new())
    saved.save()
    saved.delete()
    assert GroupResult.restore(saved.id, app=app) is None
    assert GroupResult.restore("never", app=app) is None


def test_a_group_with_an_id_of_any_length_is_kept(made: Jobs, app: PenstockApp) -> None:
    saved = GroupResult("g" * 300, [made.new()], app=app)
    saved.save()
    assert GroupResult.restore(saved.id, app=app) == saved
