"""An ordinary app, adopted, with Sentry set up as its documentation says."""

import logging
import os
import time
from typing import Any

import sentry_sdk
from celery import Celery, signals

import penstock

app = Celery("watched", broker=os.environ["BROKER"], backend=os.environ["RESULTS"])
app.conf.broker_connection_retry_on_startup = True
penstock.adopt(app)


@signals.celeryd_init.connect(weak=False)
def start_sentry(**_: Any) -> None:
    sentry_sdk.init(dsn=os.environ["COLLECTOR_DSN"], traces_sample_rate=1.0)


class Declined(Exception):
    """An answer of the shop's bank."""


@app.task
def add(left: int, right: int) -> int:
    return left + right


@app.task
def fail(order: int) -> None:
    raise ValueError(f"order {order} has no lines")


@app.task(throws=(Declined,))
def decline() -> None:
    raise Declined("no money")


@app.task(bind=True, max_retries=1)
def hopeless(self: Any) -> None:
    try:
        raise ConnectionError("nobody answers")
    except ConnectionError as error:
        raise self.retry(exc=error, countdown=0) from error


@app.task(soft_time_limit=0.2)
def overrun() -> None:
    time.sleep(30)


@app.task
def name_customer() -> None:
    sentry_sdk.set_tag("customer", "Ada")
    sentry_sdk.add_breadcrumb(message="looked at the basket")
    raise ValueError("no basket")


@app.task
def log_error() -> None:
    logging.getLogger("shop").error("the printer is out of paper")
