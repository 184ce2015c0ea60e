"""Waiting for jobs and what comes of it: values in time, and failures that say what happened."""

import asyncio
import copy
import pickle
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock import Job, JobFailed, State, as_ended, client, results
from penstock.app import PenstockApp
from penstock.broker.connection import connect
from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts
from penstock.errors import RemoteError
from penstock.job import Reason
from penstock.ledger.rows import Delivery, JobRow, Outcome
from tests import jobs
from tests.ledger.making import end, write
from tests.ledger.test_waiting import meanwhile, promptly
from tests.live import wait_for

PATIENCE = 10


class Unlucky(Exception):
    """Of a task."""

    class Really(Exception):
        """Of a class inside of another."""


class Particular(Exception):
    """Cannot be made from the arguments that it leaves behind."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Ends:
    """Ends jobs as a worker's keeper does: the row first, then the announcement."""

    def __init__(self, app: PenstockApp) -> None:
        self._app = app
        self._scripts = Scripts(connect(app.settings.redis_url), Keys())

    def __call__(self, job: Job[Any], value: Any = None, *, announced: bool = True) -> None:
        outcome = Outcome(state=State.SUCCEEDED, result=value)
        write(self._app.settings.database_url, end(Delivery(id=job.id, task=job.task, queue="default"), outcome))
        if announced:
            self._scripts.announce([(job.id, "succeeded")])

    def is_listened_for(self, job: Job[Any]) -> bool:
        found: Any = self._scripts.client.pubsub_numsub(Keys().ended(job.id))
        return bool(found[0][1])


