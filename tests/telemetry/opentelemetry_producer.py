"""A web application with OpenTelemetry: sends a job of each kind, each in a span of its own, and waits for its end.

Prints the ids of the jobs by name, as JSON; ``second`` is the second one of a chain, ``bare`` is sent outside of any
span, and ``enqueued`` by our own client.
"""

import inspect
import json
import os

from celery import chain
from celery.result import AsyncResult
from opentelemetry import trace

import penstock
from penstock import Settings, client
from penstock.task import Options, Task
from tests.telemetry import opentelemetry_app as shop

PATIENCE = 30


def main() -> None:
    shop.start_tracing()
    jobs = {
        "add": shop.add.s(1, 2),
        "fail": shop.fail.s(7),
        "second_time": shop.second_time.s(),
    }
    tracer = trace.get_tracer("web")
    sent: dict[str, AsyncResult] = {}
    for name, job in jobs.items():
        with tracer.start_as_current_span(f"/{name}"):
            sent[name] = job.delay()
    with tracer.start_as_current_span("/chain"):
        sent["second"] = chain(shop.add.s(1, 2), shop.add.s(3)).delay()
        sent["first"] = sent["second"].parent
    sent["bare"] = shop.add.delay(3, 4)
    with tracer.start_as_current_span("/enqueued"):
        sent["enqueued"] = AsyncResult(_enqueue(), app=shop.app)
    for result in sent.values():
        result.get(PATIENCE, propagate=False)
    shop.end_tracing()
    print(json.dumps({name: result.id for name, result in sent.items()}))


def _enqueue() -> str:
    """Sends a job of the shop's task by name, as an application that does not have its code."""
    client.configure(Settings.load({"REDIS_URL": os.environ["BROKER"]}))

    def elsewhere(left: int, right: int) -> int:
        raise AssertionError("runs in the worker")

    declared = Task(shop.add.name, elsewhere, Options(queue="celery"), inspect.signature(elsewhere))
    job: penstock.Job[int] = declared.enqueue(5, 6)
    return job.id


if __name__ == "__main__":
    main()
