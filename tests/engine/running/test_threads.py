"""What the crew of threads does with what is asked of a job that is about to run its body."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.broker.scripts import Claimed
from penstock.engine.running.crew import Run
from penstock.engine.running.desk import ManyDesks
from penstock.engine.running.opening import Job, opened
from penstock.engine.running.threaded import Threads, _guarded
from penstock.engine.slots import Slots
from penstock.errors import JobCancelled
from tests.live import wait_for

PATIENCE = 10.0


@pytest.fixture
def threads() -> Iterator[Threads]:
    slot = Slots(1, places=1).all[0]
    made = Threads(slot, ManyDesks(slot), lambda: None, lambda _: None)
    yield made
    made.close()


def job() -> Job:
    message: dict[str, Any] = {"body": "W10=", "headers": {"id": "1", "task": "t"}}
    message["properties"] = {"delivery_info": {}, "body_encoding": "base64"}
    return opened(Claimed("7:0", "mail", json.dumps(message).encode(), 0, 0), {}, 0.0)


def start(threads: Threads, run: Run) -> None:
    threads.start(job(), 1, run)


def test_a_cancellation_before_the_body_begins_is_heard_when_it_is_asked_again(threads: Threads) -> None:
    place = threads._slot.places[0]
    is_about_to, may_begin, has_heard = threading.Event(), threading.Event(), threading.Event()

    def run(job: Job) -> None:
        place.begin(job, 0.0, 0.0, 0, 0)
        is_about_to.set()
        assert may_begin.wait(PATIENCE)
        try:
            _guarded(lambda: wait_for(lambda: False, "it is cancelled", PATIENCE))()
        except JobCancelled:
            has_heard.set()

    start(threads, run)
    assert is_about_to.wait(PATIENCE)
    place.cancel(7)
    threads._obey()
    may_begin.set()
    wait_for(lambda: threads.obey() or has_heard.is_set(), "the body hears of it")
