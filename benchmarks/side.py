"""One process of one side: ``python -m benchmarks.side stock|ours worker|beat|caller``. The harness starts it.

A worker is Celery's, with its stock prefork pool unless the harness says otherwise. It is started here and not by the
``celery`` command, which would load the plug-ins of every installed package, ours among them, into the stock side.
A beat is Celery's as well, with its own scheduler unless the harness says otherwise.
A caller reads requests, runs a function of a figure (its ``current_app`` is the application), and answers:
one JSON line each.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

import celery

from benchmarks import facts

POOL = os.environ.get("BENCH_POOL", "processes")
"""Celery's word for a pool; empty: the one that the application configures."""
CHILDREN = int(os.environ.get("BENCH_CHILDREN", "2"))
HAS_EVENTS = os.environ.get("BENCH_EVENTS", "yes") == "yes"
LOG_LEVEL = "WARNING"


def main(side: str, role: str) -> None:
    """Runs until SIGTERM, or until the harness closes the pipe."""
    if role == "worker":
        # Before anything that gevent has to replace is loaded.
        celery.maybe_patch_concurrency(["worker", "-P", POOL])
    app: celery.Celery = importlib.import_module(f"benchmarks.applications.{side}").app
    if role == "worker":
        work(app)
    elif role == "beat":
        beat(app)
    else:
        answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        sys.stdout = sys.stderr
        answer_requests(answers)


def work(app: celery.Celery) -> None:
    """A worker that notes what it is made of as soon as it consumes."""
    from celery import signals

    def note_parent(sender: Any, **_: Any) -> None:
        facts.write(parent=True, **made_of(app, sender))

    def note_child(**_: Any) -> None:
        facts.write(parent=False)

    signals.worker_ready.connect(note_parent, weak=False)
    # At its end, when it has imported whatever it ever will.
    signals.worker_process_shutdown.connect(note_child, weak=False)
    # As the command does for its banner: only a backend that is there before the children are keeps its connection.
    app.backend.as_uri()
    app.Worker(
        hostname=f"bench-{os.getpid()}@%h",
        pool_cls=POOL or None,
        concurrency=CHILDREN,
        loglevel=LOG_LEVEL,
        task_events=HAS_EVENTS,
        quiet=True,
    ).start()


def beat(app: celery.Celery) -> None:
    """A beat that notes which scheduler it has as soon as it is at work, and once more at its end."""
    from celery import signals

    schedulers = []

    def note(sender: Any, **_: Any) -> None:
        schedulers.append(_name(sender.scheduler))
        facts.write(scheduler=schedulers[0], has_ended=False)

    signals.beat_init.connect(note, weak=False)
    try:
        app.Beat(
            scheduler=os.environ.get("BENCH_SCHEDULER") or None,
            schedule=os.environ.get("BENCH_SCHEDULE_FILE") or None,
            loglevel=LOG_LEVEL,
            quiet=True,
        ).run()
    finally:
        if schedulers:
            # When it has imported whatever it ever will.
            facts.write(scheduler=schedulers[0], has_ended=True)


def made_of(app: celery.Celery, consumer: Any) -> dict[str, Any]:
    """Pool, transport and backend that really run, and the settings that make a difference."""
    conf = app.conf
    settings = {
        "children": CHILDREN,
        "events": "on" if HAS_EVENTS else "off",
        "acks": "late" if conf.task_acks_late else "early",
        "prefetch": conf.worker_prefetch_multiplier,
        "results": "ignored" if conf.task_ignore_result else "kept",
        "log level": LOG_LEVEL,
    }
    if kind := conf.get("penstock_kind"):
        settings["kind"] = f"{kind}, {conf.get('penstock_size') or 'its own number'} at once"
    return {
        "pool": _name(consumer.pool),
        "transport": _name(consumer.connection.transport),
        "backend": _name(app.backend),
        "consumer": _name(consumer),
        "configuration": ", ".join(f"{name} {value}" for name, value in settings.items()),
    }


def answer_requests(answers: TextIO) -> None:
    """Calls the named functions and answers with what they return."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            module, name = request["function"].split(":")
            result = getattr(importlib.import_module(module), name)(**request["arguments"])
            answer = {"result": result, "penstock": facts.has_penstock()}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


if __name__ == "__main__":
    main(*sys.argv[1:])
