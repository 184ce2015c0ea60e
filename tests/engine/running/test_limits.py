"""Where a soft time limit may raise: inside of a body, whatever that calls, and nowhere else."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import getsignal
from signal import signal as handle

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.signals import task_postrun, task_prerun
from celery.utils.dispatch import Signal

from penstock.breaker import Breaker
from penstock.engine import attempts
from penstock.engine.place import IN_BODY
from penstock.engine.running.limits import SIGNAL, install, is_in_body
from penstock.engine.running.tracing import quick_tracer
from penstock.engine.slots import Slots
from penstock.errors import JobCancelled
from penstock.ledger import collecting

pytestmark = pytest.mark.usefixtures("_in_a_child")
seen: dict[str, bool] = {}


def look(where: str) -> None:
    """Asks as a signal's handler would at this moment."""
    seen[where] = is_in_body(sys._getframe(1))


app = Celery("limits", set_as_current=False, broker="memory://", backend="cache+memory://")


class Watched(app.Task):  # type: ignore[name-defined,misc]
    """Looks in its hooks."""

    abstract = True

    def before_start(self, *_: object) -> None:
        look("before")

    def on_success(self, *_: object) -> None:
        look("after success")

    def on_failure(self, *_: object) -> None:
        look("after failure")


@app.task(base=Watched, name="body")
def body(fails: bool) -> None:
    """Looks from its body, and from what that calls."""
    look("body")
    list(map(look, ["called by the body"]))
    if fails:
        raise ValueError


class Shown:
    """Looks while it is shown."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __repr__(self) -> str:
        look(self.what)
        return self.what


class Failure(Exception):
    """Looks while it is shown."""

    def __str__(self) -> str:
        look("after failure")
        return "failed"


LEDGER = "penstock.ledger.backend:LedgerBackend+sqlite://"
ledger = Celery("quick", set_as_current=False, broker="memory://", backend=LEDGER)


@ledger.task(name="quick", ignore_result=True)
def quick(fails: bool) -> Shown:
    """Looks from its body, and from what that calls; our own tracer runs it."""
    body.run(False)
    if fails:
        raise Failure
    return Shown("after success")


@pytest.fixture(autouse=True)
def looked() -> None:
    seen.clear()


def run_quickly(fails: bool, claim: dict[str, str] | None = None) -> None:
    ledger.finalize()
    task = ledger.tasks["quick"]
    task.__trace__ = build_tracer("quick", task, ledger.loader, "host", app=ledger)
    tracer = quick_tracer(task, ledger)
    assert tracer is not task.__trace__
    collection = collecting.Collection("1", is_on_the_books=True, keeps_success=True)
    mark = collecting.open(collection)
    tracer("1", [fails], {}, {"id": "1", "task": "quick", "delivery_info": claim or {}, "headers": None})
    collecting.close(mark)


def run(fails: bool, claim: dict[str, str] | None = None) -> None:
    app.finalize()
    task = app.tasks["body"]
    tracer = build_tracer("body", task, app.loader, "host", app=app)
    tracer("1", [fails], {}, {"id": "1", "delivery_info": claim or {}})


Run = Callable[..., None]
RUNS = pytest.mark.parametrize("run", [run, run_quickly], ids=["celerys", "quick"])


@pytest.mark.parametrize("fails", [False, True])
@RUNS
def test_it_raises_in_a_body_that_a_breaker_watches_and_not_while_that_tells(run: Run, fails: bool) -> None:
    for each, name in ((app, "body"), (ledger, "quick")):
        each.finalize()
        each.tasks[name].breaker = Breaker()
        attempts.watch(each)
    attempts.set_teller(lambda _: look("told"))
    claim = {"claimer": "ant@host/00000001", "token": "1:0"}
    try:
        run(fails, claim)
    finally:
        attempts.set_teller(None)
        for each, name in ((app, "body"), (ledger, "quick")):
            del each.tasks[name].breaker, each.tasks[name].run
    assert (seen["body"], seen["called by the body"], seen["told"]) == (True, True, False)
    assert not seen.get("after failure")


@RUNS
def test_it_raises_in_the_body_and_in_what_that_calls(run: Run) -> None:
    run(False)
    assert seen["body"]
    assert seen["called by the body"]


@pytest.mark.parametrize("fails", [False, True])
@RUNS
def test_it_does_not_raise_once_the_body_has_ended(run: Run, fails: bool) -> None:
    run(fails)
    assert not seen["after failure" if fails else "after success"]


def test_it_does_not_raise_in_receivers_of_signals() -> None:
    def on_prerun(**_: object) -> None:
        look("prerun")

    def on_postrun(**_: object) -> None:
        look("postrun")

    with connected((task_prerun, on_prerun), (task_postrun, on_postrun)):
        run(fails=False)
    assert not seen["prerun"]
    assert not seen["postrun"]


def test_it_does_not_raise_where_no_job_runs() -> None:
    look("outside")
    assert not seen["outside"]


@contextmanager
def connected(*pairs: tuple[Signal, Callable[..., None]]) -> Iterator[None]:
    """Signals and their receivers, for the time of a block."""
    for signal, receiver in pairs:
        signal.connect(receiver, weak=False)
    yield
    for signal, receiver in pairs:
        signal.disconnect(receiver)


def test_a_cancellation_outside_of_a_body_is_not_raised() -> None:
    """And it is not used up: whoever means it sends the signal again."""
    slot = Slots(1).all[0]
    for field, value in (("number", 7), ("is_running", IN_BODY)):
        slot.put(field, value)
    slot.cancel(7)
    before = getsignal(SIGNAL)
    install(slot)
    try:
        os.kill(os.getpid(), SIGNAL)
        is_raised = False
    except JobCancelled:
        is_raised = True
    finally:
        handle(SIGNAL, before)
    assert not is_raised
    assert slot.take_cancellation()
    assert not slot.take_cancellation()
