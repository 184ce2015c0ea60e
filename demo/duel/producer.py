"""`python -m demo.duel.producer SIDE`: a producer in a process of its own, told what to do line by line.

Each request is one line of JSON on standard input, each answer one on standard output. A job is noted as accepted,
outside of both systems, when the call that enqueues it has returned.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from demo.duel.command import STOCK, keep_ours_out
from demo.duel.tasks import WORK

ACCEPTED = "DUEL_ACCEPTED"
"""Environment variable with the name of the file of accepted jobs."""
REPLY_SECONDS = 5.0


def main() -> None:
    """Answers until standard input ends."""
    side = sys.argv[1]
    if side == STOCK:
        keep_ours_out()
    app = importlib.import_module(f"demo.duel.{side}_app").app
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        answer = ASKED[request.pop("do")](app, **request)
        print(json.dumps(answer), file=answers, flush=True)


def send(app: Any, seconds: list[float], queue: str, prefix: str = "") -> int:
    """Enqueues a job for each of the durations, and says how many were accepted."""
    task, accepted = app.tasks[WORK], 0
    file = os.open(os.environ[ACCEPTED], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for each in seconds:
        id = str(uuid.uuid4())
        id = prefix + id[len(prefix) :]
        try:
            task.apply_async((each,), task_id=id, queue=queue)
        except Exception as error:
            print(f"{id} was refused: {error!r}", file=sys.stderr)
            continue
        os.write(file, json.dumps({"job": id, "at": time.clock_gettime(time.CLOCK_MONOTONIC)}).encode() + b"\n")
        accepted += 1
    os.close(file)
    return accepted


def serve(app: Any, queue: str, worker: str) -> Any:
    """Has a worker consume from one more queue, as `celery control add_consumer` does."""
    return app.control.add_consumer(queue, destination=[worker], reply=True, timeout=REPLY_SECONDS)


ASKED: dict[str, Callable[..., Any]] = {"send": send, "serve": serve}

if __name__ == "__main__":
    main()
