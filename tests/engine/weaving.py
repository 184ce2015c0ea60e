"""An adopted app whose tasks are woven into chords: `celery -A tests.engine.weaving worker`."""

import json
import os
import signal
from typing import Any

from celery import Celery, chain, chord, current_task, group
from celery.exceptions import Ignore, Reject

import penstock
from penstock import Cancel, Snooze
from tests.engine.tasks import hold, note


def declare(app: Celery) -> None:
    """Puts the tasks on the app."""
    for body in (add, total, give, fail, skip, refuse, rest, cancel, again, die, becomes, extend, tell, hold):
        app.task(name=f"weaving.{body.__name__}", bind=True)(body)
    app.task(name="weaving.quiet", bind=True, ignore_result=True)(give)
    app.task(name="weaving.tell_more")(tell_more)


def add(_task: Any, left: int, right: int) -> int:
    return left + right


def total(task: Any, values: list[int]) -> int:
    note("start", task)
    return sum(values)


def give(task: Any, value: Any) -> Any:
    note("start", task)
    return value


def fail(_task: Any, *_: Any) -> None:
    raise ValueError("in a part")


def skip(_task: Any) -> None:
    raise Ignore


def refuse(_task: Any) -> None:
    raise Reject("not for me", requeue=False)


def rest(task: Any, value: int) -> int:
    if not task.request.retries:
        raise Snooze(0)
    return value


def cancel(_task: Any) -> None:
    raise Cancel("not wanted")


def again(task: Any, value: int) -> int:
    if not task.request.retries:
        raise task.retry(countdown=0)
    return value


def die(_task: Any) -> None:
    """At every delivery, until it is buried."""
    os.kill(os.getpid(), signal.SIGKILL)


def becomes(task: Any, kind: str, value: int) -> Any:
    """Another task, or several, in its place; each gives ``value + 1`` or a list of these."""
    one = task.app.tasks["weaving.add"].si(value, 1)
    kinds = {
        "task": one,
        "tagged": one.clone().set(headers={"tags": ["own"]}),
        "chain": chain(one, task.app.tasks["weaving.add"].s(0)),
        "group": group(one, one.clone()),
        "chord": chord([one, one.clone()], task.app.tasks["weaving.give"].si(value + 1)),
    }
    return task.replace(kinds[kind])


def extend(task: Any, value: int) -> int:
    """Adds a task to the chord that it is part of."""
    task.add_to_chord(task.app.tasks["weaving.give"].si(value + 100))
    return value


def tell(task: Any, failed_id: str) -> None:
    """An errback that gets the id of the job that failed."""
    note("told", task, of=failed_id)


def tell_more(request: Any, error: Any, _traceback: Any) -> None:
    """An errback that is called in place, with all there is."""
    note("told", current_task, of=request.id, of_task=request.task, error=repr(error))


if "ENGINE_CONFIG" in os.environ:
    app = Celery("engine")
    app.conf.update(json.loads(os.environ["ENGINE_CONFIG"]))
    penstock.adopt(app)
    declare(app)