@pytest.fixture
def ends(app: PenstockApp) -> Ends:
    return Ends(app)


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself: what wakes a waiter in time is an announcement."""
    monkeypatch.setattr(results, "CONFIRMATION", 60.0)
    monkeypatch.setattr(results, "FIRST_PAUSE", 60.0)
    monkeypatch.setattr(results, "LAST_PAUSE", 60.0)


@pytest.mark.usefixtures("rarely")
def test_result_is_woken_by_the_announcement(ends: Ends) -> None:
    job = jobs.add.enqueue(1, 2)

    def end_it() -> None:
        wait_for(lambda: ends.is_listened_for(job), "it is listened for")
        ends(job, 3)

    with promptly(), meanwhile(end_it):
        assert job.result(timeout=PATIENCE) == 3
    assert job.state is State.SUCCEEDED


@pytest.mark.usefixtures("rarely")
def test_any_number_of_asyncio_tasks_wait_beside_other_work(ends: Ends) -> None:
    made = [jobs.add.enqueue(number, 0) for number in range(20)]
    steps = 0

    async def count() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0.001)

    async def wait() -> list[int]:
        counting = asyncio.create_task(count())
        found = await asyncio.gather(*(job.aresult(timeout=PATIENCE) for job in made))
        counting.cancel()
        return found

    def end_them() -> None:
        wait_for(lambda: all(map(ends.is_listened_for, made)), "all are listened for")
        for number, job in enumerate(made):
            ends(job, number)

    with promptly(), meanwhile(end_them):
        assert asyncio.run(wait()) == list(range(20))
    assert steps > 10


def test_an_end_that_nobody_announces_is_found_all_the_same(ends: Ends) -> None:
    first, second = jobs.add.enqueue(1, 2), jobs.add.enqueue(1, 2)

    def end_it(job: Job[int]) -> None:
        wait_for(lambda: ends.is_listened_for(job), "it is listened for")
        ends(job, 3, announced=False)

    with promptly(), meanwhile(lambda: end_it(first)):
        assert first.result(timeout=PATIENCE) == 3
    with promptly(), meanwhile(lambda: end_it(second)):
        assert asyncio.run(second.aresult(timeout=PATIENCE)) == 3


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_waiting_ends_when_time_is_up(app: PenstockApp, timeout: float) -> None:
    job = jobs.add.enqueue(1, 2)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="it goes on"):
        job.result(timeout)
    with pytest.raises(TimeoutError, match="it goes on"):
        asyncio.run(job.aresult(timeout))
    with pytest.raises(TimeoutError, match="they go on"):
        list(as_ended([job], timeout))
    assert 3 * timeout <= time.monotonic() - started < 5


def test_what_has_ended_needs_no_time_and_no_redis(app: PenstockApp, ends: Ends) -> None:
    job = jobs.add.enqueue(1, 2)
    ends(job, 3)
    client.configure(app.settings.__class__.load({**_environment(app), "REDIS_URL": "redis://127.0.0.1:1/0"}))
    assert job.result(timeout=0) == 3
    assert asyncio.run(job.aresult(timeout=0)) == 3
    assert list(as_ended([job], timeout=0)) == [job]


def test_while_redis_is_away_the_ledger_is_asked(app: PenstockApp, ends: Ends) -> None:
    job = jobs.add.enqueue(1, 2)
    client.configure(app.settings.__class__.load({**_environment(app), "REDIS_URL": "redis://127.0.0.1:1/0"}))
    with promptly(), meanwhile(lambda: ends(job, 3)):
        assert job.result(timeout=PATIENCE) == 3


def _environment(app: PenstockApp) -> dict[str, str]:
    return {"DATABASE_URL": app.settings.database_url}


def test_arefresh_reads_the_state(ends: Ends) -> None:
    job = jobs.add.enqueue(1, 2)

    async def states() -> list[State | None]:
        before = (await job.arefresh()).state
        ends(job, 3)
        return [before, (await job.arefresh()).state]

    assert asyncio.run(states()) == [State.QUEUED, State.SUCCEEDED]


@pytest.mark.usefixtures("rarely")
def test_jobs_come_in_the_order_in_which_they_end(ends: Ends) -> None:
    first, second, third = made = [jobs.add.enqueue(number, 0) for number in range(3)]
    ends(second, 2)
    following = {second.id: third, third.id: first}
    came = []
    with promptly():
        for job in as_ended(made, timeout=PATIENCE):
            came.append(job)
            if job.id in following:
                ends(following[job.id], len(came))
    assert came == [second, third, first]
    assert [job.result(timeout=0) for job in came] == [2, 1, 2]


def test_of_no_jobs_none_end(app: PenstockApp) -> None:
    assert list(as_ended([], timeout=0)) == []


def test_pauses_grow_and_end_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def pass_time() -> float:
        return now

    monkeypatch.setattr(time, "monotonic", pass_time)
    taken = []
    for pause in results.pauses(3.0):
        taken.append(pause)
        now += pause
    assert taken == pytest.approx([0.005, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 0.445])


# Failures.


def failed(**values: Any) -> JobRow:
    """The row of a failed job."""
    columns = dict.fromkeys(JobRow.__dataclass_fields__)
    told = {"id": "7", "task": "mail.send", "state": State.FAILED, "reason": Reason.ERROR}
    return JobRow(**{**columns, "updated_at": datetime.now(UTC), **told, **values})


def raised(kind: type[Exception], *arguments: Any, **values: Any) -> JobRow:
    """The row of a job that has raised this."""
    form = {"exc_type": kind.__qualname__, "exc_module": kind.__module__, "exc_message": list(arguments)}
    error_type = f"{kind.__module__}.{kind.__qualname__}"
    return failed(**{"exception": form, "error_type": error_type, "error_message": str(arguments[0]), **values})


def test_a_failure_says_which_job_failed_and_why() -> None:
    failure = results.failure_of(raised(ValueError, "no", error_type="ValueError"))
    assert str(failure) == "job 7 of mail.send failed: ValueError: no"
    assert (failure.id, failure.state, failure.reason) == ("7", "failed", "error")
    assert (failure.error_type, failure.error_message) == ("ValueError", "no")


def test_a_job_without_an_error_says_its_reason() -> None:
    failure = results.failure_of(failed(state=State.CANCELLED, reason=Reason.EXPIRED))
    assert str(failure) == "job 7 of mail.send cancelled: expired"
    assert failure.__cause__ is None


@pytest.mark.parametrize("kind", [ValueError, Unlucky, Unlucky.Really])
def test_the_cause_is_the_exception_of_the_body(kind: type[Exception]) -> None:
    cause = results.failure_of(raised(kind, "no", 7)).__cause__
    assert type(cause) is kind
    assert cause.args == ("no", 7)


def test_the_traceback_of_the_worker_is_shown_with_the_error() -> None:
    failure = results.failure_of(raised(ValueError, "no", error_traceback='  File "tasks.py", line 7, in send\n'))
    shown = "".join(traceback.format_exception(failure))
    assert 'In the worker:\n  File "tasks.py", line 7, in send\n' in shown
    assert "ValueError: no" in shown


def test_a_class_that_is_not_loaded_here_is_told_and_not_imported() -> None:
    assert "this" not in sys.modules
    form = {"exc_type": "Gone", "exc_module": "this", "exc_message": ["bye"]}
    cause = results.failure_of(failed(exception=form, error_type="this.Gone", error_message="bye")).__cause__
    assert isinstance(cause, RemoteError)
    assert (cause.type, cause.message, str(cause)) == ("this.Gone", "bye", "this.Gone: bye")
    assert "this" not in sys.modules


def test_a_module_that_loads_its_parts_when_asked_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(results, "__getattr__", asked.append, raising=False)
    form = {"exc_type": "Late", "exc_module": "penstock.results", "exc_message": []}
    assert isinstance(results.failure_of(failed(exception=form, error_type="Late")).__cause__, RemoteError)
    assert asked == []


@pytest.mark.parametrize(
    "form",
    [
        {"exc_type": "system", "exc_module": "os", "exc_message": ["exit 7"]},
        {"exc_type": "Popen", "exc_module": "subprocess", "exc_message": ["false"]},
        {"exc_type": "SystemExit", "exc_module": "builtins", "exc_message": [7]},
        {"exc_type": "Particular", "exc_module": __name__, "exc_message": ["one argument"]},
        {"exc_type": None, "exc_module": ["builtins"], "exc_message": None},
        ["ValueError"],
        None,
    ],
    ids=["function", "class", "exit", "arguments", "names", "list", "nothing"],
)
def test_what_is_no_exception_or_wants_other_arguments_is_told_as_text(form: Any) -> None:
    cause = results.failure_of(failed(exception=form, error_type="a.B", error_message="c")).__cause__
    assert isinstance(cause, RemoteError)


def test_a_failure_survives_a_pickle_and_a_copy() -> None:
    failure = results.failure_of(raised(ValueError, "no", error_traceback="there"))
    for again in (pickle.loads(pickle.dumps(failure)), copy.copy(failure)):  # noqa: S301
        assert (str(again), again.id, again.traceback) == (str(failure), "7", "there")
        assert isinstance(again, JobFailed)
    cause = pickle.loads(pickle.dumps(RemoteError("a.B", "c")))  # noqa: S301
    assert str(cause) == "a.B: c"
