"""An ordinary app, adopted, with OpenTelemetry set up as its documentation says; spans go to a file per process."""

import os
from pathlib import Path
from typing import Any

from celery import Celery, signals
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

import penstock

app = Celery("watched", broker=os.environ["BROKER"], backend=os.environ["RESULTS"])
app.conf.broker_connection_retry_on_startup = True
penstock.adopt(app)


@signals.worker_process_init.connect(weak=False)
def start_tracing(**_: Any) -> None:
    """In each child, after the fork: the processor has a thread."""
    file = (Path(os.environ["SPANS"]) / f"{os.getpid()}.json").open("a")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=file, formatter=_line)))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument(tracer_provider=provider)


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


@signals.worker_process_shutdown.connect(weak=False)
def end_tracing(**_: Any) -> None:
    """Writes what waits."""
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.shutdown()


@app.task
def add(left: int, right: int) -> int:
    with trace.get_tracer("shop").start_as_current_span("look up the price"):
        return left + right


@app.task
def fail(order: int) -> None:
    raise ValueError(f"order {order} has no lines")


@app.task(bind=True, max_retries=1)
def second_time(self: Any) -> str:
    if self.request.retries == 0:
        raise self.retry(exc=ConnectionError("nobody answers"), countdown=0)
    return "answered"
