"""A web application with Sentry: sends a job of each kind, each in a transaction of its own, and waits for its end.

Prints the ids of the jobs by name, as JSON; the second of the chain is ``second``.
"""

import json
import os

import sentry_sdk
from celery import chain
from celery.result import AsyncResult

from tests.telemetry import sentry_app as shop

PATIENCE = 30


def main() -> None:
    sentry_sdk.init(dsn=os.environ["COLLECTOR_DSN"], traces_sample_rate=1.0)
    jobs = {
        "add": shop.add.s(1, 2),
        "fail": shop.fail.s(7),
        "decline": shop.decline.s(),
        "hopeless": shop.hopeless.s(),
        "overrun": shop.overrun.s(),
        "name_customer": shop.name_customer.s(),
        "log_error": shop.log_error.s(),
    }
    sent: dict[str, AsyncResult] = {}
    for name, job in jobs.items():
        with sentry_sdk.start_transaction(op="http.server", name=f"/{name}"):
            sent[name] = job.delay()
    with sentry_sdk.start_transaction(op="http.server", name="/chain"):
        sent["second"] = chain(shop.add.s(1, 2), shop.add.s(3)).delay()
        sent["first"] = sent["second"].parent
    for result in sent.values():
        result.get(PATIENCE, propagate=False)
    sentry_sdk.flush()
    print(json.dumps({name: result.id for name, result in sent.items()}))


if __name__ == "__main__":
    main()
