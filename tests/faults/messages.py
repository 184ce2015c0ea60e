"""W2 and W17: what a worker cannot read, and what it does not know."""

from __future__ import annotations

import base64
import json
import pickle
from typing import Any

from tests.faults import tasks
from tests.faults.ground import QUEUE, Ground
from tests.faults.scenario import fault
from tests.faults.sides import OURS, STOCK

BOTH = (STOCK, OURS)
"""When a message is settled does not matter for one that never starts."""


@fault("W2", "LPUSH celery 'not json', three jobs behind it", sides=BOTH)
def not_json(ground: Ground) -> None:
    _push_before_others(ground, b"not json")


@fault("W2", "JSON without properties, three jobs behind it", sides=BOTH)
def no_properties(ground: Ground) -> None:
    message = ground.draw("work")
    del message["properties"]
    _push_before_others(ground, json.dumps(message).encode())


@fault("W2", "a body that is no base64, three jobs behind it", sides=BOTH)
def bad_base64(ground: Ground) -> None:
    _push_before_others(ground, json.dumps(ground.draw("work") | {"body": "%%%"}).encode())


@fault("W2", "content type pickle, three jobs behind it", sides=BOTH)
def content_type_pickle(ground: Ground) -> None:
    changes = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    _push_before_others(ground, _with_body(ground.draw("work") | changes, pickle.dumps([[], {}, {}])))


@fault("W17", "an old worker gets a job of a task that it does not know; then a new worker joins", sides=BOTH)
def task_of_the_next_version(ground: Ground) -> None:
    ground.worker(**{tasks.OLD: "1"})
    (job,) = ground.enqueue("newest")
    ground.taken()
    ground.strike(job)
    ground.worker()
    ground.settle()


@fault("W17", "a content type that only the next version accepts", sides=BOTH)
def content_type_of_the_next_version(ground: Ground) -> None:
    changes = {"content-type": "application/x-msgpack", "content-encoding": "binary"}
    _push_before_others(ground, _with_body(ground.draw("work") | changes, b"\x93\x90\x80\x80"))


@fault("W17", "a body of a future protocol, no list of three", sides=BOTH)
def body_of_a_future_protocol(ground: Ground) -> None:
    _push_before_others(ground, _with_body(ground.draw("work"), b'{"arguments": []}'))


def _with_body(message: dict[str, Any], body: bytes) -> bytes:
    return json.dumps(message | {"body": base64.b64encode(body).decode()}).encode()


def _push_before_others(ground: Ground, message: bytes) -> None:
    ground.worker()
    ground.client.lpush(QUEUE, message)
    ground.expect_kept("the message", message)
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()
