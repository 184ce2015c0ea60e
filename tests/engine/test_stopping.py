"""When a worker asks a running body to stop, and when it ends it."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from penstock.engine import stopping
from penstock.engine.revoking import Revocations
from penstock.engine.stopping import AGAIN_SECONDS, KEPT_SECONDS, Stopping


class Body:
    """A request, as Celery keeps it while its job runs."""

    def __init__(self, id: str, *, can_end: bool = True) -> None:
        self.id = id
        self.can_end = can_end
        self.ended = 0

    def terminate(self, pool: Any, signal: Any = None) -> None:
        if not self.can_end:
            raise NotImplementedError
        self.ended += 1


class Worker:
    """One with a clock of its own."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        patch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.stopping = Stopping(None, Revocations(), lambda request: self.asked.append(request.id))

    def after(self, seconds: float) -> list[str]:
        self.now += seconds
        self.stopping.perform()
        return self.asked


@pytest.fixture
def body() -> Any:
    made = Body("j1")
    begin(made)
    yield made
    end(made)


def begin(body: Any) -> None:
    state.requests[body.id] = body
    state.active_requests.add(body)


def end(body: Any) -> None:
    state.active_requests.discard(body)
    state.requests.pop(body.id, None)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


def test_a_body_is_asked_again_until_it_ends(worker: Worker, body: Body) -> None:
    worker.stopping.learn({"j1": None, "other": None})
    assert worker.after(0) == ["j1"]
    assert worker.after(AGAIN_SECONDS / 2) == ["j1"]
    assert worker.after(AGAIN_SECONDS) == ["j1", "j1"]
    end(body)
    assert worker.after(AGAIN_SECONDS) == ["j1", "j1"]
    assert body.ended == 0


def test_it_is_ended_once_when_its_grace_is_over(worker: Worker, body: Body) -> None:
    worker.stopping.learn({"j1": 5.0})
    worker.after(4.9)
    assert body.ended == 0
    worker.after(0.2)
    worker.after(10)
    assert body.ended == 1


def test_one_that_begins_after_the_request_was_heard_is_asked_as_well(worker: Worker) -> None:
    worker.stopping.learn({"j1": None})
    assert worker.after(KEPT_SECONDS / 2) == []
    begin(late := Body("j1"))
    assert worker.after(0) == ["j1"]
    end(late)


def test_a_body_that_this_pool_cannot_end_is_told_at_least(
    worker: Worker, body: Body, caplog: pytest.LogCaptureFixture
) -> None:
    body.can_end = False
    worker.stopping.learn({"j1": 0.0})
    assert worker.after(0) == ["j1"]
    assert "cannot end what runs in it" in caplog.text
