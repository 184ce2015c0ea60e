"""`python -m tests.faults.producer SIDE`: a producer in a process of its own, told what to do line by line.

Each request is one line of JSON on standard input, each answer one on standard output.
"""

import importlib
import json
import sys
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
        answer = {"send": send, "revoke": revoke, "serve": serve}[request.pop("do")](app, **request)
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


def revoke(app: Any, ids: list[str]) -> dict[str, Any]:
    """Revokes jobs as Celery's API says."""
    app.control.revoke(ids)
    return {}


def serve(app: Any, queue: str, worker: str) -> dict[str, Any]:
    """Has a worker consume from one more queue."""
    app.control.add_consumer(queue, destination=[worker], reply=True, timeout=5)
    return {}


if __name__ == "__main__":
    main()
