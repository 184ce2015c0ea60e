"""The least that a worker on Redis can do: claim many, decode, call, acknowledge many. Nothing is kept.

Claiming moves messages into a hash of the claimer's in one step, so that a crash loses none; with the next claim the
last ones are acknowledged, in the same round trip. Messages are such as a Celery worker gets: an envelope of JSON whose
body is base64 of JSON. ``bare_recorded`` adds the row in SQL.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import redis

from benchmarks.peers import body, producer

QUEUE, BATCH, WAIT_SECONDS = "bare", 100, 1
CLAIM = """
local popped = redis.call('RPOP', KEYS[1], ARGV[1]) or {}
local fields = {}
for i, raw in ipairs(popped) do
  fields[#fields + 1], fields[#fields + 2] = ARGV[2] + i, raw
end
if #popped > 0 then redis.call('HSET', KEYS[2], unpack(fields)) end
return popped
"""
TASKS = {"bare.note": body.note}
Message = tuple[dict[str, Any], list[Any], dict[str, Any]]
Record = Callable[[Sequence[Message]], object]


def connect() -> Any:
    """To the run's Redis."""
    return redis.Redis.from_url(os.environ["BENCH_REDIS"])


# -- producer -------------------------------------------------------------------------------------------------------


def encode(slot: int) -> bytes:
    """A job on the wire."""
    id = str(uuid.uuid4())
    content = base64.b64encode(json.dumps([[slot], {}, None]).encode()).decode()
    return json.dumps(
        {
            "body": content,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"id": id, "task": "bare.note", "root_id": id, "lang": "py", "sent": time.time()},
            "properties": {
                "correlation_id": id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": id,
            },
        }
    ).encode()


def produce() -> None:
    """Submits by LPUSH, many in calls of a thousand."""
    client = connect()

    def enqueue_many(slots: Sequence[int]) -> None:
        for first in range(0, len(slots), 1000):
            client.lpush(QUEUE, *map(encode, slots[first : first + 1000]))

    producer.serve(lambda slot: client.lpush(QUEUE, encode(slot)), enqueue_many)


# -- worker ---------------------------------------------------------------------------------------------------------


def work(record: Record | None = None, batch: int = BATCH) -> None:
    """One process of the loop, until it is ended."""
    client = connect()
    claim, held = client.script_load(CLAIM), f"{QUEUE}:held:{os.getpid()}"
    base, tokens = 0, range(0)
    while True:
        with client.pipeline(transaction=False) as pipeline:
            if tokens:
                pipeline.hdel(held, *tokens)
            pipeline.evalsha(claim, 2, QUEUE, held, batch, base)
            raws = pipeline.execute()[-1]
        if not raws:
            tokens = range(0)
            wait_for_one(client, record)
            continue
        run(raws, record)
        tokens = range(base + 1, base + len(raws) + 1)
        base += len(raws)


def wait_for_one(client: Any, record: Record | None) -> None:
    """Idle: the next message wakes us, and is ours in the same step."""
    waiting = f"{QUEUE}:waiting:{os.getpid()}"
    raw = client.blmove(QUEUE, waiting, WAIT_SECONDS, "RIGHT", "LEFT")
    if raw is not None:
        run([raw], record)
        client.delete(waiting)


def run(raws: Sequence[bytes], record: Record | None) -> None:
    """Decodes, calls, records."""
    messages = [decode(raw) for raw in raws]
    for headers, args, kwargs in messages:
        TASKS[headers["task"]](*args, **kwargs)
    if record is not None:
        record(messages)


def decode(raw: bytes) -> Message:
    """The way back from the wire."""
    message = json.loads(raw)
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    return message["headers"], args, kwargs


if __name__ == "__main__":
    {"produce": produce, "work": work}[sys.argv[1]]()
