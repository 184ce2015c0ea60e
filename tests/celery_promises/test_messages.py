"""Messages that cannot be run"""

import base64
import json
import uuid

from tests.celery_promises import jobs
from tests.celery_promises.differences import differs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


def envelope(body: bytes, content_type: str = "application/json", **headers: object) -> dict[str, object]:
    """A message as kombu writes it."""
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": headers,
        "properties": {
            "body_encoding": "base64",
            "correlation_id": str(headers.get("id", "")),
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "delivery_mode": 2,
            "delivery_tag": uuid.uuid4().hex,
            "priority": 0,
        },
    }


def still_works(system: System, queue: str) -> None:
    assert jobs.add.apply_async((1, 1), queue=queue).get(timeout=PATIENCE) == 2


@differs(
    penstock="keeps messages of an unknown task until a worker comes that knows it: a rolling deploy drops nothing"
)
def test_unknown_task(system: System, key: str) -> None:
    """A message of a task that the worker does not know is discarded, and the worker goes on."""
    result = system.app.send_task("unheard.of", task_id=key, queue="lane")
    system.signal(key, "task_unknown")
    still_works(system, "lane")
    if system.engine.uses_penstock:
        wait_for(lambda: system.keeps(key), "the message is kept")
        assert result.state == "PENDING"
    else:
        wait_for(lambda: not system.keeps(key), "it is gone")
        assert result.state == "FAILURE"


@differs(penstock="quarantines what is not JSON, and the worker goes on")
def test_not_json(system: System, key: str) -> None:
    """Something that is not JSON in a queue ends the worker, and is lost."""
    with system.worker_beside() as extra:
        system.push_raw(extra.queue, f"not json {key}")
        if system.engine.uses_penstock:
            wait_for(lambda: system.keeps(key), "the message is kept")
            still_works(system, extra.queue)
        else:
            wait_for(lambda: extra.ended, "the worker has ended")
            wait_for(lambda: not system.keeps(key), "it is gone")


@differs(penstock="quarantines it, and the worker goes on")
def test_no_properties(system: System, key: str) -> None:
    """JSON that is not a message costs the worker its connection, and is lost."""
    with system.worker_beside() as extra:
        system.push_raw(extra.queue, {"no": "properties", "key": key})
        wait_for(lambda: system.depth(extra.queue) == 0, "it is taken")
        still_works(system, extra.queue)
        if system.engine.uses_penstock:
            wait_for(lambda: system.keeps(key), "the message is kept")
            assert "Traceback" not in extra.worker.log
        else:
            wait_for(lambda: not system.keeps(key), "it is gone")


@differs(penstock="quarantines it")
def test_not_a_task(system: System, key: str) -> None:
    """A message that is not a task is discarded, and the worker goes on."""
    system.push_raw("lane", envelope(json.dumps({"just": key}).encode()))
    still_works(system, "lane")
    if system.engine.uses_penstock:
        wait_for(lambda: system.keeps(base64.b64encode(json.dumps({"just": key}).encode()).decode()), "it is kept")


@differs(penstock="quarantines it")
def test_undecodable_body(system: System, key: str) -> None:
    """A task message with a body that cannot be decoded is discarded, and the worker goes on."""
    system.push_raw("lane", envelope(b"[[1, 2", task=jobs.add.name, id=key))
    still_works(system, "lane")
    if system.engine.uses_penstock:
        wait_for(lambda: system.keeps(key), "it is kept")
    else:
        wait_for(lambda: not system.keeps(key), "it is gone")


@differs(penstock="quarantines it")
def test_content_type(system: System, key: str) -> None:
    """A message of a content type that is not accepted, such as pickle, is never decoded; the worker goes on."""
    system.push_raw("lane", envelope(b"\x80\x04N.", "application/x-python-serialize", task=jobs.add.name, id=key))
    still_works(system, "lane")
    assert system.app.AsyncResult(key).state in ("PENDING", "FAILURE")
    if system.engine.uses_penstock:
        wait_for(lambda: system.keeps(key), "it is kept")
    else:
        wait_for(lambda: not system.keeps(key), "it is gone")


def test_wrong_arguments(system: System, key: str) -> None:
    """A message with the wrong arguments fails its task, and the worker goes on."""
    system.app.send_task(jobs.add.name, args=(1, 2, 3), task_id=key, queue="lane")
    wait_for(lambda: system.app.AsyncResult(key).state == "FAILURE", "FAILURE")
    still_works(system, "lane")
