"""One process of one side: ``python -m benchmarks.side stock|ours worker|caller``. The harness starts it.

A worker is Celery's, with its stock prefork pool. It is started here and not by the ``celery`` command, which would
load the plug-ins of every installed package, ours among them, into the stock side.
A caller reads requests, runs a function of a figure (its ``current_app`` is the application), and answers:
one JSON line each.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

from celery import Celery, signals

CHILDREN = 2


def main(side: str, role: str) -> None:
    """Runs until SIGTERM, or until the harness closes the pipe."""
    app: Celery = importlib.import_module(f"benchmarks.applications.{side}").app
    if role == "worker":
        work(app)
    else:
        answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        sys.stdout = sys.stderr
        answer_requests(answers)


def work(app: Celery) -> None:
    """A worker with two children that notes what it is made of as soon as it consumes."""

    def note_parent(sender: Any, **_: Any) -> None:
        pool, transport = sender.pool, sender.connection.transport
        _write_facts(parent=True, pool=_name(pool), transport=_name(transport), backend=_name(app.backend))

    def note_child(**_: Any) -> None:
        _write_facts(parent=False)

    signals.worker_ready.connect(note_parent, weak=False)
    # At its end, when it has imported whatever it ever will.
    signals.worker_process_shutdown.connect(note_child, weak=False)
    app.Worker(pool_cls="processes", concurrency=CHILDREN, loglevel="WARNING", task_events=True, quiet=True).start()


def answer_requests(answers: TextIO) -> None:
    """Calls the named functions and answers with what they return."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            module, name = request["function"].split(":")
            result = getattr(importlib.import_module(module), name)(**request["arguments"])
            answer = {"result": result, "penstock": _has_penstock()}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def _write_facts(**facts: Any) -> None:
    file = Path(os.environ["BENCH_FACTS"]) / f"{os.getpid()}.json"
    file.with_suffix(".new").write_text(json.dumps(facts | {"penstock": _has_penstock()}))
    file.with_suffix(".new").rename(file)


def _has_penstock() -> bool:
    return "penstock" in sys.modules


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


if __name__ == "__main__":
    main(*sys.argv[1:])
