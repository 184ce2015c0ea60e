"""A stock Celery application: its workers import nothing of Penstock.

Its tasks are not shared with the other applications of the process that runs the tests.
"""

import os
from typing import Any

import redis
from celery import Celery
from celery.exceptions import Reject

app = Celery("stock", broker=os.environ.get("STOCK_REDIS"), backend=os.environ.get("STOCK_REDIS"))
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True, result_extended=True)

SEEN = (
    "id root_id parent_id retries eta expires correlation_id timelimit group ignore_result origin lang task "
    "argsrepr kwargsrepr delivery_info"
)


@app.task(name="stock.see", shared=False, bind=True)
def see(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a worker knows of a job."""
    seen = {name: getattr(self.request, name, None) for name in SEEN.split()}
    return {**seen, "args": args, "kwargs": kwargs, "stamps": self.request.stamps}


@app.task(name="stock.transport", shared=False)
def transport() -> str:
    """What really carries this worker's messages."""
    with app.connection_for_read() as connection:
        return type(connection.transport).__module__


@app.task(name="stock.add", shared=False)
def add(left: int, right: int) -> int:
    return left + right


@app.task(name="stock.total", shared=False)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="stock.third_time", shared=False, bind=True, max_retries=2)
def third_time(self: Any) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(name="stock.requeued", shared=False, bind=True, acks_late=True)
def requeued(self: Any, text: str) -> str:
    """Goes back to its queue once."""
    if _redis().incr(f"requeued:{self.request.id}") == 1:
        raise Reject("not now", requeue=True)
    return text


@app.task(name="stock.note", shared=False)
def note(key: str, value: Any) -> None:
    _redis().rpush(key, value)


def _redis() -> redis.Redis:
    return redis.Redis.from_url(os.environ["STOCK_REDIS"])
