"""`python -m tests.faults.producer SIDE`: a producer in a process of its own, told what to do line by line.

Each request is one line of JSON on standard input, each answer one on standard output.
"""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from tests.faults.command import keep_ours_out


def main() -> None:
    side = sys.argv[1]
    if side == "stock":
        keep_ours_out()
    app = importlib.import_module(f"tests.faults.{side}_app").app
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        answer = ASKED[request.pop("do")](app, **request)
        print(json.dumps(answer), file=answers, flush=True)


def send(app: Any, task: str, ids: list[str], args: list[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Enqueues one job per id. An id is accepted when the call returned; otherwise the error is told."""
    accepted, errors = [], {}
    for id in ids:
        try:
            app.tasks[task].apply_async(args, task_id=id, **options)
            accepted.append(id)
        except Exception as error:
            errors[id] = repr(error)
    return {"accepted": accepted, "errors": errors}


def chain(app: Any, task: str, ids: list[str], args: list[list[Any]]) -> dict[str, Any]:
    """Enqueues a chain of as many steps as there are ids, each with arguments of its own."""
    first, *rest = (app.tasks[task].si(*each).set(task_id=id) for id, each in zip(ids, args, strict=True))
    step = first
    for following in rest:
        step = step | following
    step.apply_async()
    return {"accepted": ids, "errors": {}}


def link(app: Any, task: str, ids: list[str], args: list[Any]) -> dict[str, Any]:
    """Enqueues a job and, as its callback, ``faults.work`` under the second id."""
    job, callback = ids
    app.tasks[task].apply_async(args, task_id=job, link=app.tasks["faults.work"].si().set(task_id=callback))
    return {"accepted": ids, "errors": {}}


def chord(app: Any, task: str, ids: list[str], args: list[list[Any]]) -> dict[str, Any]:
    """Enqueues a chord: the last id is that of its body."""
    from celery import chord

    *parts, body = ids
    header = [app.tasks[task].si(*each).set(task_id=id) for id, each in zip(parts, args, strict=True)]
    chord(header)(app.tasks["faults.join"].s(len(parts)).set(task_id=body))
    return {"accepted": ids, "errors": {}}


def revoke(app: Any, ids: list[str]) -> dict[str, Any]:
    """Revokes jobs as Celery's API says."""
    app.control.revoke(ids)
    return {}


def serve(app: Any, queue: str, worker: str) -> dict[str, Any]:
    """Has a worker consume from one more queue."""
    app.control.add_consumer(queue, destination=[worker], reply=True, timeout=5)
    return {}


ASKED: dict[str, Callable[..., dict[str, Any]]] = {
    "send": send,
    "chain": chain,
    "link": link,
    "chord": chord,
    "revoke": revoke,
    "serve": serve,
}

if __name__ == "__main__":
    main()
